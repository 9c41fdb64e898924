"""State space duality: its kernels and torch's chunks against a loop over steps in float64."""

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad

from paratime.errors import InputError
from paratime.ops.native import library
from paratime.ops.ssd import CHUNK, HEADS, ROWS, _ssd, ssd, ssd_chunks, ssd_loop
from paratime.testing import TOLERANCE

ERROR = {torch.float64: 1e-11, torch.float32: 5e-5}
SHAPES = (
    (1, 1, 1, 1, 1, 1, 1),
    (2, 5, 1, 2, 4, 5, 6),
    (2, ROWS, 1, 1, HEADS + 1, 16, 3),
    (1, 3 * ROWS + 1, 1, 2, 4, 8, 64),
    (2, 50, 3, 1, 2, 5, 17),
    (1, 2, ROWS + 2, 1, 1, 3, 4),
)
"""B, T, R, G, H, N and P."""


def problem(shape: tuple[int, ...], dtype: torch.dtype, resets: float) -> list[Tensor | None]:
    batch, steps, rank, groups, heads, size, width = shape
    both = torch.randn(batch, steps, rank, groups, 2 * size)  # halves of one projection
    numbers = [
        both[..., :size] if rank * groups == 1 else torch.randn(batch, steps, rank, groups, size),
        both[..., size:] / size,
        torch.randn(batch, steps, 2 * rank, heads, width)[:, :, rank:],  # of a wider one
        torch.rand(batch, steps, heads),
        -torch.randn(batch, steps, heads).square(),
        torch.randn(heads),
        torch.randn(batch, heads, size, width),
    ]
    reset = torch.rand(batch, steps) < resets if resets else None
    return [*(x.to(dtype) for x in numbers), reset]


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    return bool((found - expected).abs().max() <= ERROR[dtype] * (1 + expected.abs().max()))


@pytest.mark.parametrize("resets", (0, 0.05, 0.5, 1))
@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_and_gradients_are_those_of_the_loop(shape, dtype, resets, backend):
    *given, reset = problem(shape, dtype, resets)
    leaves = [x.requires_grad_() for x in given]
    exact = [x.detach().double().requires_grad_() for x in given]
    found, truth = ssd(*leaves, reset), ssd_loop(*exact, reset)
    for one, expected in zip(found, truth, strict=True):
        assert one.dtype == dtype and one.shape == expected.shape and close(one, expected, dtype)
    with torch.no_grad():
        for one, other in zip(ssd(*leaves, reset), found, strict=True):
            assert torch.equal(one, other)
    d = [torch.randn(x.shape).to(dtype) for x in found]
    gradients = torch.autograd.grad(found, leaves, d)
    expected_gradients = torch.autograd.grad(truth, exact, [x.double() for x in d])
    for one, expected in zip(gradients, expected_gradients, strict=True):
        assert one.shape == expected.shape and close(one, expected, dtype)


def test_nothing_passes_a_reset(backend):
    *given, _ = problem((1, 100, 1, 1, 2, 4, 8), torch.float64, 0)
    leaves = [x.requires_grad_() for x in given]
    reset = torch.zeros(1, 100, dtype=torch.bool)
    reset[0, 70] = True
    y, final = ssd(*leaves, reset)
    gradients = torch.autograd.grad(y[:, 70:].sum() + final.sum(), leaves)
    assert not gradients[-1].any() and not gradients[4][:, 70].any()
    assert all(not x[:, :70].any() for x in gradients[:5])


@st.composite
def hard_problem(draw: st.DrawFn) -> list[Tensor | None]:
    """Draw decays from none to all that is known, next to each other, around chunks' borders."""
    torch.manual_seed(draw(st.integers(0, 2**20)))
    dtype = draw(st.sampled_from((torch.float32, torch.float64)))
    steps = draw(st.sampled_from((1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 130)))
    shape = 2, steps, draw(st.sampled_from((1, 2))), draw(st.sampled_from((1, 2))), 2, 3, 4
    numbers = problem(shape, dtype, draw(st.sampled_from((0, 0.02, 0.3))))
    sizes = draw(st.lists(st.sampled_from((0, 0.01, 1, 100, 1e4, torch.inf)), min_size=2))
    chosen = torch.tensor(sizes, dtype=dtype)[torch.randint(len(sizes), numbers[4].shape)]
    share = 1 - torch.rand(chosen.shape, dtype=dtype)
    numbers[4] = -torch.where(chosen == 0, 0, chosen * share)
    numbers[2] = numbers[2] * draw(st.sampled_from((1e-2, 1, 100)))
    return numbers


