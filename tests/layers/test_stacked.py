"""Stacked layers are torch's own, layer by layer, direction by direction, episode by episode."""

import copy
from functools import partial

import pytest
import torch
from cases import WIDTH
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from paratime.baselines.mamba import Mamba
from paratime.baselines.mingru import MinGRU, MinLSTM
from paratime.baselines.rnn import TorchGRU, TorchLSTM
from paratime.cells.gru import GRUCell
from paratime.errors import InputError
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.layers.stacked import Stacked
from paratime.layers.state import leaves
from paratime.solvers.newton import Newton
from paratime.testing import TOLERANCE, check_mixer

HIDDEN = 6
KINDS = {
    "ParaGRU": ParaGRU,
    "ParaLSTM2": partial(ParaLSTM, block_size=2),
    "TorchLSTM": TorchLSTM,
    "MinGRU": MinGRU,
    "Mamba": partial(Mamba, state_size=4),
}


def close(x, y):
    return x.shape == y.shape and float((x - y).detach().abs().max()) <= TOLERANCE[x.dtype].value


def of_torch(rnn, layers, both):
    """Return a stack with the weights of a layer of torch, by the state of its own form."""
    kind = TorchLSTM if isinstance(rnn, nn.LSTM) else TorchGRU
    stacked = Stacked(kind, WIDTH, HIDDEN, num_layers=layers, bidirectional=both).double()
    for i, layer in enumerate(stacked.layers):
        for mixer, suffix in zip(
            (layer.ahead, layer.back) if both else (layer,), ("", "_reverse"), strict=False
        ):
            for name, weight in mixer.rnn.named_parameters():
                theirs = getattr(rnn, name.replace("l0", f"l{i}{suffix}"))
                weight.data.copy_(theirs.data)
    return stacked


def as_ours(state, both):
    """Bring torch's (layers * directions, B, D), or a pair of them, into the form of a stack."""
    rows = list(zip(*state, strict=True)) if isinstance(state, tuple) else list(state)
    return tuple(zip(rows[::2], rows[1::2], strict=True)) if both else tuple(rows)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    layers=st.integers(1, 3),
    both=st.booleans(),
    pair=st.booleans(),
    start=st.booleans(),
    packed=st.booleans(),
)
def test_a_stack_is_the_layer_of_torch(lengths, layers, both, pair, start, packed):
    torch.manual_seed(len(lengths))
    kind = nn.LSTM if pair else nn.GRU
    options = {"num_layers": layers, "bidirectional": both, "batch_first": True}
    rnn = kind(WIDTH, HIDDEN, dtype=torch.float64, **options)
    stacked = of_torch(rnn, layers, both)
    shape = (layers * (1 + both), len(lengths), HIDDEN)
    h0 = torch.randn(shape, dtype=torch.float64)
    h0 = (h0, h0 + 1) if pair else h0
    xs = [torch.randn(n, WIDTH, dtype=torch.float64) for n in lengths]
    x = pack_sequence(xs, enforce_sorted=False)
    if not packed:
        x = torch.stack([xs[0]] * len(xs))
    expected, end = rnn(x, h0 if start else None)
    y, state = stacked(x, as_ours(h0, both) if start else None)
    assert close(y.data, expected.data)
    for found, truth in zip(leaves(state), leaves(as_ours(end, both)), strict=True):
        assert close(found, truth)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(
    episodes=st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=3),
    layers=st.integers(1, 2),
)
def test_both_directions_run_each_episode_alone(name, episodes, layers):
    """Rows are episodes end to end, which resets separate, and then padding."""
    torch.manual_seed(layers)
    stacked = Stacked(KINDS[name], WIDTH, HIDDEN, num_layers=layers, bidirectional=True).double()
    lengths = [sum(row) for row in episodes]
    x = torch.randn(len(episodes), max(lengths) + 1, WIDTH, dtype=torch.float64)
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    for row, sizes in enumerate(episodes):
        for begin in torch.tensor([0, *sizes]).cumsum(0)[: len(sizes)]:
            reset[row, begin] = begin > 0
        reset[row, lengths[row] :] = True  # where it restarts nothing
    y, state = stacked(x, reset=reset, lengths=lengths)
    for row, sizes in enumerate(episodes):
        assert not y[row, lengths[row] :].any()
        parts = x[row, : lengths[row]].split(sizes)
        for piece, found in zip(parts, y[row, : lengths[row]].split(sizes), strict=True):
            for layer in stacked.layers:
                ahead, end = layer.ahead(piece)
                back, begin = layer.back(piece.flip(0))
                piece = torch.cat([ahead, back.flip(0)], dim=-1)
            assert close(found, piece)
        if sizes and layers == 1:
            ((last, _),) = state
            assert all(close(s[row], t) for s, t in zip(leaves(last), leaves(end), strict=True))
        if len(sizes) == 1 and layers == 1:
            ((_, first),) = state
            assert all(close(s[row], t) for s, t in zip(leaves(first), leaves(begin), strict=True))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("layers", (1, 3))
