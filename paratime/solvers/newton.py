"""Newton's method over time: parallel, and always the loop's answer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor
from torch.autograd import forward_ad

from paratime.cells.base import Cell
from paratime.errors import InputError
from paratime.solvers.adjoint import attach_gradient
from paratime.solvers.base import Solution, Solver, initial_state
from paratime.solvers.sequential import run_loop
from paratime.solvers.shooting import correct, into_segments, shoot
from paratime.solvers.structure import check_structure

TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
MAX_ITERS = 6


@dataclass(frozen=True)
class Iterate:
    """One Newton iteration: the states of a shoot, and how they were corrected.

    Attributes:
        states: States of all steps, (B, S, C, *state_shape).
        correction: Largest relative correction of the starts that this shoot used.
        exact: How many segments, from the first on, are exact.
        start: Corrected starts of the others, (B, S - exact, *state_shape).
    """

    states: Tensor
    correction: float
    exact: int
    start: Tensor


def iterate(
    cell: Cell, u: Tensor, h0: Tensor, reset: Tensor | None, chunk: int
) -> Iterator[Iterate]:
    """Yield Newton iterations until every segment is exact, which S of them guarantee.

    A segment is exact when no start up to its own has moved at all; exact segments are dropped
    from later iterations.
    """
    u, reset = into_segments(u, chunk), None if reset is None else into_segments(reset, chunk)
    bound = cell.bound if cell.bound is not None and h0.abs().amax() <= cell.bound else None
    states = u.new_empty(*u.shape[:3], *cell.state_shape)
    start = u.new_zeros(*u.shape[:2], *cell.state_shape)
    start[:, 0] = h0
    exact = 0
    while start.shape[1]:
        rest = None if reset is None else reset[:, exact:]
        states[:, exact:], slope = shoot(cell, u[:, exact:], start, rest)
        end = states[:, exact:-1, -1]
        new, correction = correct(start, end, slope[:, :-1], bound)
        moved = correction.flatten(2).amax((0, 2)).tolist()
        unmoved = next((j for j, size in enumerate(moved) if size != 0), len(moved))
        exact, start = exact + unmoved + 1, new[:, unmoved:]
        yield Iterate(states, max(moved, default=0.0), exact, start)


@dataclass(frozen=True)
class Newton(Solver):
    """Newton multiple shooting (ParaRNN, arXiv 2510.21450; DEER, arXiv 2309.12252, for chunk 1).

    Time is cut into segments of ``chunk`` steps. Each iteration runs all segments in parallel
    and corrects the states between them, until no correction exceeds the tolerance. Should
    ``max_iters`` iterations not get there, the loop computes the rest, so that the result is
    always the loop's.

    Args:
        chunk: Steps a segment; 1 is Newton's method on every step, T is the plain loop. Default:
            the power of two next above the square root of T.
        tol: Largest relative correction of a converged solve. Default: 1e-6 in float32, 1e-12 in
            float64.
        max_iters: Iterations before the loop takes over. Default: 6.
    """

    chunk: int | None = None
    tol: float | None = None
    max_iters: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("chunk", self.chunk), ("max_iters", self.max_iters)):
            if value is not None and value < 1:
                raise InputError(name, "at least 1", str(value), "leave it out for the default")
        if self.tol is not None and not self.tol >= 0:
            raise InputError("tol", "at least 0", str(self.tol), "leave it out for the default")

    def solve(self, cell: Cell, u: Tensor, h0: Tensor | None, reset: Tensor | None) -> Solution:
        """Solve in parallel over time; see ``Solver.solve``."""
        check_structure(cell, u)
        if any(forward_ad.unpack_dual(x).tangent is not None for x in (u, h0) if x is not None):
            raise NotImplementedError("forward-mode derivatives: use solver=Sequential()")
        h0 = initial_state(cell, u, h0)
        with torch.no_grad():
            states, report = self._solve(cell, u.detach(), h0.detach(), reset)
        return replace(report, states=attach_gradient(cell, u, h0, reset, states))

    def _solve(
        self, cell: Cell, u: Tensor, h0: Tensor, reset: Tensor | None
    ) -> tuple[Tensor, Solution]:
        steps = u.shape[1]
        if u.is_meta:
            states = u.new_empty(*u.shape[:2], *cell.state_shape)
            return states, Solution(None, 0, 0.0, True, 0.0, "shapes alone, on meta tensors")
        chunk = self.chunk or 2 ** math.ceil(math.log2(steps) / 2)
        tol = TOLERANCES[u.dtype] if self.tol is None else self.tol
        if chunk >= steps or u.shape[0] == 0:
            states = run_loop(cell, u, h0, reset)
            return states, Solution(None, 0, 0.0, True, 0.0, f"the loop computed {steps} steps")
        iterates = islice(iterate(cell, u, h0, reset, chunk), self.max_iters or MAX_ITERS)
        for count, now in enumerate(iterates, start=1):
            if now.correction <= tol or not now.start.shape[1]:
                states = now.states.flatten(1, 2)[:, :steps]
                message = f"converged in {count} iterations, correction {now.correction:.1e}"
                return states, Solution(None, count, now.correction, True, 0.0, message)
        done = now.exact * chunk
        tail = None if reset is None else reset[:, done:]
        rest = run_loop(cell, u[:, done:], now.start[:, 0], tail)
        states = torch.cat([now.states.flatten(1, 2)[:, :done], rest], dim=1)
        message = (
            f"correction {now.correction:.1e} > {tol:.0e} after {count} iterations, so the loop "
            f"computed {steps - done} of {steps} steps; try a larger chunk or smaller recurrent "
            "weights"
        )
        share = 1 - done / steps
        return states, Solution(None, count, now.correction, False, share, message)
