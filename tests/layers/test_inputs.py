"""Every layer takes what torch.nn's recurrent layers take, and says what else it needs."""

import copy

import numpy as np
import pytest
import torch
from cases import HIDDEN, INPUT, MIXERS, WIDTH, ElmanMixer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_sequence

from paratime.baselines.rnn import TorchGRU, TorchLSTM
from paratime.errors import InputError
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.layers.state import leaves, map_state
from paratime.testing import TOLERANCE

RAGGED = st.lists(st.integers(1, 7), min_size=1, max_size=4)
SEEDS = st.integers(0, 99)
FORMS = (list, tuple, np.array, lambda x: np.array(x)[::-1].copy()[::-1], torch.tensor)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8")


def gap(x, y):
    return float((x - y).detach().abs().max()) if x.numel() else 0.0


def close(x, y):
    allowed = TOLERANCE[x.dtype].value if x.is_floating_point() else 0
    return x.shape == y.shape and gap(x.double(), y.double()) <= allowed


def same(x, y):
    return all(close(a, b) for a, b in zip(leaves(x), leaves(y), strict=True))


def drawn(lengths, seed):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(n, WIDTH, generator=random, dtype=torch.float64) for n in lengths]


def double(name):
    return MIXERS[name]().double().eval()


@pytest.mark.parametrize("name", MIXERS)
@settings(deadline=None, max_examples=5, derandomize=True)
@given(lengths=RAGGED, seed=SEEDS, ordered=st.booleans())
def test_a_packed_sequence_is_the_padded_batch(name, lengths, seed, ordered):
    mixer = double(name)
    xs = drawn(sorted(lengths, reverse=True) if ordered else lengths, seed)
    packed = pack_sequence(xs, enforce_sorted=ordered)
    _, h0 = mixer(torch.randn(len(xs), 3, WIDTH, dtype=torch.float64))
    y, state = mixer(packed, h0)
    assert isinstance(y, PackedSequence) and torch.equal(y.batch_sizes, packed.batch_sizes)
    assert (y.sorted_indices is None) == ordered
    for row, (x, found) in enumerate(zip(xs, nn.utils.rnn.unpack_sequence(y), strict=True)):
        alone, end = mixer(x.unsqueeze(0), map_state(lambda s, row=row: s[row : row + 1], h0))
        assert close(found, alone[0])
        following = torch.ones(1, 2, WIDTH, dtype=torch.float64)
        rest = mixer(following, map_state(lambda s, row=row: s[row : row + 1], state))[0]
        assert close(rest, mixer(following, end)[0])


@settings(deadline=None, max_examples=30, derandomize=True)
@given(lengths=RAGGED, seed=SEEDS, ordered=st.booleans(), pair=st.booleans(), start=st.booleans())
def test_packed_sequences_are_those_of_torch(lengths, seed, ordered, pair, start):
    mixer = (TorchLSTM if pair else TorchGRU)(WIDTH, 5).double()
    xs = drawn(sorted(lengths, reverse=True) if ordered else lengths, seed)
    packed = pack_sequence(xs, enforce_sorted=ordered)
    h0 = torch.randn(2 if pair else 1, len(xs), 5, dtype=torch.float64)
    ours, theirs = (tuple(h0), tuple(h0.split(1))) if pair else (h0[0], h0)
    y, state = mixer(packed, ours if start else None)
    expected, end = mixer.rnn(packed, theirs if start else None)
    assert close(y.data, expected.data)
    for index in ("sorted_indices", "unsorted_indices"):
        found, truth = getattr(y, index), getattr(expected, index)
        assert found is truth is None or torch.equal(found, truth)
    assert same(state, map_state(lambda part: part[0], end))


