"""The conformance kit: tolerances, and checks that any cell or mixer should pass.

``verify`` shows where a layer stands; ``check_cell`` and ``check_mixer`` raise where one falls
short.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from paratime.cells.base import Cell
from paratime.codegen.running import compiled_cell, path_of
from paratime.errors import InputError
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import Recurrent
from paratime.layers.state import clone, detach, leaves, select
from paratime.solvers.base import Solver
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential

Run = tuple[Tensor, Any]
"""Outputs and the final state."""


@dataclass(frozen=True)
class Tolerance:
    """How far a fast path may be from its slow twin.

    Attributes:
        value: Largest absolute error of outputs and states.
        gradient: Largest error of a gradient, relative to its largest entry.
    """

    value: float
    gradient: float


TOLERANCE = {
    torch.float64: Tolerance(value=1e-10, gradient=1e-8),
    torch.float32: Tolerance(value=1e-5, gradient=1e-3),
    torch.bfloat16: Tolerance(value=2e-2, gradient=1e-1),
    torch.float16: Tolerance(value=2e-3, gradient=1e-2),
}


@dataclass(frozen=True)
class SolverComparison:
    """A solver against the loop, in one precision.

    Attributes:
        dtype: The precision.
        error: Largest absolute error of the outputs.
        gradient_error: Largest error of any gradient, relative to its largest entry.
        iterations: Newton iterations.
        defect: Correction of the last iteration.
        converged: Whether the iterations converged.
        seconds: Forward and backward, by the solver.
        loop_seconds: Forward and backward, by the loop.
    """

    dtype: torch.dtype
    error: float
    gradient_error: float
    iterations: int
    defect: float
    converged: bool
    seconds: float
    loop_seconds: float

    @property
    def passed(self) -> bool:
        """Whether the errors are within ``TOLERANCE``."""
        allowed = TOLERANCE[self.dtype]
        return self.error <= allowed.value and self.gradient_error <= allowed.gradient


def verify(
    layer: Recurrent, x: Tensor, h0: Tensor | None = None, *, reset: Tensor | None = None
) -> list[SolverComparison]:
    """Compare a layer's fast path with the loop, print a small table and return it.

    Outputs, and the gradients of inputs, h0 and weights under a linear loss, are compared in
    float64 and in the precision of ``x``. The layer itself is left as it is.

    Args:
        layer: The layer; without a solver, its default path here is compared.
        x: Inputs, (B, T, input_size).
        h0: State before the first step.
        reset: Restarts, bool (B, T).

    Returns:
        One comparison a precision.
    """
    solver, path, reason = layer.solver, str(layer.solver), None
    if solver is None:
        path, reason = _path(layer.cell, x)
        solver = None if reason is None else Newton()
    dtypes = dict.fromkeys((torch.float64, x.dtype))
    for dtype in dtypes:  # so that no first call is timed
        compare_solvers(layer.cell, solver, x[:1, :64].to(dtype), None, None)
    rows = [compare_solvers(layer.cell, solver, x.to(d), _cast(h0, d), reset) for d in dtypes]
    print(f"{type(layer.cell).__name__}, (B, T, D) = {tuple(x.shape)}, {path} against the loop")
    if reason is not None:
        print(f"there is no kernel: {reason}")
    print("dtype     error     gradient  iterations  defect    time      loop      ")
    for r in rows:
        verdict = "ok" if r.passed else "outside the tolerance"
        verdict += "" if r.converged else ", finished by the loop"
        print(
            f"{str(r.dtype).removeprefix('torch.'):<10}{r.error:<10.1e}{r.gradient_error:<10.1e}"
            f"{r.iterations:<12}{r.defect:<10.1e}{r.seconds:<10.2g}{r.loop_seconds:<10.2g}{verdict}"
        )
    return rows


def _path(cell: Cell, x: Tensor) -> tuple[str, str | None]:
    """Return what runs a cell by default, and if that is the torch solver, why."""
    if cell.fused is not False and cell.fused(x.device) is not None:
        return "the fused operator", None
    if compiled_cell(cell, cell.drive(x)) is not None:
        return "its own kernel", None
    refused = cell.fused is False
    reason = "the cell says so" if refused else path_of(cell, cell.drive(x)).reason
    return str(Newton()), reason


def compare_solvers(
    cell: Cell, solver: Solver | None, x: Tensor, h0: Tensor | None, reset: Tensor | None
) -> SolverComparison:
    """Run a cell by a solver and by the loop, forward and backward, in the precision of x.

    Without a solver, it is the default path of a layer.
    """
    cell = copy.deepcopy(cell).to(x.dtype)
    fast, slow = Recurrent(cell, solver), Recurrent(cell, Sequential())
    y, gradients, seconds = _run(fast, x, h0, reset)
    y_loop, gradients_loop, loop_seconds = _run(slow, x, h0, reset)
    assert fast.solution is not None
    return SolverComparison(
        dtype=x.dtype,
        error=_gap(y, y_loop),
        gradient_error=max(map(relative_error, gradients, gradients_loop)),
        iterations=fast.solution.iterations,
        defect=fast.solution.defect,
        converged=fast.solution.converged,
        seconds=seconds,
        loop_seconds=loop_seconds,
    )


def relative_error(x: Tensor, truth: Tensor) -> float:
    """Return max |x - truth| / max |truth|; 0 where both are zero."""
    return _gap(x, truth) / max(_gap(truth, torch.zeros_like(truth)), torch.finfo(x.dtype).tiny)


def check_cell(cell: Cell, x: Tensor) -> None:
    """Check a cell's step, Jacobian, bound and solve against their definitions, in float64.

    Args:
        cell: The cell; it is copied.
        x: Inputs, (B, T, input_size).

    Raises:
        AssertionError: A promise is broken; the message names it.
    """
    cell, x = copy.deepcopy(cell).double(), x.double()
    allowed = TOLERANCE[torch.float64]
    u = cell.drive(x).detach()
    h = torch.linspace(-0.9, 0.9, x.shape[0] * x.shape[1] * cell.state_shape.numel())
    h = h.double().view(*x.shape[:2], *cell.state_shape)
    stepped = cell.step(u, h)
    assert stepped.shape == h.shape, f"step: expected {tuple(h.shape)}, got {tuple(stepped.shape)}"
    state, jac = cell.linearize(u, h)
    assert torch.equal(state, stepped), "linearize: its state differs from step"
    _, truth = Cell.linearize(cell, u, h)
    error = _gap(jac, truth)
    assert error <= allowed.value, f"linearize: its Jacobian is off by {error:.1e}"
    half = copy.deepcopy(cell).bfloat16()
    try:
        half.step(u.float(), h.float())
    except RuntimeError as failure:
        remedy = "cast them by .to(h.dtype)"
        message = f"step: it fails with parameters in bfloat16 and states in float32; {remedy}"
        raise AssertionError(message) from failure
    if cell.bound is not None:
        largest = float(stepped.detach().abs().max())
        assert largest <= cell.bound, f"bound: {cell.bound} was left, |h'| = {largest}"
    streamed = torch.stack([cell.step(u[:, t], h[:, t]) for t in range(x.shape[1])], dim=1)
    error = _gap(streamed, stepped)
    assert error <= allowed.value, f"step: one step at a time differs by {error:.1e}"
    for solver, path in ((Newton(), "Newton"), (None, "the default path")):
        result = compare_solvers(cell, solver, x, None, None)
        assert result.passed, f"{path} and the loop differ: {result}"


def check_mixer(build: Callable[[], Mixer], x: Tensor) -> None:
    """Check that a mixer keeps the promises of the ``Mixer`` contract, in float64 and below.

    Args:
        build: Makes the mixer.
        x: Inputs, (B, T, input_size), with B at least 2 and T at least 4.

    Raises:
        AssertionError: A promise is broken; the message names it.
        InputError: x is too small.
    """
    if x.dim() != 3 or x.shape[0] < 2 or x.shape[1] < 4:
        raise InputError(
            "x",
            expected="(B >= 2, T >= 4, input_size)",
            got=str(tuple(x.shape)),
            remedy="take more sequences, or steps",
        )
    mixer, x = build().double().eval(), x.double()
    batch, steps = x.shape[:2]
    reset = torch.zeros(batch, steps, dtype=torch.bool)
    reset[0, steps // 2] = reset[-1, 0] = reset[-1, steps // 3] = True
    _check_memory(mixer, x, reset)
    with torch.no_grad():
        whole = mixer(x, reset=reset)
        _same(mixer, x, _stream(mixer, x, reset), whole, "forward and repeated step")
        for size in (1, 3, steps // 2):
            pieces = _in_pieces(mixer, x, reset, size)
            _same(mixer, x, pieces, whole, f"a state handed over every {size} steps")
        apart = mixer(x[:1, steps // 2 :])[0]
        _equal(whole[0][:1, steps // 2 :], apart, "an episode in a pack and alone")
        for t in (steps // 2, steps - 1):
            later = torch.cat([x[:, :t], x[:, t:] + 1], dim=1)
            _equal(mixer(later, reset=reset)[0][:, :t], whole[0][:, :t], "causality")
        lengths = torch.full((batch,), steps)
        lengths[0] = steps - 2
        beyond = reset.clone()
        beyond[0, -1] = True  # where it restarts nothing
        padded, state = mixer(x, reset=beyond, lengths=lengths)
        short = mixer(x[:1, : steps - 2], reset=reset[:1, : steps - 2])
        _same(mixer, x[:1], (padded[:1, : steps - 2], select(state, slice(1))), short, "lengths")
        assert not padded[0, steps - 2 :].any(), "outputs beyond a sequence's length are not zero"
        _check_precisions(mixer, x, reset, whole[0])
    _check_gradients(mixer, x, reset)


def check_apart(state: Any, others: Any, what: str) -> None:
    """Check that a state shares no memory, and keeps no more alive than it needs.

    Args:
        state: The state that ``what`` returned.
        others: All other tensors that it returned or was given, as nested tuples.
        what: A name for messages.

    Raises:
        AssertionError: It shares memory with one of the others, or in itself, or is a view of a
            larger tensor.
    """
    places = [x.untyped_storage().data_ptr() for x in leaves(others) if x.numel()]
    for part in leaves(state):
        place, own = part.untyped_storage(), part.numel() * part.itemsize
        remedy = "return a clone"
        kept = place.nbytes()
        assert kept <= own, f"{what}: its state keeps {kept} bytes alive for {own}; {remedy}"
        shared = part.numel() and place.data_ptr() in places
        assert not shared, f"{what}: its state shares memory; {remedy}"
        places.append(place.data_ptr())


def _same(mixer: Mixer, x: Tensor, run: Run, truth: Run, what: str) -> None:
    """Compare outputs, and states by what follows from them: a state may have several forms."""
    _equal(run[0], truth[0], what)
    _equal(mixer(x, run[1])[0], mixer(x, truth[1])[0], f"{what}: its state")


def _check_precisions(mixer: Mixer, x: Tensor, reset: Tensor, truth: Tensor) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        y = copy.deepcopy(mixer).to(dtype)(x.to(dtype), reset=reset)[0]
        assert y.dtype == dtype, f"outputs for {dtype} inputs are {y.dtype}"
        error = relative_error(y.double(), truth)
        assert error <= TOLERANCE[dtype].gradient, f"{dtype}: off by {error:.1e} from float64"


def _check_gradients(mixer: Mixer, x: Tensor, reset: Tensor) -> None:
    leaves = [x.clone().requires_grad_(), *(p for p in mixer.parameters() if p.requires_grad)]
    runs = mixer(leaves[0], reset=reset), _stream(mixer, leaves[0], reset)
    whole, loop = (
        torch.autograd.grad(_loss(y), leaves, allow_unused=True, materialize_grads=True)
        for y, _ in runs
    )
    error = max(map(relative_error, whole, loop))
    assert error <= TOLERANCE[x.dtype].gradient, f"gradients: off by {error:.1e} from stepping's"


def _check_memory(mixer: Mixer, x: Tensor, reset: Tensor) -> None:
    """Check all ways to call a mixer, with and without gradients, for memory that is shared."""
    with torch.no_grad():
        state = mixer(x)[1]
    some = torch.arange(x.shape[0])  # the first sequence keeps the state that it began with
    for learning, h0 in product((False, True), (None, state)):
        with torch.set_grad_enabled(learning):
            for steps in (x.shape[1], 1):
                masks = {"reset": reset[:, :steps], "lengths": some.clamp(max=steps)}
                for options in ({}, masks, {"lengths": torch.zeros_like(some)}):
                    _check_call(mixer, "forward", (x[:, :steps], h0), options)
            for options in ({}, {"reset": reset[:, 0]}):
                _check_call(mixer.step, "step", (x[:, 0], h0), options)


def _check_call(
    call: Callable[..., Run], what: str, inputs: tuple[Tensor, Any], options: dict[str, Tensor]
) -> None:
    """Check the memory of a call, and that writes to its state, and to y, change nothing else."""
    given = *inputs, *options.values()
    before = clone(given)
    x, h0, *masks = clone(given)
    x.requires_grad_(torch.is_grad_enabled())
    y, state = call(x, h0, **dict(zip(options, masks, strict=True)))
    others = x, h0, *masks
    assert _are_equal(others, before), f"{what}: it writes to its inputs"
    check_apart(state, (y, *others), what)
    outputs = clone(y.detach())
    for part in leaves(state):
        part[...] = torch.nan if part.is_floating_point() else 1
    written = clone(detach(state))
    unchanged = _are_equal((y, *others), (outputs, *before))
    assert unchanged, f"{what}: a write to its state changes an output or input"
    if y.requires_grad:
        _check_backward(y, x, what)
    y.detach().fill_(1)
    assert _are_equal(state, written), f"{what}: a write to its output changes the state"


def _check_backward(y: Tensor, x: Tensor, what: str) -> None:
    try:
        torch.autograd.grad(_loss(y), x, allow_unused=True)
    except RuntimeError as error:
        message = f"{what}: after a write to its state, its output has no gradient; return a clone"
        raise AssertionError(message) from error


def _are_equal(state: Any, other: Any) -> bool:
    """Return whether all values of two states are equal, those that are no number included."""
    pairs = zip(leaves(state), leaves(other), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs)


def _run(
    layer: Recurrent, x: Tensor, h0: Tensor | None, reset: Tensor | None
) -> tuple[Tensor, list[Tensor], float]:
    leaves = [x.detach().clone().requires_grad_(), *layer.parameters()]
    if h0 is not None:
        leaves.append(h0.detach().clone().requires_grad_())
    began = time.perf_counter()
    y, _ = layer(leaves[0], None if h0 is None else leaves[-1], reset=reset)
    gradients = torch.autograd.grad(_loss(y), leaves, allow_unused=True, materialize_grads=True)
    return y.detach(), list(gradients), time.perf_counter() - began


def _loss(y: Tensor) -> Tensor:
    """Weigh all outputs differently, so that no gradient vanishes by symmetry."""
    weight = torch.arange(y.numel(), dtype=y.dtype, device=y.device).mul(0.7).cos()
    return (y * weight.view_as(y)).sum()


def _stream(mixer: Mixer, x: Tensor, reset: Tensor) -> Run:
    outputs, state = [], None
    for t in range(x.shape[1]):
        y, state = mixer.step(x[:, t], state, reset[:, t])
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def _in_pieces(mixer: Mixer, x: Tensor, reset: Tensor, size: int) -> Run:
    outputs, state = [], None
    for piece, restarts in zip(x.split(size, dim=1), reset.split(size, dim=1), strict=True):
        y, state = mixer(piece, state, reset=restarts)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def _equal(x: Tensor, truth: Tensor, what: str) -> None:
    error = _gap(x, truth)
    assert error <= TOLERANCE[x.dtype].value, f"{what}: differ by {error:.1e}"


def _gap(x: Tensor, y: Tensor) -> float:
    return float((x - y).detach().abs().max())


def _cast(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if x is None else x.to(dtype)
