"""Recurrent layers: any cell, solved over whole sequences or stepped."""

import torch
from torch import Tensor

from paratime.cells.base import Cell
from paratime.cells.gru import GRUCell
from paratime.cells.init import Init, PaperInit
from paratime.cells.lstm import LSTMCell
from paratime.errors import InputError
from paratime.layers.mixer import (
    Mixer,
    check_sequence,
    check_state,
    check_step,
    last_valid,
    mask_padding,
)
from paratime.solvers.base import Solution, Solver, initial_state, restart
from paratime.solvers.newton import Newton


class Recurrent(Mixer):
    """A layer that runs any ``Cell``, solved in parallel over time.

    Parameters and inputs may be float32 or bfloat16; the state is float32, or float64 throughout
    for float64 inputs. Gradients are exact for inputs, weights and h0.

    Args:
        cell: The recurrence.
        solver: How sequences are solved; the fastest exact one here by default.

    Attributes:
        solution: Report of the last ``forward`` (iterations, defect, converged, message).
    """

    def __init__(self, cell: Cell, solver: Solver | None = None) -> None:
        super().__init__()
        self.cell = cell
        self.solver = solver
        self.solution: Solution | None = None

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Solve x (B, T, input_size) for outputs (B, T, hidden_size) and the final state.

        See ``Mixer.forward``; states are (B, D), or (B, K, D) for K numbers a channel.

        Raises:
            InputError: Shapes do not fit.
        """
        check_sequence(x, reset, lengths)
        drive = self.cell.drive(x)
        u, h0 = self._prepare(drive, h0)
        solver = Newton() if self.solver is None else self.solver
        with torch.autocast(x.device.type, enabled=False):
            solution = solver.solve(self.cell, u, h0, reset)
        self.solution = solution.report()
        states = solution.states
        assert states is not None
        y = mask_padding(self._output(states), lengths)
        return y.to(drive.dtype), last_valid(states, initial_state(self.cell, u, h0), lengths)

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance one step from x (B, input_size) to an output (B, hidden_size) and the state."""
        check_step(x, reset)
        drive = self.cell.drive(x)
        u, state = self._prepare(drive, state)
        state = initial_state(self.cell, u, state)
        with torch.autocast(x.device.type, enabled=False):
            state = self.cell.step(u, restart(state, reset))
        return self._output(state).to(drive.dtype), state

    def _output(self, states: Tensor) -> Tensor:
        y = self.cell.output(states)
        if y.shape[-1] != self.cell.hidden_size:
            name, expected = (
                f"{type(self.cell).__name__}.output",
                f"{self.cell.hidden_size} numbers",
            )
            remedy = "override output, or correct hidden_size"
            raise InputError(name, expected, str(y.shape[-1]), remedy)
        return y

    def _prepare(self, drive: Tensor, h0: Tensor | None) -> tuple[Tensor, Tensor | None]:
        u = drive if drive.dtype == torch.float64 else drive.float()
        if h0 is None:
            return u, None
        check_state("h0", h0, (drive.shape[0], *self.cell.state_shape))
        return u, h0.to(u.dtype)


class ParaGRU(Recurrent):
    """A gated recurrent unit trained in parallel over time; see ``GRUCell`` for its equations.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        heads: Blocks of the input projection.
        block_size: Numbers of the state that read each other: 1 (the paper's cell), 2, 4 or 8.
        init: How parameters are drawn.
        solver: How sequences are solved.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        heads: int = 1,
        block_size: int = 1,
        init: Init = PaperInit(),  # noqa: B008 (frozen)
        solver: Solver | None = None,
    ) -> None:
        size = input_size if hidden_size is None else hidden_size
        cell = GRUCell(input_size, size, heads=heads, block_size=block_size, init=init)
        super().__init__(cell, solver)


class ParaLSTM(Recurrent):
    """A long short-term memory trained in parallel over time; see ``LSTMCell``.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        heads: Blocks of the input projection.
        block_size: Numbers of the state that read each other: 1 (the paper's cell), 2, 4 or 8.
        init: How parameters are drawn.
        solver: How sequences are solved.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        heads: int = 1,
        block_size: int = 1,
        init: Init = PaperInit(),  # noqa: B008 (frozen)
        solver: Solver | None = None,
    ) -> None:
        size = input_size if hidden_size is None else hidden_size
        cell = LSTMCell(input_size, size, heads=heads, block_size=block_size, init=init)
        super().__init__(cell, solver)
