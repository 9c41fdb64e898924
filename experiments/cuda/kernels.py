"""The recurrences and what the machine code of their kernels takes, as the model needs it.

Chains of operations that wait for each other are counted in the equations of ``csrc/cells.h``;
instructions, MUFU and registers are read from ``static.csv``, as ``static.py`` has found them.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from loops import NO_STAGING, Staging
from machines import SCHEDULERS, WARP, Machine

TABLE = Path(__file__).parent / "static.csv"


@dataclass(frozen=True)
class Format:
    """A format of drives and outputs: its name in the machine code, and sizes in bytes."""

    code: str
    size: int
    state: int = 4


FORMATS = {
    "float32": Format("float", 4),
    "float16": Format("Half", 2),
    "bfloat16": Format("BFloat16", 2),
    "float64": Format("double", 8, 8),
}


@dataclass(frozen=True)
class Cell:
    """A recurrence with K numbers a channel; rows are counted a channel."""

    name: str
    k: int

    @property
    def code(self) -> str:
        """What the machine code calls it."""
        return f"{self.name}<{self.k}>"

    @property
    def drives(self) -> int:
        """Rows of the drives."""
        return 3 * self.k

    @property
    def state(self) -> int:
        """Rows of the state."""
        return self.k + self.memory

    @property
    def memory(self) -> int:
        """Rows of the state that are no outputs."""
        return 0 if self.name == "Gru" else self.k

    @property
    def weights(self) -> int:
        """Rows of the weights."""
        return 3 * self.k**2 + 2 * self.memory

    @property
    def newton_segment(self) -> int:
        """Steps of a thread in a tile of the Newton kernel: ``NewtonTile::chunk``."""
        return {1: 16, 2: 8}.get(self.k, 4)

    @property
    def scan_segment(self) -> int:
        """The same of the scan of the backward pass: ``Adjoint::chunk``."""
        return 8 if self.k == 1 else 4

    def staged(self, kernel: str, format: Format) -> tuple[tuple[int, int], ...]:
        """Return rows and bytes a number of the tensors that a kernel brings to shared memory."""
        drives = (self.drives, format.size)
        if kernel == "forward_newton":
            return (drives,)
        outputs = (self.k, format.size)
        return (drives, outputs, outputs, (self.memory, format.state))

    def ahead(self, format: Format) -> int:
        """Return the steps whose drives the sequential kernels have under way: ``kAhead``."""
        size = self.drives * format.state
        return 4 if size <= 12 else 2 if size <= 24 else 1

    def step_latency(self, machine: Machine, format: Format) -> int:
        """Return the clocks from one state to the next."""
        add, sigmoid, tanh = latencies(machine, format)
        if self.name == "Gru":  # r, h * r, A_c (h * r), c, h'
            return (2 * self.k + 2) * add + sigmoid + tanh
        through_gate, through_output = 2 * add + sigmoid, add + tanh
        return (self.k + 3) * add + sigmoid + max(through_gate, through_output)

    def adjoint_latency(self, machine: Machine, format: Format) -> int:
        """Return the clocks from one gradient to the one before, once the gates are known."""
        add, _, _ = latencies(machine, format)
        return (3 * self.k + (3 if self.name == "Gru" else 5)) * add


CELLS = {
    "gru1": Cell("Gru", 1),
    "gru2": Cell("Gru", 2),
    "gru4": Cell("Gru", 4),
    "lstm1": Cell("Lstm", 1),
    "lstm2": Cell("Lstm", 2),
}


def latencies(machine: Machine, format: Format) -> tuple[int, int, int]:
    """Return the clocks of a multiply-add, a sigmoid and a tanh; see ``csrc/cuda/number.h``."""
    add, mufu = machine.add_latency, machine.mufu_latency
    if format.code == "double":  # reduction, polynomial, scaling and quotient
        add = machine.double_latency
        return add, 22 * add + mufu, 23 * add + mufu
    sigmoid = 2 * add + 2 * mufu
    return add, sigmoid, mufu if format.code == "BFloat16" else sigmoid + add


@dataclass(frozen=True)
class Code:
    """What a kernel's machine code takes; a row of ``static.csv``.

    Attributes:
        registers: Of a thread.
        instructions: Of a step.
        mufu: Of these, those of the unit for transcendental functions.
        arithmetic: Of these, additions and multiplications.
        staging: Instructions that bring a tile to shared memory.
        loads: Those of one turn of the loop in which a tile looks back.
        ahead: How many of these are under way at once.
    """

    registers: int
    instructions: float
    mufu: float
    arithmetic: float
    staging: Staging = NO_STAGING
    loads: int = 1
    ahead: int = 1

    def clocks(self, machine: Machine, format: Format) -> float:
        """Return for how many clocks a step of one warp keeps a scheduler or its units busy."""
        units = {"mufu": (self.mufu, machine.mufu)}
        if format.code == "double":
            units["doubles"] = (self.arithmetic, machine.doubles)
        busy = [count * WARP * SCHEDULERS / lanes for count, lanes in units.values()]
        return max(self.instructions * machine.issue_clocks, *busy)


class Missing(LookupError):
    """A kernel is not in the table; one line says which, and what to run."""


def read_codes(path: Path = TABLE) -> dict[tuple[str, str, str, str], Code]:
    """Read the table, by architecture, kernel, cell and format as the machine code names them.

    Raises:
        Missing: There is no table.
    """
    if not path.exists():
        raise Missing(f"{path} is missing; run experiments/cuda/static.py")
    table = pd.read_csv(path, keep_default_na=False)
    return {
        (row["arch"], row["kernel"], row["cell"], row["drive"]): Code(
            int(row["registers"]),
            float(row["instructions/step"]),
            float(row["MUFU/step"]),
            float(row["FP/step"]),
            Staging(*(float(row[f"instructions/{x}"]) for x in ("copy", "number", "prefetch"))),
            max(1, int(row["loads/look"])),
            max(1, int(row["under way"])),
        )
        for row in table.to_dict("records")
    }


@dataclass(frozen=True)
class Codes:
    """The machine code of all kernels; a kernel that is missing is an error in one line."""

    table: dict[tuple[str, str, str, str], Code]

    def of(self, kernel: str, machine: Machine, cell: Cell, format: Format) -> Code:
        """Return the code of a kernel.

        Raises:
            Missing: The table lacks it.
        """
        key = (machine.arch, kernel, cell.code, format.code)
        if key not in self.table:
            remedy = "run experiments/cuda/static.py for all architectures"
            raise Missing(
                f"static.csv has no {kernel} of {', '.join(key[2:])} for {key[0]}; {remedy}"
            )
        return self.table[key]