@pytest.mark.parametrize("name", MIXERS)
@settings(deadline=None, max_examples=6, derandomize=True)
@given(steps=st.integers(1, 7), seed=SEEDS, length=st.integers(0, 7), numpy=st.booleans())
def test_one_sequence_alone_is_a_batch_of_one(name, steps, seed, length, numpy):
    mixer, (x, earlier) = double(name), drawn([steps, 3], seed)
    length = min(length, steps)
    reset = torch.rand(steps, generator=torch.Generator().manual_seed(seed)) < 0.3
    _, h0 = mixer(earlier)
    expected, end = mixer(
        x.unsqueeze(0),
        map_state(lambda part: part.unsqueeze(0), h0),
        reset=reset.unsqueeze(0),
        lengths=torch.tensor([length]),
    )
    y, state = mixer(x, h0, reset=reset.numpy() if numpy else reset.tolist(), lengths=length)
    assert close(y, expected[0]) and same(state, map_state(lambda part: part[0], end))
    y, state = mixer.step(x[0], h0, bool(reset[0]))
    expected, end = mixer.step(x[:1], map_state(lambda s: s.unsqueeze(0), h0), reset[:1])
    assert close(y, expected[0]) and same(state, map_state(lambda part: part[0], end))


@pytest.mark.parametrize("name", MIXERS)
def test_lengths_and_resets_in_any_form(name):
    mixer, x = double(name), torch.randn(3, 5, WIDTH, dtype=torch.float64)
    lengths, reset = torch.tensor([5, 0, 3]), torch.rand(3, 5) < 0.3
    expected = mixer(x, reset=reset, lengths=lengths)
    for form in FORMS:
        found = mixer(x, reset=form(reset.tolist()), lengths=form(lengths.tolist()))
        assert same(found, expected)
    for dtype in INTEGERS:
        assert same(mixer(x, reset=reset, lengths=lengths.to(getattr(torch, dtype))), expected)
        assert same(mixer(x, reset=reset, lengths=lengths.numpy().astype(dtype)), expected)
    assert same(
        mixer.step(x[:, 0], None, [True] * 3), mixer.step(x[:, 0], None, reset[:, 0] | True)
    )


@pytest.mark.parametrize("name", MIXERS)
def test_resets_of_packed_sequences_are_padded_in_the_order_of_the_caller(name):
    mixer, xs = double(name), drawn([2, 5, 4], seed=1)
    reset = torch.rand(3, 5) < 0.4
    y, _ = mixer(pack_sequence(xs, enforce_sorted=False), reset=reset)
    padded = pad_sequence(xs, batch_first=True)
    expected, _ = mixer(padded, reset=reset, lengths=[2, 5, 4])
    for row, found in enumerate(nn.utils.rnn.unpack_sequence(y)):
        assert close(found, expected[row, : len(xs[row])])


@pytest.mark.parametrize("name", MIXERS)
def test_an_empty_batch(name):
    mixer, x = MIXERS[name](), torch.zeros(0, 5, WIDTH)
    y, state = mixer(x, reset=torch.zeros(0, 5, dtype=torch.bool), lengths=[])
    assert y.shape[:2] == (0, 5) and all(len(part) == 0 for part in leaves(state))
    assert len(mixer.step(x[:, 0])[0]) == 0


@pytest.mark.parametrize("name", MIXERS)
def test_gradients_of_packed_sequences(name):
    mixer = double(name)
    xs = [x.requires_grad_() for x in drawn([2, 5, 4], seed=2)]
    y, _ = mixer(pack_sequence(xs, enforce_sorted=False))
    found = torch.autograd.grad(y.data.square().sum(), xs)
    alone = sum(mixer(x)[0].square().sum() for x in xs)
    assert all(map(close, found, torch.autograd.grad(alone, xs)))


