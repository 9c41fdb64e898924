import copy
import pickle

import pytest
import torch
from cases import CELLS, HIDDEN, INPUT, MIXERS, WIDTH, inputs

from paratime.errors import InputError
from paratime.layers.conv import CausalConv
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.solvers.newton import Newton
from paratime.testing import TOLERANCE, check_mixer


@pytest.mark.parametrize("steps", (4, 9, 50))
@pytest.mark.parametrize("name", MIXERS)
def test_every_mixer_keeps_the_contract(name, steps):
    check_mixer(MIXERS[name], torch.randn(3, steps, WIDTH))


@pytest.mark.parametrize("name", MIXERS)
def test_a_gradient_never_crosses_a_reset(name):
    mixer, x = MIXERS[name](), torch.randn(2, 12, WIDTH, requires_grad=True)
    reset = torch.zeros(2, 12, dtype=torch.bool)
    reset[:, 7] = True
    (g,) = torch.autograd.grad(mixer(x, reset=reset)[0][:, 7:].square().sum(), x)
    assert not g[:, :7].any() and g[:, 7:].any()


@pytest.mark.parametrize(
    "name", ("ParaGRU", "ParaLSTM", "TorchGRU", "TorchLSTM", "Mamba", "MinGRU", "MinLSTM", "Block")
)
def test_what_is_no_number_stays_in_its_episode(name):
    mixer, x = MIXERS[name](), torch.randn(3, 12, WIDTH)
    reset, lengths = torch.zeros(3, 12, dtype=torch.bool), torch.tensor([12, 12, 4])
    reset[1, 6] = True
    bad, kept = x.clone(), torch.ones(3, 12, dtype=torch.bool)
    bad[1, 4] = bad[2, 5] = torch.nan  # before a reset, and beyond a sequence's end
    kept[1, :6] = False
    found = []
    for leaf in (x.requires_grad_(), bad.requires_grad_()):
        y, state = mixer(leaf, reset=reset, lengths=lengths)
        (g,) = torch.autograd.grad(y[kept].square().sum(), leaf)
        found.append((y[kept], mixer(x, state)[0], g[0], g[1, 6:], g[2, :4]))
    for truth, one in zip(*found, strict=True):
        assert torch.allclose(one, truth, atol=TOLERANCE[x.dtype].value)


@pytest.mark.parametrize("lengths", ([5, 0, 3], [9, 9, 9], [0, 0, 0]), ids=str)
@pytest.mark.parametrize("name", MIXERS)
def test_lengths(name, lengths):
    mixer, x = MIXERS[name]().double(), torch.randn(3, 9, WIDTH, dtype=torch.float64)
    reset = torch.zeros(3, 9, dtype=torch.bool)
    reset[0, 3] = reset[2, 1] = reset[1, 8] = True
    y, state = mixer(x, reset=reset, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert not y[row, length:].any()
        if length:
            alone, end = mixer(x[row : row + 1, :length], reset=reset[row : row + 1, :length])
            assert (y[row, :length] - alone[0]).abs().max() <= TOLERANCE[x.dtype].value
            next_x = torch.randn(1, WIDTH, dtype=torch.float64)
            expected = mixer.step(next_x, end)[0]
            got = mixer.step(next_x, _row(state, row))[0]
            assert (got - expected).abs().max() <= TOLERANCE[x.dtype].value


def _row(state, row):
    if isinstance(state, torch.Tensor):
        return state[row : row + 1]
    return tuple(_row(part, row) for part in state)


def test_conv_equals_torch():
    conv, x = CausalConv(5, 4), torch.randn(2, 30, 5)
    weight = conv.weight.flip(0).T.unsqueeze(1)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    sums = torch.nn.functional.conv1d(padded, weight, conv.bias, groups=5).transpose(1, 2)
    expected = torch.nn.functional.silu(sums)
    assert (conv(x)[0] - expected).abs().max() <= TOLERANCE[torch.float32].value


@pytest.mark.parametrize("layer", (ParaGRU, ParaLSTM))
def test_bfloat16_keeps_a_float32_state(layer):
    exact = layer(INPUT, HIDDEN)
    half = copy.deepcopy(exact).bfloat16()
    x = inputs(torch.float32, 40)
    y, state = half(x.bfloat16())
    assert y.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert (y.float() - exact(x)[0]).abs().max() <= TOLERANCE[torch.bfloat16].value
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in half.parameters())


@pytest.mark.parametrize("name", MIXERS)
def test_autocast(name):
    mixer, x = MIXERS[name](), torch.randn(2, 20, WIDTH)
    exact = mixer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = mixer(x)[0]
    assert (y.float() - exact).abs().max() <= 3 * TOLERANCE[torch.bfloat16].value


@pytest.mark.parametrize("name", CELLS)
def test_inference_mode(name):
    layer, x = Recurrent(CELLS[name](1.0)), inputs(torch.float32, 40)
    expected = layer(x)[0]
    with torch.inference_mode():
        y, state = layer(x)
        layer.step(x[:, 0], state)
    assert (y - expected).abs().max() <= TOLERANCE[torch.float32].value


def test_a_layer_copies_pickles_and_reports():
    layer = ParaGRU(INPUT, HIDDEN)
    x = inputs(torch.float32, 300)
    y, _ = layer(x)
    assert layer.solution.converged and layer.solution.states is None
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], y)
    with torch.no_grad():
        twin.cell.weight_hh.add_(1)
    assert torch.equal(layer(x)[0], y)


def test_the_named_solver_is_used():
    layer = ParaGRU(INPUT, HIDDEN, solver=Newton(chunk=1, max_iters=50))
    layer(inputs(torch.float32, 50))
    assert layer.solution.iterations > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"h0": torch.zeros(2, 4)},
            f"(batch, hidden_size) = (2, {HIDDEN}), got (2, 4)",
        ),
        ({"h0": (torch.zeros(2, HIDDEN),) * 2}, f"(batch, hidden_size) = (2, {HIDDEN}), got tuple"),
        ({"x": torch.zeros(2, 5, INPUT + 1)}, f"x: expected {INPUT} channels, got {INPUT + 1}"),
        ({"reset": torch.zeros(2, 19, dtype=torch.bool)}, "reset: expected bool (2, 20)"),
        ({"reset": torch.zeros(2, 20)}, "got torch.float32 (2, 20)"),
        ({"lengths": torch.tensor([1, 21])}, "lengths: expected 0 to T = 20, got 1 to 21"),
        (
            {"lengths": torch.tensor([1.0, 2.0])},
            "expected integers (2,), got torch.float32",
        ),
        ({"x": torch.zeros(2)}, "x: expected (batch, time >= 1, channels)"),
        ({"x": torch.zeros(2, 0, INPUT)}, "x: expected (batch, time >= 1, channels)"),
    ],
    ids=str,
)
def test_shapes_that_do_not_fit(options, message):
    options = {"x": inputs(torch.float32, 20), **options}
    with pytest.raises(InputError) as error:
        ParaGRU(INPUT, HIDDEN)(options.pop("x"), **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_encoder_refuses_the_state_of_another():
    encoder = Encoder(WIDTH, 2, mlp_size=8)
    with pytest.raises(InputError, match="one entry a block, 2, got"):
        encoder(torch.zeros(1, 3, WIDTH), (None,))
    with pytest.raises(InputError, match="width and depth"):
        Encoder(WIDTH, 0)