def test_one_direction_keeps_the_contract(name, layers):
    check_mixer(lambda: Stacked(KINDS[name], WIDTH, num_layers=layers), torch.randn(3, 9, WIDTH))


@pytest.mark.parametrize("both", (False, True))
def test_gradients_of_resets_and_padding(both):
    stacked = Stacked(MinLSTM, WIDTH, num_layers=2, bidirectional=both).double()
    x = torch.randn(2, 8, WIDTH, dtype=torch.float64, requires_grad=True)
    reset = torch.zeros(2, 8, dtype=torch.bool)
    reset[0, 4] = True
    y, _ = stacked(x, reset=reset, lengths=[8, 5])
    (g,) = torch.autograd.grad(y[0, :4].square().sum() + y[1].square().sum(), x)
    assert g[0, :4].all() and not g[0, 4:].any() and g[1, :5].all() and not g[1, 5:].any()


def test_dropout_lies_between_layers_alone():
    torch.manual_seed(0)
    stacked = Stacked(ParaGRU, WIDTH, HIDDEN, num_layers=2, dropout=1.0)
    x = torch.randn(2, 5, WIDTH)
    first = stacked.layers[0]
    assert torch.equal(stacked(x)[0], stacked.layers[1](torch.zeros(2, 5, HIDDEN))[0])
    assert torch.equal(stacked(x)[1][0], first(x)[1])
    stacked.eval()
    assert torch.equal(stacked(x)[0], stacked.layers[1](first(x)[0])[0])
    single = Stacked(ParaGRU, WIDTH, HIDDEN, dropout=1.0)
    assert torch.equal(single(x)[0], single.layers[0](x)[0])


@pytest.mark.parametrize("both", (False, True))
def test_a_stack_compiles_and_copies(both):
    stacked = Stacked(ParaGRU, WIDTH, num_layers=2, bidirectional=both)
    x, reset = torch.randn(2, 9, WIDTH), torch.rand(2, 9) < 0.3
    expected = stacked(x, reset=reset, lengths=[9, 4])[0]
    compiled = torch.compile(stacked, backend="aot_eager", fullgraph=True)
    assert close(compiled(x, reset=reset, lengths=torch.tensor([9, 4]))[0], expected)
    assert close(copy.deepcopy(stacked)(x, reset=reset, lengths=[9, 4])[0], expected)


def test_a_stack_is_a_mixer_of_an_encoder():
    encoder = Encoder(WIDTH, 1, partial(Stacked, ParaGRU, num_layers=2), mlp_size=8)
    assert encoder(torch.randn(2, 5, WIDTH))[0].shape == (2, 5, WIDTH)
    assert Stacked(Mamba, WIDTH).complete and not Stacked(ParaGRU, WIDTH).complete


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda s: s.step(torch.zeros(1, WIDTH)),
            "bidirectional=True, which reads the steps",
        ),
        (lambda s: s(torch.zeros(1, 2, WIDTH), torch.zeros(4, 1, WIDTH)), "tuple(zip(h0[::2], h0"),
        (lambda s: s(torch.zeros(1, 2, WIDTH), (None,)), "one entry a layer, 2, got 1"),
        (lambda s: s(torch.zeros(1, 2, WIDTH), (torch.zeros(1, WIDTH),) * 2), "a backward state"),
        (lambda s: Stacked(ParaGRU, WIDTH, num_layers=0), "num_layers: expected at least 1"),
        (lambda s: Stacked(ParaGRU, WIDTH, dropout=1.5), "dropout: expected 0 to 1"),
    ],
    ids=range(6),
)
def test_what_a_stack_refuses(run, message):
    stacked = Stacked(ParaGRU, WIDTH, num_layers=2, bidirectional=True)
    with pytest.raises(InputError) as error:
        run(stacked)
    assert message in str(error.value) and "\n" not in str(error.value)