def run(path, given: list[Tensor | None], d: list[Tensor]) -> list[Tensor]:
    """Return outputs and gradients."""
    *leaves, reset = given
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    found = path(*leaves, reset)
    d = [x.to(one.dtype) for x, one in zip(d, found, strict=True)]
    return [*found, *torch.autograd.grad(found, leaves, d)]


@drawn(hard_problem())
@settings(deadline=None, max_examples=30, derandomize=True)
def test_every_path_follows_the_loop_where_decays_are_extreme(given):
    value = given[2]
    d = [torch.randn(x.shape, dtype=torch.float64) for x in (value, given[6])]
    truth = run(ssd_loop, [*(x.double() for x in given[:-1]), given[-1]], d)
    paths = [run(ssd, given, d)]
    with library.force_backend(library.REFERENCE):
        paths.append(run(ssd, given, d))
    for found in paths:
        for i, (one, expected) in enumerate(zip(found, truth, strict=True)):
            assert one.isfinite().all()
            error = (one.double() - expected).abs().max()
            scale = max(expected.abs().max(), 0.1)  # of terms that cancel, too
            assert error <= TOLERANCE[value.dtype].gradient * scale, i


@pytest.mark.parametrize("strong", (100, 5000, torch.inf))
def test_steps_that_forget_all_keep_the_others_exact(strong, backend):
    """Sums of log-decays are large there, while neighbours differ by hundredths."""
    *given, reset = problem((1, 60, 1, 1, 1, 4, 8), torch.float32, 0)
    given[4] = -torch.rand(1, 60, 1) / 100
    given[4][:, 5] = -strong
    truth = ssd_loop(*(x.double() for x in given), reset)
    for one, expected in zip(ssd(*given, reset), truth, strict=True):
        assert close(one, expected, torch.float32)


def test_second_derivatives_are_finite_after_a_strong_decay():
    *given, reset = problem((1, 12, 1, 1, 1, 2, 2), torch.float64, 0.2)
    given[4] = given[4] * 1000
    leaves = [x.detach().clone().requires_grad_() for x in given]
    assert torch.autograd.gradgradcheck(lambda *t: ssd(*t, reset), leaves)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_operator_is_well_formed(capability):
    *given, reset = problem((2, 5, 2, 1, 2, 3, 2), torch.float64, 0.2)
    leaves = [x.detach().clone().requires_grad_() for x in given]
    torch.library.opcheck(_ssd.operator, (*leaves, reset))
    assert torch.autograd.gradcheck(lambda *t: ssd(*t, reset), leaves)
    assert torch.autograd.gradgradcheck(lambda *t: ssd(*t, reset), leaves)


def test_no_number_stays_in_its_sequence(backend):
    *given, _ = problem((3, 12, 1, 1, 2, 5, 6), torch.float64, 0)
    leaves = [x.requires_grad_() for x in given]

    def gradients() -> list[Tensor]:
        y, final = ssd(*leaves)
        found = torch.autograd.grad(y[::2].sum() + final[::2].sum(), leaves)
        return [x[::2] for x in (*found[:5], found[6])]

    before = gradients()
    with torch.no_grad():
        for x in leaves[:5]:
            x[1] = torch.nan
    for _ in range(2):  # nor does any stay in a buffer
        assert all(torch.equal(a, b) for a, b in zip(gradients(), before, strict=True))


def test_what_does_not_fit_is_refused():
    given = problem((2, 5, 1, 1, 2, 3, 4), torch.float32, 0.2)
    for position in range(len(given)):
        for wrong in (given[position][:-1], given[position].half()):
            inputs = [*given[:position], wrong, *given[position + 1 :]]
            with pytest.raises(InputError, match=": expected "):
                ssd(*inputs)
    with pytest.raises(InputError, match="value: expected"):
        ssd(given[0].expand(-1, -1, -1, 3, -1), *given[1:])


def test_threads_change_no_bit():
    *given, reset = problem((2, 2 * ROWS, 1, 1, 3 * HEADS, 8, 16), torch.float32, 0.05)
    leaves = [x.detach().clone().requires_grad_() for x in given]
    found, before = [], torch.get_num_threads()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        y, final = ssd(*leaves, reset)
        total = y.square().sum() + final.square().sum()
        found.append([y, final, *torch.autograd.grad(total, leaves)])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_transforms_and_compilation_take_the_path_of_torch():
    x, *others = problem((2, 5, 1, 1, 2, 3, 4), torch.float64, 0.2)

    def loss(x: Tensor) -> Tensor:
        return ssd(x, *others)[0].square().sum()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    assert torch.allclose(grad(loss)(x), expected)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert torch.allclose(torch.autograd.grad(compiled(leaf), leaf)[0], expected)
    chunks = ssd_chunks(x, *others)[0].square().sum()
    assert torch.allclose(chunks, loss(x))
