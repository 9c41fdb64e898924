import pytest
import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops.native import library
from paratime.ops.scan import _scan, scan, scan_loop, scan_safe
from paratime.testing import TOLERANCE, relative_error

STEPS = (1, 2, 3, 63, 500)
KINDS = {"diagonal": None, "2x2": 2, "3x3": 3, "4x4": 4, "dense": 8}


def problem(kind: str, steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    k, channels = KINDS[kind], 1 if kind == "dense" else 5
    size = (channels,) if k is None else (k, channels)
    a_size = (channels,) if k is None else (k, k, channels)
    a = torch.randn(2, steps, *a_size, dtype=torch.float64) * (0.7 if k is None else 0.7 / k)
    b = torch.randn(2, steps, *size, dtype=torch.float64)
    h0 = torch.randn(2, *size, dtype=torch.float64)
    return a.to(dtype), b.to(dtype), h0.to(dtype)


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("with_h0", (False, True), ids=("zero", "h0"))
@pytest.mark.parametrize("reverse", (False, True), ids=("forward", "reverse"))
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", KINDS)
def test_scan_and_its_gradients_equal_the_loop(kind, steps, reverse, with_h0, dtype, backend):
    a, b, h0 = (x.requires_grad_() for x in problem(kind, steps, dtype))
    leaves = [a, b, h0] if with_h0 else [a, b]
    start = h0 if with_h0 else None
    h, truth = scan(a, b, start, reverse=reverse), scan_loop(a, b, start, reverse=reverse)
    assert (h - truth).abs().max() <= TOLERANCE[dtype].value
    weight = torch.randn_like(h)
    gradients = torch.autograd.grad((h * weight).sum(), leaves)
    truths = torch.autograd.grad((truth * weight).sum(), leaves)
    for gradient, expected in zip(gradients, truths, strict=True):
        assert relative_error(gradient, expected) <= TOLERANCE[dtype].gradient


@pytest.mark.parametrize("reverse", (False, True), ids=("forward", "reverse"))
@pytest.mark.parametrize("kind", ("diagonal", "2x2"))
def test_second_derivatives(kind, reverse, backend):
    args = [x.requires_grad_() for x in problem(kind, 5, torch.float64)]
    assert torch.autograd.gradcheck(lambda *x: scan(*x, reverse=reverse), args)
    assert torch.autograd.gradgradcheck(lambda *x: scan(*x, reverse=reverse), args)


@pytest.mark.parametrize("kind", ("diagonal", "2x2"))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operator_is_well_formed(kind, backend):
    a, b, h0 = problem(kind, 7, torch.float64)
    for args in ((a, b, None, False), (a.requires_grad_(), b.requires_grad_(), h0, True)):
        torch.library.opcheck(_scan, args)


def test_an_output_never_shares_memory_with_an_input(backend):
    a, b, _ = problem("diagonal", 1, torch.float64)
    h = scan(a, b)
    h.add_(1)
    assert not torch.equal(h, b)


@pytest.mark.parametrize(
    ("a", "b", "h0", "message"),
    [
        (
            (2, 4, 3),
            (2, 5, 3),
            None,
            "a: expected torch.float32 (2, 5, 3), got",
        ),
        (
            (2, 5, 3),
            (2, 5, 3),
            (2, 4),
            "h0: expected torch.float32 (2, 3), got",
        ),
        ((2, 5, 2, 3), (2, 5, 2, 3), None, "a: expected torch.float32 (2, 5, 2, 2, 3)"),
        ((2, 3), (2, 3), None, "b: expected (B, T, D)"),
        ((2, 0, 3), (2, 0, 3), None, "at least one step"),
    ],
)
def test_shapes_that_do_not_fit(a, b, h0, message):
    start = None if h0 is None else torch.zeros(h0)
    with pytest.raises(InputError) as error:
        scan(torch.zeros(a), torch.zeros(b), start)
    assert message in str(error.value)


@pytest.mark.parametrize("kind", ("diagonal", "2x2"))
def test_products_that_overflow_meet_a_zero_state(kind, backend):
    a, b, _ = problem(kind, 200, torch.float32)
    a, b = a.abs() * 1e9, b.clone()
    a[:, 150], b[:, :151] = 0, 0
    a[:, 151:] = 0.5 / (a.shape[2] if a.dim() == 5 else 1)
    h = scan(a, b)
    truth = scan_loop(a, b)
    assert torch.isfinite(h).all()
    assert (h - truth).abs().max() <= TOLERANCE[torch.float32].value
    assert torch.equal(h, truth) or backend != library.REFERENCE


@pytest.mark.parametrize("reverse", (False, True), ids=("forward", "reverse"))
def test_a_transition_of_zero_forgets_what_is_no_number(reverse, capability):
    a, b, h0 = problem("diagonal", 9, torch.float64)
    a[0, 4] = 0
    expected = scan(a, b, h0, reverse=reverse)
    start, after = (-1, slice(None, 5)) if reverse else (0, slice(4, None))
    a[0, start] = torch.nan
    for run in (scan, scan_loop, scan_safe):
        h = run(a, b, h0, reverse=reverse)
        assert h[0, start].isnan().all()
        assert torch.allclose(h[0, after], expected[0, after])
        assert torch.allclose(h[1], expected[1])


def test_half_precision_is_refused():
    x = torch.zeros(1, 2, 3, dtype=torch.bfloat16)
    with pytest.raises(InputError, match="float32 or float64"):
        scan(x, x)


def test_forward_mode_is_refused():
    a, b, h0 = problem("diagonal", 5, torch.float64)
    with pytest.raises(NotImplementedError, match="Sequential"):
        torch.func.jvp(lambda b: scan(a, b, h0), (b,), (b,))
