"""Recurrent layers: any cell, solved over whole sequences or stepped."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paratime.cells.base import Cell, Fused
from paratime.cells.gru import GRUCell
from paratime.cells.init import Init, PaperInit
from paratime.cells.lstm import LSTMCell
from paratime.codegen import compiled_cell
from paratime.errors import InputError
from paratime.layers.mixer import (
    Mixer,
    check_sequence,
    check_state,
    check_step,
    last_valid,
    mask_padding,
)
from paratime.ops.operator import is_open, precise_dtype, without_autocast
from paratime.solvers.base import Solution, Solver, restart
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential

BLOCK = 2**18
"""Values of the output that a fused pass computes at a time where nothing is kept for gradients:
the drives, a few times as many, stay in the cache, and those of the whole sequence never exist."""

LEARNED_BLOCK = 2**21
"""The same with gradients, where the drives are kept: those of a block and their gradient then come
from memory that the allocator has at hand, while larger tensors are fresh pages every time."""


@dataclass(frozen=True)
class SolveReport:
    """How a pass over time was solved; reading a value that is on a GPU waits for the pass.

    Attributes:
        iterations: Newton iterations, an integer or a tensor ().
        defect: Largest correction of the last iteration, a float or a tensor ().
        converged: Whether the iterations converged.
        loop_share: Share of the steps that the loop computed instead, a float or a tensor ().
        message: One line for people; by default that of a fused pass.
    """

    iterations: int | Tensor = 0
    defect: float | Tensor = 0.0
    converged: bool = True
    loop_share: float | Tensor = 0.0
    message: str | None = None

    @classmethod
    def of_fused(cls, report: Tensor) -> "SolveReport":
        """Return the report of a fused operator, int32 (3,): see ``ops/recurrence.py``."""
        return cls(report[0], report[1].view(torch.float32), loop_share=report[2])

    @classmethod
    def of_solution(cls, solution: Solution) -> "SolveReport":
        """Return what a solver reports, without the states."""
        s = solution
        return cls(s.iterations, s.defect, s.converged, s.loop_share, s.message)

    def solution(self) -> Solution:
        """Return the values as those of a solver's solution, without states."""
        iterations, defect, share = int(self.iterations), float(self.defect), float(self.loop_share)
        message = self.message
        if message is None and share:
            message = "a loop in torch: this device has no kernel for this precision"
        elif message is None and iterations:
            message = f"fused, converged in {iterations} iterations, correction {defect:.1e}"
        message = "one fused pass over time" if message is None else message
        return Solution(None, iterations, defect, self.converged, share, message)

    def telemetry(self) -> Tensor:
        """Return iterations, defect and loop share, float32 (3,), where they are."""
        device = self.defect.device if isinstance(self.defect, Tensor) else None
        values = (self.iterations, self.defect, self.loop_share)
        return torch.stack([torch.as_tensor(x, dtype=torch.float32, device=device) for x in values])