LAYERS = (ParaGRU, ParaLSTM, TorchGRU, TorchLSTM, MinGRU, MinLSTM, Mamba)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    ("sizes", "options", "remedy"),
    [
        ((4, 8), {"num_layers": 2}, "write paratime.Stacked({}, 4, 8, num_layers=2)"),
        ((4, 8, 2), {}, "write paratime.Stacked({}, 4, 8, num_layers=2)"),
        ((4,), {"bidirectional": True}, "write paratime.Stacked({}, 4, bidirectional=True)"),
        (
            (),
            {"input_size": 4, "hidden_size": 8, "batch_first": True, "dropout": 0.1},
            "write paratime.Stacked({}, input_size=4, hidden_size=8, dropout=0.1)",
        ),
        ((4, 8), {"batch_first": True}, "leave it out: layers here do so anyway"),
        ((4, 8), {"num_layers": 1, "bias": True}, "leave them out: layers here do so anyway"),
        ((4, 8), {"batch_first": False}, "pass x.transpose(0, 1)"),
        ((4, 8), {"bias": False}, "leave bias out"),
        ((4, 8), {"proj_size": 3}, "map the outputs by an nn.Linear"),
    ],
    ids=range(9),
)
def test_arguments_of_torch_name_what_to_write(kind, sizes, options, remedy):
    with pytest.raises(InputError) as error:
        kind(*sizes, **options)
    remedy = remedy.format(kind.__name__)
    assert remedy in str(error.value) and "\n" not in str(error.value)
    if remedy.startswith("write"):
        code = remedy.removeprefix("write paratime.")
        assert eval(code, {"Stacked": Stacked, kind.__name__: kind}).input_size == 4


def test_own_options_move_along():
    with pytest.raises(InputError, match=r"Stacked\(partial\(ParaGRU, block_size=4\), 4, 8, num"):
        ParaGRU(4, 8, block_size=4, num_layers=2)


def test_a_layer_of_a_user_may_take_such_arguments():
    class Own(ParaGRU):
        def __init__(self, width, num_layers=1, **options):
            super().__init__(width, **options)

    assert Own(4, num_layers=2).cell.hidden_size == 4
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        ParaGRU(4, colour=2)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Stacked(torch.nn.GRU, 4, 8), "got GRU; wrap a Cell in Recurrent"),
        (lambda: Stacked(GRUCell, 4, 8), "got GRUCell; wrap a Cell in Recurrent"),
        (lambda: Stacked(ParaGRU(4, 8), 4, 8), "got a layer; pass the class itself"),
        (lambda: Stacked("ParaGRU", 4, 8), "got 'ParaGRU'; pass the class itself"),
        (lambda: Stacked(ParaGRU, 4, 8, num_layers=None), "num_layers: expected a number"),
        (lambda: ParaGRU(0, 8), "input_size: expected at least 1, got 0"),
        (lambda: ParaGRU("4", 8), "input_size: expected a number of at least 1, got str '4'"),
        (lambda: ParaGRU(4, 8, solver=Newton), "solver: expected a Solver, got the class Newton"),
        (lambda: ParaGRU(4, 8, solver="newton"), "solver: expected a Solver, got str"),
        (lambda: Recurrent(torch.nn.GRUCell(4, 8)), "cell: expected a Cell, got GRUCell"),
    ],
    ids=range(10),
)
def test_parts_of_another_kind_are_refused(build, said):
    with pytest.raises(InputError) as error:
        build()
    assert said in str(error.value)


def test_layers_have_the_widths_of_torch():
    layer = ParaGRU(4, 8)
    assert (layer.input_size, layer.hidden_size) == (4, 8)
