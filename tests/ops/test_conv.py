"""The causal convolution: its kernels against torch's in float64, and that against a plain loop."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops.conv import ROWS, _conv, _reference, causal_conv

ERROR = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 2e-2}
SHAPES = ((1, 1, 1, 2), (2, 5, 7, 4), (3, ROWS, 16, 3), (2, ROWS + 2, 33, 4), (1, 200, 40, 8))
"""B, T, D and taps."""

MASKS = {
    "plain": (False, False),
    "reset": (True, False),
    "lengths": (False, True),
    "both": (True, True),
}


def problem(shape: tuple[int, ...], dtype: torch.dtype, masks: str = "both") -> list[Tensor | None]:
    batch, steps, channels, taps = shape
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    both = torch.randn(batch, steps, 2 * channels).to(dtype)  # x is half of a projection
    reset, lengths = torch.rand(batch, steps) < 0.2, torch.randint(steps + 1, (batch,))
    lengths[0] = 0 if batch > 1 else steps
    has_reset, has_lengths = MASKS[masks]
    return [
        both.chunk(2, -1)[0],
        torch.randn(taps, channels, dtype=precise),
        torch.randn(channels, dtype=precise),
        torch.randn(batch, taps - 1, channels).to(dtype),
        reset if has_reset else None,
        lengths if has_lengths else None,
    ]


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    return bool((found - expected).abs().max() <= ERROR[dtype] * (1 + expected.abs().max()))


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_convolution_and_its_gradients_are_those_of_torch(shape, dtype, masks, backend):
    *given, reset, lengths = problem(shape, dtype, masks)
    leaves = [x.requires_grad_() for x in given]
    exact = [x.detach().double().requires_grad_() for x in given]
    found = causal_conv(*leaves, reset, lengths)
    truth = _reference(*exact, reset, lengths)
    for one, expected in zip(found, truth, strict=True):
        assert one.dtype == dtype and one.shape == expected.shape and close(one, expected, dtype)
    with torch.no_grad():
        for one, other in zip(causal_conv(*leaves, reset, lengths), found, strict=True):
            assert torch.equal(one, other)
    d = [torch.randn(x.shape).to(dtype) for x in found]
    gradients = torch.autograd.grad(found, leaves, d)
    for one, expected in zip(
        gradients, torch.autograd.grad(truth, exact, [x.double() for x in d]), strict=True
    ):
        assert one.shape == expected.shape and close(one, expected, dtype)


@pytest.mark.parametrize("masks", MASKS)
def test_torch_path_is_the_equation(masks):
    x, weight, bias, memory, reset, lengths = problem((2, 9, 3, 4), torch.float64, masks)
    y, final = _reference(x, weight, bias, memory, reset, lengths)
    for row in range(2):
        window = list(memory[row])
        end = 9 if lengths is None else int(lengths[row])
        for t in range(9):
            if t >= end:
                assert not y[row, t].any()
                continue
            if reset is not None and reset[row, t]:
                window = [torch.zeros(3).double()] * 3
            window = [*window[-3:], x[row, t]]
            total = bias + sum(w * past for w, past in zip(weight.flip(0), window, strict=True))
            assert close(y[row, t], functional.silu(total), torch.float64)
        assert torch.equal(final[row], torch.stack(window[-3:]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operator_is_well_formed(capability):
    *given, reset, lengths = problem((2, 5, 3, 3), torch.float64)
    leaves = [x.detach().clone().requires_grad_() for x in given]
    torch.library.opcheck(_conv.operator, (*leaves, reset, lengths))
    assert torch.autograd.gradcheck(lambda *t: causal_conv(*t, reset, lengths), leaves)
    assert torch.autograd.gradgradcheck(lambda *t: causal_conv(*t, reset, lengths), leaves)


def test_threads_change_no_bit():
    *given, reset, lengths = problem((3, 3 * ROWS, 24, 4), torch.float32)
    leaves = [x.detach().clone().requires_grad_() for x in given]
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        y, final = causal_conv(*leaves, reset, lengths)
        total = y.square().sum() + final.square().sum()
        found.append([y, final, *torch.autograd.grad(total, leaves)])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_transforms_and_compilation_take_the_path_of_torch():
    x, *others = problem((2, 5, 3, 3), torch.float64)

    def loss(x: Tensor) -> Tensor:
        return causal_conv(x, *others)[0].square().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.allclose(grad(loss)(x), expected)
    direction = torch.randn_like(x)
    assert torch.allclose(jvp(loss, (x,), (direction,))[1], (expected * direction).sum())
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(torch.autograd.grad(compiled(leaf), leaf)[0], expected)


def test_an_input_that_is_no_number_stays_where_it_is():
    x, weight, bias, memory, *_ = problem((1, 9, 2, 3), torch.float32)
    x = x.clone()
    x[0, 4, 0] = torch.nan
    reset = torch.zeros(1, 9, dtype=torch.bool)
    reset[0, 5] = True
    y = causal_conv(x, weight, bias, memory, reset)[0]
    assert y.isnan().nonzero().tolist() == [[0, 4, 0]]


@pytest.mark.parametrize(("dtype", "taps"), [(torch.float16, 4), (torch.float32, 9)])
def test_what_no_kernel_takes_is_left_to_torch(dtype, taps):
    inputs = problem((2, 5, 3, taps), dtype)
    found, expected = causal_conv(*inputs), _reference(*inputs)
    assert all(torch.equal(a, b) and a.dtype == dtype for a, b in zip(found, expected, strict=True))
    empty = causal_conv(torch.zeros(0, 5, 3), torch.ones(2, 3), torch.ones(3), torch.zeros(0, 1, 3))
    assert empty[0].shape == (0, 5, 3)


@pytest.mark.parametrize(
    ("place", "bad", "message"),
    [
        (
            0,
            torch.zeros(2, 3),
            r"x: expected \(B, T, D\), and a weight \(K, D\), got \(2, 3\), \(4, 3\)",
        ),
        (1, torch.zeros(4, 1), r"weight: expected torch.float32 \(4, 3\)"),
        (2, torch.zeros(1), r"bias: expected torch.float32 \(3,\)"),
        (3, torch.zeros(2, 3, 3).double(), r"memory: expected torch.float32 \(2, 3, 3\)"),
        (4, torch.zeros(2, 1, dtype=torch.bool), r"reset: expected torch.bool \(2, 5\)"),
        (5, torch.ones(2, dtype=torch.int32), r"lengths: expected torch.int64 \(2,\)"),
    ],
)
def test_inputs_that_do_not_fit(place, bad, message):
    inputs = problem((2, 5, 3, 4), torch.float32)
    inputs[place] = bad
    with pytest.raises(InputError, match=message):
        causal_conv(*inputs)


@pytest.mark.parametrize("length", (-9, 99))
def test_lengths_out_of_bounds_read_nothing_beyond(length, capability):
    *given, _, lengths = problem((1, 5, 3, 4), torch.float32)
    y, final = causal_conv(*given, None, torch.full_like(lengths, length))
    whole = causal_conv(*given, None, torch.full_like(lengths, 5 if length > 0 else 0))
    assert torch.equal(y, whole[0]) and torch.equal(final, whole[1])
