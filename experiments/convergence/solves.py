"""What is measured of one solve: Newton's own count, what ``Newton`` does, and the slopes."""

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from paratime import Cell, Newton, Sequential
from paratime.ops import blocks
from paratime.solvers.base import restart
from paratime.solvers.newton import TOLERANCES, iterate
from paratime.solvers.shooting import into_segments, shoot

LIMIT = 40
"""Iterations that are tried; one more stands for more than these."""


@dataclass(frozen=True)
class Problem:
    """A recurrence with its drives, and the loop's states.

    Attributes:
        cell: The recurrence, in the precision of the drives.
        u: Drives, (B, T, *any).
        reset: Restarts, bool (B, T), or None.
        truth: States of the loop, (B, T, *state_shape).
    """

    cell: Cell
    u: Tensor
    reset: Tensor | None
    truth: Tensor

    @classmethod
    def of(cls, cell: Cell, u: Tensor, reset: Tensor | None = None) -> "Problem":
        """Solve by the loop."""
        with torch.no_grad():
            return cls(cell, u, reset, Sequential().solve(cell, u, None, reset).states)

    @property
    def before(self) -> Tensor:
        """States before each step, (B, T, *state_shape)."""
        first = torch.zeros_like(self.truth[:, :1])
        return restart(torch.cat([first, self.truth[:, :-1]], dim=1), self.reset)

    @property
    def default_chunk(self) -> int:
        """Steps of a segment that ``Newton()`` takes: the power of two from sqrt(T) on."""
        return 2 ** (((self.u.shape[1] - 1).bit_length() + 1) // 2)

    def error(self, states: Tensor) -> float:
        """Return the largest error against the loop, infinite where there is no number."""
        gap = (states - self.truth).abs().nan_to_num(nan=torch.inf)
        return float(gap.max())


@torch.no_grad()
def count(problem: Problem, chunk: int) -> dict[str, float]:
    """Iterate without the loop's help until no correction is above ``Newton``'s tolerance.

    Returns:
        ``iterations``, of at most ``LIMIT``, and ``segments``, of which as many suffice; the
        ``error`` at the end, and ``error_3`` after 3 iterations, which is what a fixed count of 3
        would return.
    """
    cell, u, steps = problem.cell, problem.u, problem.u.shape[1]
    h0, errors, iterations = torch.zeros_like(problem.truth[:, 0]), list[float](), LIMIT + 1
    for now in islice(iterate(cell, u, h0, problem.reset, chunk), LIMIT):
        errors.append(problem.error(now.states.flatten(1, 2)[:, :steps]))
        if now.correction <= TOLERANCES[u.dtype] or not now.start.shape[1]:
            iterations = len(errors)
            break
    return {
        "iterations": iterations,
        "segments": -(-steps // chunk),
        "error": errors[-1],
        "error_3": errors[min(3, len(errors)) - 1],
    }


@torch.no_grad()
def default(problem: Problem, chunk: int | None = None) -> dict[str, float]:
    """Return what ``Newton(chunk)`` does: iterations, its share of the loop, and its error."""
    solution = Newton(chunk=chunk).solve(problem.cell, problem.u, None, problem.reset)
    return {
        "newton": solution.iterations,
        "loop_share": solution.loop_share,
        "newton_error": problem.error(solution.states),
    }


@torch.no_grad()
def slopes(problem: Problem, chunk: int = 32) -> dict[str, float]:
    """Measure how far apart two neighbouring solutions go, along the loop's states.

    Returns:
        ``step_norm``: the largest spectral norm of a step's Jacobian in any channel; below 1, every
        step is a contraction. ``segment_norm``: likewise of its product over ``chunk`` steps.
        ``exponent``: the largest Lyapunov exponent of a channel, in nats a step; ``chaotic``:
        the share of the channels where it is positive.
    """
    _, jac = problem.cell.linearize(problem.u, problem.before)
    exponents = lyapunov(jac, block=jac.dim() > problem.truth.dim())
    jac = restart(jac, problem.reset)
    whole = slice(max(1, problem.u.shape[1] // chunk))  # without the rest, which is filled up
    reset = None if problem.reset is None else into_segments(problem.reset, chunk)[:, whole]
    starts = problem.before[:, ::chunk][:, whole]
    _, product = shoot(problem.cell, into_segments(problem.u, chunk)[:, whole], starts, reset)
    return {
        "step_norm": largest_norm(jac, problem.truth),
        "segment_norm": largest_norm(product, starts),
        "exponent": float(exponents.max()),
        "chaotic": float((exponents > 0).double().mean()),
    }


def largest_norm(jac: Tensor, state: Tensor) -> float:
    """Return the largest spectral norm of the Jacobians of some states."""
    if jac.dim() == state.dim():
        return float(jac.abs().max())
    return float(torch.linalg.matrix_norm(jac.movedim(-1, 2), ord=2).max())


def lyapunov(jac: Tensor, block: bool) -> Tensor:
    """Return the largest Lyapunov exponent of each channel, (B, D), in nats a step.

    It is the mean growth of a vector that is turned by every Jacobian in time and made short again.

    Args:
        jac: Jacobians, (B, T, D), or blocks (B, T, K, K, D).
        block: Whether they are blocks.
    """
    jac = jac if block else jac.unsqueeze(2).unsqueeze(2)
    batch, steps, k, _, channels = jac.shape
    q = torch.full((batch, k, channels), k**-0.5, dtype=jac.dtype)
    growth = torch.zeros_like(jac[:, 0, 0, 0])
    for t in range(steps):
        q = blocks.matvec(jac[:, t], q)
        size = q.norm(dim=1, keepdim=True).clamp_min(1e-100)
        q, growth = q / size, growth + size.squeeze(1).log()
    return growth / steps
