"""The contract of every solver: what it solves, and its solution."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from paratime.cells.base import Cell


@dataclass(frozen=True)
class Solution:
    """The states of a solve, and how they were found.

    Attributes:
        states: All states, (B, T, *state_shape); None in the report of a layer.
        iterations: Newton iterations, 0 if none were needed.
        defect: Largest correction |s' - s| / (1 + |s|) of the last iteration, to first order the
            distance to the loop's result; 0 where the loop ran.
        converged: Whether the iterations converged; if not, the loop finished the solve.
        loop_share: Share of the steps that the loop computed because iterations did not converge.
        message: One line that reports what happened and what could be done.
    """

    states: Tensor | None
    iterations: int
    defect: float
    converged: bool
    loop_share: float
    message: str


class Solver(ABC):
    """A strategy for solving the recurrence; all strategies give the loop's result."""

    @abstractmethod
    def solve(self, cell: Cell, u: Tensor, h0: Tensor | None, reset: Tensor | None) -> Solution:
        """Solve h[t] = step(u[t], h[t-1]) for all t.

        Args:
            cell: The recurrence.
            u: Drives, (B, T, *any).
            h0: State before the first step, (B, *state_shape); zero if None.
            reset: Where the state before a step is the initial one (zero), bool (B, T).

        Returns:
            The solution; its states carry gradients to u, h0 and whatever ``step`` reads.
        """


def initial_state(cell: Cell, u: Tensor, h0: Tensor | None) -> Tensor:
    """Return h0, or zeros (B, *state_shape)."""
    return u.new_zeros(u.shape[0], *cell.state_shape) if h0 is None else h0


def restart(x: Tensor, reset: Tensor | None) -> Tensor:
    """Zero x (*reset.shape, ...) where reset is True, non-finite values included."""
    if reset is None:
        return x
    mask = reset.view(*reset.shape, *[1] * (x.dim() - reset.dim()))
    return torch.where(mask, torch.zeros((), dtype=x.dtype, device=x.device), x)
