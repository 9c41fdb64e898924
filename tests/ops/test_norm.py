"""The root-mean-square norm: its kernels against torch's in float64."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp

from paratime.errors import InputError
from paratime.layers.norm import RMSNorm
from paratime.ops.norm import ROWS, _norm, _reference, rms_norm, rms_norm_of_gated

EPS = 1e-5
HOW = EPS, 1, False
ERROR = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 2e-2}
SHAPES = ((1, 1), (3, 5, 7), (ROWS - 1, 16), (ROWS, 33), (2, ROWS + 3, 64), (5 * ROWS, 100))


def problem(
    shape: tuple[int, ...], dtype: torch.dtype, gated: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    weight = torch.randn(shape[-1], dtype=precise)
    both = torch.randn(*shape[:-1], 2 * shape[-1]).to(dtype)  # the gate is half of a projection
    return torch.randn(shape).to(dtype), weight, both.chunk(2, -1)[1] if gated else None


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    return bool((found - expected).abs().max() <= ERROR[dtype] * (1 + expected.abs().max()))


@pytest.mark.parametrize("gated", (False, True), ids=("plain", "gated"))
@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_norm_and_its_gradients_are_those_of_torch(shape, dtype, gated, backend):
    leaves = [x for x in problem(shape, dtype, gated) if x is not None]
    leaves = [x.requires_grad_() for x in leaves]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    y, truth = rms_norm(*leaves, eps=EPS), _reference(*exact, *[None] * (not gated), *HOW)
    assert y.dtype == dtype and y.shape == shape and close(y, truth, dtype)
    with torch.no_grad():
        assert torch.equal(rms_norm(*leaves, eps=EPS), y)
    d = torch.randn(shape).to(dtype)
    found = torch.autograd.grad(y, leaves, d)
    for one, expected in zip(found, torch.autograd.grad(truth, exact, d.double()), strict=True):
        assert one.shape == expected.shape and close(one, expected, dtype)


@pytest.mark.parametrize("gated", (False, True), ids=("plain", "gated"))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operator_is_well_formed(gated, capability):
    x, weight, gate = problem((3, 5), torch.float64, gated)
    leaves = [t if t is None else t.detach().clone().requires_grad_() for t in (x, weight, gate)]
    torch.library.opcheck(_norm.operator, (*leaves, *HOW))
    some = [t for t in leaves if t is not None]
    assert torch.autograd.gradcheck(lambda *t: rms_norm(*t, eps=EPS), some)
    assert torch.autograd.gradgradcheck(lambda *t: rms_norm(*t, eps=EPS), some)


@pytest.mark.parametrize("gated", (False, True), ids=("plain", "gated"))
def test_threads_change_no_bit(gated):
    x, weight, gate = problem((9, ROWS, 24), torch.float32, gated)
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, gate) if t is not None]
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        y = rms_norm(*leaves, eps=EPS)
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_transforms_and_compilation_take_the_path_of_torch():
    x, weight, gate = problem((3, 5), torch.float64, True)

    def loss(x: Tensor) -> Tensor:
        return rms_norm(x, weight, gate, eps=EPS).square().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.allclose(grad(loss)(x), expected)
    direction = torch.randn_like(x)
    assert torch.allclose(jvp(loss, (x,), (direction,))[1], (expected * direction).sum())
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(torch.autograd.grad(compiled(leaf), leaf)[0], expected)


@pytest.mark.parametrize("parts", (1, 3))
@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("shape", ((1, 3), (2, 5, 51), (ROWS + 1, 96)), ids=str)
def test_what_is_gated_first_is_normed_part_by_part(shape, dtype, parts, backend):
    leaves = [x.requires_grad_() for x in problem(shape, dtype, True)]
    x, weight, gate = exact = [x.detach().double().requires_grad_() for x in leaves]
    y = rms_norm_of_gated(*leaves, eps=EPS, parts=parts)
    opened = (x * gate * gate.sigmoid()).unflatten(-1, (parts, -1))
    truth = opened / (opened.square().mean(-1, keepdim=True) + EPS).sqrt()
    truth = truth.flatten(-2) * weight
    assert y.dtype == dtype and y.shape == shape and close(y, truth, dtype)
    with torch.no_grad():
        assert torch.equal(rms_norm_of_gated(*leaves, eps=EPS, parts=parts), y)
    d = torch.randn(shape).to(dtype)
    found = torch.autograd.grad(y, leaves, d)
    for one, expected in zip(found, torch.autograd.grad(truth, exact, d.double()), strict=True):
        assert one.shape == expected.shape and close(one, expected, dtype)


def test_second_derivatives_of_what_is_gated_first(capability):
    leaves = [x.requires_grad_() for x in problem((2, 6), torch.float64, True)]

    def norm(*t: Tensor) -> Tensor:
        return rms_norm_of_gated(*t, eps=EPS, parts=2)

    torch.library.opcheck(_norm.operator, (*leaves, EPS, 2, True))
    assert torch.autograd.gradcheck(norm, leaves) and torch.autograd.gradgradcheck(norm, leaves)


def test_parts_that_do_not_divide():
    x = torch.zeros(2, 4)
    with pytest.raises(InputError, match="parts: expected a divisor of 4 channels, got 3"):
        rms_norm_of_gated(x, torch.ones(4), x, eps=EPS, parts=3)


def test_extremes():
    weight = torch.ones(4)
    zeros = torch.zeros(2, 4, requires_grad=True)
    y = rms_norm(zeros, weight, eps=EPS)
    (d,) = torch.autograd.grad(y.sum(), zeros)
    assert not y.any() and torch.allclose(d, torch.full_like(d, EPS**-0.5))
    bad = torch.tensor([[1.0, torch.nan, 1, 1], [1, 1, 1, 1]])
    y = rms_norm(bad, weight, eps=EPS)
    assert y[0].isnan().all() and y[1].isfinite().all()
    gate = torch.tensor([[-200.0, 200, 0, 1e30]])
    expected = _reference(torch.ones(1, 4), weight, gate, *HOW)
    assert torch.allclose(rms_norm(torch.ones(1, 4), weight, gate, eps=EPS), expected)
    assert rms_norm(torch.zeros(0, 4), weight, eps=EPS).shape == (0, 4)


def test_half_precision_takes_the_path_of_torch():
    x, weight, gate = problem((3, 8), torch.float16, True)
    found = rms_norm(x, weight, gate, eps=EPS)
    assert found.dtype == torch.float16 and torch.equal(found, _reference(x, weight, gate, *HOW))


@pytest.mark.parametrize(
    ("weight", "gate", "message"),
    [
        (3, None, "weight: expected the last axis of x (2, 4), got (3,)"),
        (4, torch.zeros(2, 3), "gate: expected (2, 4), torch.float32, got (2, 3), torch.float32"),
        (4, torch.zeros(2, 4).double(), "got (2, 4), torch.float64; make it like x"),
    ],
)
def test_shapes_that_do_not_fit(weight, gate, message):
    with pytest.raises(InputError) as error:
        rms_norm(torch.zeros(2, 4), torch.ones(weight), gate, eps=EPS)
    assert message in str(error.value)


def test_the_layer_has_the_parameters_of_torch():
    ours, theirs = RMSNorm(8), torch.nn.RMSNorm(8)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        x = 1e-3 * torch.randn(3, 8, dtype=dtype)
        assert torch.allclose(ours.to(dtype)(x), theirs.to(dtype)(x), rtol=ERROR[dtype])
