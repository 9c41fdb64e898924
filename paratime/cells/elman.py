"""The smallest nonlinear cell, and the tutorial for writing your own.

A cell says three things: what a state looks like (``state_shape``), what is computed from the
inputs for all steps at once (``drive``), and how one step goes on from the state (``step``). The
Jacobian that Newton's method needs follows from ``step`` by automatic differentiation.
"""

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell


class ElmanCell(Cell):
    """Elman's recurrence (Cognitive Science 14, 1990) with a diagonal recurrent matrix.

        h' = tanh(u + a * h).

    Args:
        input_size: Width of the input.
        hidden_size: Width of the state and output.
    """

    bound = 1.0

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(hidden_size)
        self.projection = nn.Linear(input_size, hidden_size)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size).uniform_(-1, 1))

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., D)."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., D) by u (..., D)."""
        return torch.tanh(u + self.weight_hh * h)
