"""The selective scan: its kernels against torch's in float64, and that against a plain loop."""

import pytest
import torch
from torch import Tensor
from torch.func import grad
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops.selective import CHANNELS, STEPS, _reference, _scan, selective_scan

ERROR = {torch.float64: 1e-12, torch.float32: 2e-5}
SHAPES = ((1, 1, 1, 1), (2, 5, 7, 4), (3, STEPS, 16, 3), (2, 2 * STEPS + 1, CHANNELS + 9, 16))
"""B, T, D and N."""

MASKS = {
    "plain": (False, False),
    "reset": (True, False),
    "lengths": (False, True),
    "both": (True, True),
}


def problem(shape: tuple[int, ...], dtype: torch.dtype, masks: str = "both") -> list[Tensor | None]:
    batch, steps, channels, size = shape
    reset, lengths = torch.rand(batch, steps) < 0.2, torch.randint(steps + 1, (batch,))
    lengths[0] = 0 if batch > 1 else steps
    has_reset, has_lengths = MASKS[masks]
    numbers = [
        torch.randn(batch, steps, channels),
        torch.rand(batch, steps, channels),
        -2 * torch.rand(size, channels),
        torch.randn(batch, steps, size),
        torch.randn(batch, steps, size),
        torch.randn(channels),
        torch.randn(batch, steps, 2 * channels)[..., channels:],  # a half of a projection
        torch.randn(batch, size, channels),
    ]
    masked = [reset if has_reset else None, lengths if has_lengths else None]
    return [*(x.to(dtype) for x in numbers), *masked]


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    return bool((found - expected).abs().max() <= ERROR[dtype] * (1 + expected.abs().max()))


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_scan_and_its_gradients_are_those_of_torch(shape, dtype, masks, backend):
    *given, reset, lengths = problem(shape, dtype, masks)
    leaves = [x.requires_grad_() for x in given]
    exact = [x.detach().double().requires_grad_() for x in given]
    found, truth = selective_scan(*leaves, reset, lengths), _reference(*exact, reset, lengths)
    for one, expected in zip(found, truth, strict=True):
        assert one.dtype == dtype and one.shape == expected.shape and close(one, expected, dtype)
    with torch.no_grad():
        for one, other in zip(selective_scan(*leaves, reset, lengths), found, strict=True):
            assert torch.equal(one, other)
    d = [torch.randn(x.shape).to(dtype) for x in found]
    gradients = torch.autograd.grad(found, leaves, d)
    for one, expected in zip(
        gradients, torch.autograd.grad(truth, exact, [x.double() for x in d]), strict=True
    ):
        assert one.shape == expected.shape and close(one, expected, dtype)


@pytest.mark.parametrize("masks", MASKS)
def test_torch_path_is_the_equation(masks):
    given = problem((2, 9, 3, 4), torch.float64, masks)
    x, dt, a, b, c, skip, gate, h0, reset, lengths = given
    y, final = _reference(*given)
    for i in range(2):
        h, end = h0[i], 9 if lengths is None else int(lengths[i])
        for t in range(end):
            h = torch.zeros_like(h) if reset is not None and reset[i, t] else h
            h = (dt[i, t] * a).exp() * h + b[i, t, :, None] * (dt[i, t] * x[i, t])
            expected = (c[i, t] @ h + skip * x[i, t]) * functional.silu(gate[i, t])
            assert close(y[i, t], expected, torch.float64)
        assert not y[i, end:].any() and close(final[i], h, torch.float64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operator_is_well_formed(capability):
    *given, reset, lengths = problem((2, 5, 3, 2), torch.float64)
    leaves = [x.detach().clone().requires_grad_() for x in given]
    torch.library.opcheck(_scan.operator, (*leaves, reset, lengths))
    assert torch.autograd.gradcheck(lambda *t: selective_scan(*t, reset, lengths), leaves)
    assert torch.autograd.gradgradcheck(lambda *t: selective_scan(*t, reset, lengths), leaves)


def test_threads_change_no_bit():
    *given, reset, lengths = problem((3, 2 * STEPS, 3 * CHANNELS, 4), torch.float32)
    leaves = [x.detach().clone().requires_grad_() for x in given]
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        y, final = selective_scan(*leaves, reset, lengths)
        total = y.square().sum() + final.square().sum()
        found.append([y, final, *torch.autograd.grad(total, leaves)])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_transforms_and_compilation_take_the_path_of_torch():
    x, *others = problem((2, 5, 3, 3), torch.float64)

    def loss(x: Tensor) -> Tensor:
        return selective_scan(x, *others)[0].square().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    with pytest.raises(NotImplementedError):
        grad(loss)(x)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(torch.autograd.grad(compiled(leaf), leaf)[0], expected)


@pytest.mark.parametrize("place", range(8))
def test_inputs_that_do_not_fit(place):
    inputs = problem((2, 5, 3, 4), torch.float32)
    for bad in (inputs[place][..., :1], inputs[place].double()):
        wrong = [*inputs]
        wrong[place] = bad
        with pytest.raises(InputError, match=r"expected .*, got .*; make it fit x"):
            selective_scan(*wrong)
    with pytest.raises(InputError, match=r"lengths: expected torch.int64 \(2,\), got torch.int32"):
        selective_scan(*inputs[:9], torch.ones(2, dtype=torch.int32))


def test_gradients_that_are_no_numbers_stay_in_their_episode(capability):
    *given, _, _ = problem((1, 2 * STEPS, 5, 3), torch.float64)
    reset = torch.zeros(1, 2 * STEPS, dtype=torch.bool)
    reset[0, STEPS + 3] = True
    leaves = [x.requires_grad_() for x in given]
    y = selective_scan(*leaves, reset)[0]
    d, found = torch.ones_like(y), []
    for value in (0, torch.nan):
        d[0, STEPS + 9] = value
        of_sequences = [leaves[i] for i in (0, 1, 3, 4, 6)]
        found.append(torch.autograd.grad(y, of_sequences, d, retain_graph=True))
    for truth, one in zip(*found, strict=True):
        assert torch.allclose(one[0, : STEPS + 3], truth[0, : STEPS + 3])