class Recurrent(Mixer):
    """A layer that runs any ``Cell``, solved in parallel over time.

    Parameters and inputs may be float32 or bfloat16; the state is float32, or float64 throughout
    for float64 inputs. Gradients are exact for inputs, weights and h0.

    Args:
        cell: The recurrence.
        solver: How sequences are solved; the fastest exact one here by default.
    """

    def __init__(self, cell: Cell, solver: Solver | None = None) -> None:
        super().__init__()
        _check_part("cell", cell, Cell, "GRUCell(4, 8)")
        if solver is not None:
            _check_part("solver", solver, Solver, "Newton()")
        self.cell = cell
        self.solver = solver
        self._report: SolveReport | None = None

    @property
    def input_size(self) -> int:
        """Width of the input, of cells that keep theirs."""
        return self.cell.input_size  # type: ignore[return-value]

    @property
    def hidden_size(self) -> int:
        """Width of the output."""
        return self.cell.hidden_size

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the last report, which may be on a device that a copy is not made for."""
        return super().__getstate__() | {"_report": None}

    @property
    def solution(self) -> Solution | None:
        """Report of the last ``forward``: iterations, defect, converged and a message.

        On a GPU, reading it waits for that pass; a compiled graph reports nothing.
        """
        return None if self._report is None else self._report.solution()

    def telemetry(self) -> Tensor | None:
        """Return iterations, defect and loop share of the last ``forward``, float32 (3,).

        Unlike ``solution``, this does not wait for a GPU.
        """
        return None if self._report is None else self._report.telemetry()

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Solve x (B, T, input_size) for outputs (B, T, hidden_size) and the final state.

        See ``Mixer.forward``; states are (B, D), or (B, K, D) for K units a channel.

        Raises:
            InputError: Shapes do not fit.
        """
        check_sequence(x, reset, lengths)
        may_fuse = self.solver is None and self.cell.fused is not False
        fused = self.cell.fused(x.device) if may_fuse else None
        if fused is not None:
            return self._fuse(fused, x, h0, reset, lengths)
        solver = Newton() if self.solver is None else self.solver
        _check_export(solver, x.shape[1])
        drive = self.cell.drive(x)
        h0 = self._start(drive, h0)
        run = compiled_cell(self.cell, drive) if may_fuse else None
        if run is not None:
            self._report = SolveReport()
            return run(drive, h0, reset, None if lengths is None else lengths.long())
        with without_autocast(x.device):
            solution = solver.solve(self.cell, drive.to(h0.dtype), h0, reset)
        self._report = SolveReport.of_solution(solution)
        states = solution.states
        assert states is not None
        y = mask_padding(self._output(states), lengths)
        return y.to(drive.dtype), last_valid(states, h0, lengths)

    def _fuse(
        self,
        fused: Fused,
        x: Tensor,
        h0: Tensor | None,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run the fused operator, block by block: see ``BLOCK`` and ``LEARNED_BLOCK``."""
        lengths = None if lengths is None else lengths.long()
        learning = torch.is_grad_enabled()
        if x.device.type != "cpu" or not self._runs_in_blocks(learning):
            return self._fuse_whole(fused, x, h0, reset, lengths)
        width = max(1, x.shape[0] * self.cell.hidden_size)
        size = max(1, (LEARNED_BLOCK if learning else BLOCK) // width)
        if size >= x.shape[1]:
            return self._fuse_whole(fused, x, h0, reset, lengths)
        return self._fuse_blocks(fused, x, h0, reset, lengths, size)

    def _fuse_whole(
        self,
        fused: Fused,
        x: Tensor,
        h0: Tensor | None,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        compiling, u = torch.compiler.is_compiling(), self.cell.drive(x)
        out = None
        if not torch.is_grad_enabled() and not compiling:
            out = u.new_empty(*x.shape[:2], self.cell.hidden_size)
        y, last, report = fused(u, self._start(u, h0), reset, lengths, out)
        unknown = compiling or u.is_meta
        self._report = SolveReport() if unknown else SolveReport.of_fused(report)
        return y, last

    def _fuse_blocks(
        self,
        fused: Fused,
        x: Tensor,
        state: Tensor | None,
        reset: Tensor | None,
        lengths: Tensor | None,
        size: int,
    ) -> tuple[Tensor, Tensor]:
        """Run blocks of ``size`` steps; without gradients, they are written where they belong."""
        batch, steps, learning = *x.shape[:2], torch.is_grad_enabled()
        y, outputs = x, []
        for begin in range(0, steps, size):
            now = slice(begin, min(begin + size, steps))
            u = self.cell.drive(x[:, now].contiguous())
            if begin == 0 and not learning:
                y = u.new_empty(batch, steps, self.cell.hidden_size)
            output, state, report = fused(
                u,
                self._start(u, state),
                None if reset is None else reset[:, now],
                None if lengths is None else (lengths - begin).clamp(0, u.shape[1]),
                None if learning else y[:, now],
            )
            outputs.append(output)
        assert state is not None
        self._report = SolveReport.of_fused(report)
        return torch.cat(outputs, dim=1) if learning else y, state

    def _runs_in_blocks(self, learning: bool) -> bool:
        """Return whether blocks give what the whole gives.

        A graph is one piece; gradients of parameters in half precision would be summed over the
        blocks in that precision.
        """
        if torch.compiler.is_compiling() or not self.cell.drives_by_step():
            return False
        return not learning or all(p.dtype.itemsize >= 4 for p in self.cell.parameters())

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance one step from x (B, input_size) to an output (B, hidden_size) and the state."""
        check_step(x, reset)
        drive = self.cell.drive(x)
        state = self._start(drive, state)
        with without_autocast(x.device):
            state = self.cell.step(drive.to(state.dtype), restart(state, reset))
        return self._output(state).to(drive.dtype), state.clone()

    def extra_repr(self) -> str:
        """Return the cell's sizes, and the solver."""
        solver = None if self.solver is None else f"solver={self.solver!r}"
        return ", ".join(filter(None, (self.cell.extra_repr(), solver)))

    def _output(self, states: Tensor) -> Tensor:
        y = self.cell.output(states)
        if y.shape[-1] != self.cell.hidden_size:
            raise InputError(
                f"{type(self.cell).__name__}.output",
                expected=f"{self.cell.hidden_size} values",
                got=str(y.shape[-1]),
                remedy="override output, or correct hidden_size",
            )
        return y

    def _start(self, drive: Tensor, h0: Tensor | None) -> Tensor:
        """Return the state before the first step in its precision, zeros for None."""
        dtype = precise_dtype(drive)
        shape = (drive.shape[0], *self.cell.state_shape)
        if h0 is None:
            return drive.new_zeros(shape, dtype=dtype)
        check_state("h0", h0, shape, like=drive)
        return h0.to(dtype)


def _check_part(name: str, part: object, kind: type, example: str) -> None:
    if not isinstance(part, kind):
        given = f"the class {part.__name__}" if isinstance(part, type) else type(part).__name__
        raise InputError(
            name,
            expected=f"a {kind.__name__}",
            got=given,
            remedy=f"pass an instance, such as {example}",
        )


def _check_export(solver: Solver, steps: int) -> None:
    """Refuse a program that torch.export cannot make: values decide how often Newton iterates."""
    unrolled = isinstance(solver, Sequential)
    if torch.compiler.is_exporting() and (is_open(steps) or not unrolled):
        raise InputError(
            "torch.export of a sequence",
            expected="a cell with a kernel and solver=None, or solver=Sequential() and a fixed T",
            got=f"{type(solver).__name__} and {'a dynamic' if is_open(steps) else 'a fixed'} T",
            remedy="export step instead, or change the solver",
        )


class ParaGRU(Recurrent):
    """A gated recurrent unit trained in parallel over time; see ``GRUCell`` for its equations.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        heads: Blocks of the input projection.
        block_size: How many state units are coupled: 1 (the paper's cell), 2, 4 or 8.
        init: How parameters are drawn.
        solver: How sequences are solved.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        size = input_size if hidden_size is None else hidden_size
        options: dict[str, Any] = {"heads": heads, "block_size": block_size, "init": init}
        cell = GRUCell(input_size, size, **options, device=device, dtype=dtype)
        super().__init__(cell, solver)


class ParaLSTM(Recurrent):
    """A long short-term memory trained in parallel over time; see ``LSTMCell``.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        heads: Blocks of the input projection.
        block_size: How many state units are coupled: 1 (the paper's cell), 2, 4 or 8.
        init: How parameters are drawn.
        solver: How sequences are solved.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        size = input_size if hidden_size is None else hidden_size
        options: dict[str, Any] = {"heads": heads, "block_size": block_size, "init": init}
        cell = LSTMCell(input_size, size, **options, device=device, dtype=dtype)
        super().__init__(cell, solver)
