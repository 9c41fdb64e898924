"""The plain loop over time: the truth of every other solver."""

from dataclasses import dataclass

import torch
from torch import Tensor

from paratime.cells.base import Cell
from paratime.solvers.base import Solution, Solver, initial_state, restart


@dataclass(frozen=True)
class Sequential(Solver):
    """Step through time one step after another; gradients by back-propagation through time."""

    def solve(self, cell: Cell, u: Tensor, h0: Tensor | None, reset: Tensor | None) -> Solution:
        """Solve by the loop; see ``Solver.solve``."""
        states = run_loop(cell, u, initial_state(cell, u, h0), reset)
        return Solution(states, 0, 0.0, True, 0.0, f"the loop computed {u.shape[1]} steps")


def run_loop(cell: Cell, u: Tensor, h: Tensor, reset: Tensor | None) -> Tensor:
    """Return all states (B, T, *state_shape) from drives u (B, T, *any) and the state h before."""
    states = []
    for t in range(u.shape[1]):
        h = cell.step(u[:, t], restart(h, None if reset is None else reset[:, t]))
        states.append(h)
    return torch.stack(states, dim=1)