class Counting(Mixer):
    """A layer of a user, who knows the documented form alone."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x, h0=None, *, reset=None, lengths=None):
        assert x.dim() == 3 and (reset is None or reset.dtype == torch.bool)
        assert lengths is None or (lengths.dtype == torch.long and lengths.shape == x.shape[:1])
        h0 = x.new_zeros(len(x)) if h0 is None else h0
        return self.gain * x, h0 + (x.shape[1] if lengths is None else lengths)

    def step(self, x, state=None, reset=None):
        assert x.dim() == 2 and (reset is None or reset.shape == x.shape[:1])
        return self.gain * x, (x.new_zeros(len(x)) if state is None else state) + 1


def test_a_layer_of_a_user_and_its_hooks_see_the_documented_form():
    mixer, seen = Counting(), []
    mixer.register_forward_hook(lambda module, args, out: seen.append((args[0], out[0])))
    y, state = mixer(pack_sequence([torch.ones(2, 3), torch.ones(4, 3)], enforce_sorted=False))
    assert isinstance(y, PackedSequence) and state.tolist() == [2, 4]
    assert mixer(torch.ones(4, 3), lengths=3)[1].tolist() == 3
    assert mixer.step(torch.ones(3), torch.tensor(1.0))[1].tolist() == 2
    assert [tuple(x.shape) for pair in seen for x in pair] == [(2, 4, 3)] * 2 + [(1, 4, 3)] * 2


@pytest.mark.parametrize("form", (pack_sequence, lambda xs: xs[0]), ids=("packed", "alone"))
def test_a_copied_and_a_parallel_layer_take_every_form(form):
    layer, x = ParaGRU(INPUT, HIDDEN), form([torch.randn(5, INPUT)])
    expected = layer(x)
    for other in (copy.deepcopy(layer), nn.Sequential(layer)):
        y, state = other(x)
        assert torch.equal(state, expected[1])
        assert type(y) is type(expected[0])


@pytest.mark.parametrize(
    "name", ("ParaGRU", "ParaLSTM", "CausalConv", "Encoder", "Stacked", "Mamba2")
)
def test_compiled_and_exported_layers_take_one_sequence_alone(name):
    mixer, x = MIXERS[name]().eval(), torch.randn(5, WIDTH)
    expected = mixer(x, lengths=4)[0]
    compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True)
    assert close(compiled(x, lengths=4)[0], expected)
    program = torch.export.export(mixer, (x,)).module()
    assert close(program(x)[0], mixer(x)[0])


def test_a_compiled_layer_takes_packed_sequences():
    mixer, x = ParaGRU(WIDTH), pack_sequence([torch.randn(5, WIDTH), torch.randn(2, WIDTH)])
    y, state = torch.compile(mixer, backend="aot_eager")(x)
    expected, end = mixer(x)
    assert close(y.data, expected.data) and close(state, end)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.double(), "x: expected torch.float32, like the parameters, got torch.float64"),
        (lambda x: x.half(), "x.to(torch.float32), or the layer, layer.to(torch.float16)"),
        (lambda x: x.bfloat16(), "got torch.bfloat16; cast it, x.to(torch.float32)"),
        (lambda x: x.long(), "got torch.int64; embed token ids first, by nn.Embedding"),
        (lambda x: x > 0, "got torch.bool; embed token ids first, by nn.Embedding, or cast"),
        (lambda x: x + 0j, "torch.view_as_real(x).flatten(-2)"),
        (
            lambda x: x.to("meta"),
            "x: expected a tensor on cpu, like the parameters, got one on",
        ),
        (lambda x: x[..., 1:], f"x: expected {WIDTH} channels, got {WIDTH - 1}"),
        (lambda x: x.tolist(), "x: expected a dense tensor, got a list; make it one, torch.as_"),
        (lambda x: x.numpy(), "x: expected a dense tensor, got a ndarray; make it one, torch.as_"),
        (lambda x: None, "x: expected a dense tensor, got None; make it one"),
        (lambda x: x.to_sparse(), "make it dense, x.to_dense()"),
        (lambda x: x[None, None], "x: expected (batch,"),
    ],
    ids=range(13),
)
def test_inputs_that_do_not_fit(name, change, message):
    mixer, x = MIXERS[name](), torch.randn(2, 5, WIDTH)
    for run, value in ((mixer, change(x)), (mixer.step, change(x[:, 0].clone()))):
        with pytest.raises(InputError) as error:
            run(value)
        assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("weights", (torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize("values", (torch.float32, torch.bfloat16), ids=str)
def test_types_may_differ_under_autocast(name, weights, values):
    mixer, x = MIXERS[name]().to(weights), torch.randn(2, 5, WIDTH).to(values)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = mixer(x)
        mixer.step(x[:, 0], state)
    assert y.isfinite().all()


X = torch.zeros(2, 5, INPUT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [5, 6]}, "lengths: expected 0 to T = 5, got 5 to 6"),
        ({"lengths": [5.0, 3.0]}, "lengths: expected integers (2,), got torch.float32 (2,)"),
        ({"lengths": torch.tensor([True, False])}, "expected integers (2,), got torch.bool (2,)"),
        ({"lengths": 5}, "expected integers (2,), got torch.int64 ()"),
        ({"lengths": [[1], [2, 3]]}, "lengths: expected integers (2,), got list"),
        ({"lengths": "ab"}, "lengths: expected integers (2,), got str"),
        ({"x": X[0], "lengths": [5]}, "lengths: expected integers (), got torch.int64 (1,)"),
        ({"reset": torch.zeros(2, 5)}, "make it bool, reset.bool()"),
        ({"reset": torch.zeros(2, 5).byte()}, "make it bool, reset.bool()"),
        ({"reset": np.zeros((2, 5), int)}, "make it bool, reset.bool()"),
        ({"reset": [[False] * 4] * 2}, "reset: expected bool (2, 5), got torch.bool (2, 4)"),
        ({"x": pack_sequence([X[0]]), "lengths": [5]}, "lengths: expected none with a PackedSeq"),
        ({"h0": torch.zeros(1, 2, HIDDEN)}, "(num_layers, batch, hidden): pass h0[0]"),
        ({"h0": torch.zeros(3, 2, HIDDEN)}, "give each of the layers its own, h0[i]"),
        ({"h0": torch.zeros(2, HIDDEN).int()}, "h0: expected floating-point values"),
        ({"h0": np.zeros((2, HIDDEN))}, f"(batch, hidden_size) = (2, {HIDDEN}), got ndarray"),
        ({"h0": torch.zeros(2, HIDDEN, device="meta")}, "h0: expected a tensor on cpu"),
    ],
    ids=range(17),
)
def test_what_does_not_fit_the_sequences(options, message):
    options = {"x": X, **options}
    with pytest.raises(InputError) as error:
        ParaGRU(INPUT, HIDDEN)(options.pop("x"), **options)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", MIXERS)
def test_a_state_elsewhere_or_of_no_form_of_this_layer_is_refused(name):
    mixer, x = MIXERS[name](), torch.randn(2, 5, WIDTH)
    _, state = mixer(x)
    wrong = (
        map_state(lambda part: part.to("meta"), state),
        map_state(lambda part: part.unsqueeze(0), state),
        map_state(lambda part: part[:1], state),
        map_state(lambda part: part.tolist(), state),
        torch.zeros(5),
        list(leaves(state)),
    )
    for h0 in wrong:
        for run, value in ((mixer, x), (mixer.step, x[:, 0])):
            with pytest.raises(InputError, match=r"^h0") as error:
                run(value, h0)
            assert "\n" not in str(error.value)


def test_forward_itself_takes_no_packed_sequence():
    with pytest.raises(InputError, match="call the layer itself"):
        ParaGRU(INPUT).forward(pack_sequence([X[0]]))


@pytest.mark.parametrize("block_size", (1, 2, 4))
@pytest.mark.parametrize("layers", (True, False))
def test_the_remedy_for_a_state_of_torch_is_right(block_size, layers):
    layer = ParaLSTM(INPUT, 8, block_size=block_size)
    h, c = torch.arange(16.0).view(1, 2, 8), torch.arange(16.0, 32).view(1, 2, 8)
    with pytest.raises(InputError) as error:
        layer(X, (h, c) if layers else (h[0], c[0]))
    code = str(error.value).split("pass ")[1]
    state = eval(code, {"torch": torch, "h": h, "c": c})
    assert torch.equal(layer.cell.output(state), h[0])
    layer(X, state)


def test_a_failure_of_a_layer_itself_stays_what_it_is():
    class Failing(ElmanMixer):
        def forward(self, x, h0=None, *, reset=None, lengths=None):
            raise RuntimeError("a fault of its own")

    with pytest.raises(RuntimeError, match="a fault of its own"):
        Failing(WIDTH)(torch.zeros(1, 2, WIDTH))
