"""Judge the CUDA kernels by the machine code that nvcc makes of them; no GPU is needed.

The library that is shipped is compiled, unless it has been, and disassembled. Every kernel, on
every architecture,

- spills nothing to memory, calls no function (slow paths of divisions, functions of the
  mathematical library), and has no double precision unless a template argument is double;
- has registers, instructions a step and resident warps within ``limits.py``;
- has the transcendental instructions of its activations in a step, and moves no more bytes than
  its tensors have, each number once; lanes are neighbours, so that these are whole lines;
- copies its tiles to shared memory by 16 bytes a thread, with few instructions, and has several
  loads under way as it looks back;

and the library exports the symbols of the C interface. The table is kept in ``static.csv``.

    python experiments/cuda/static.py --arch sm_90
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd
import sass
from binary import disassemble, exported
from launches import Block, blocks_of
from limits import LIMITS, STAGED, Limit
from loops import NO_STAGING
from occupancy import resident_warps

from paratime.io import replacing
from paratime.ops.native import build, targets
from paratime.ops.native.build import CannotBuild

HERE = Path(__file__).parent
ARCHITECTURES = tuple(f"sm_{x}" for x in targets.ARCHITECTURES)


MUFU = {
    "Gru": {"float": 6, "Half": 6, "BFloat16": 5, "double": 3},
    "Lstm": {"float": 8, "Half": 8, "BFloat16": 6, "double": 4},
}
"""Transcendental instructions a step and number of the state.

A sigmoid and a tanh are an exponential and a reciprocal each. In bfloat16 a tanh is one
instruction, and in float64 the exponential is arithmetic.
"""

SIZES = {"float": 4, "double": 8, "Half": 2, "BFloat16": 2}
IN_REGISTERS = 192
"""Bytes of a channel's weights up to which a thread keeps them; ``kFewWeights`` in problem.h."""

FORMATS = "(float32|float64|bfloat16|float16)"
CELL = "paratime_(gru[124]|lstm[12])"
EXPORTS = {
    rf"{CELL}_(forward|backward)_sequential_{FORMATS}": 40,
    rf"{CELL}_(forward_newton|backward_scan|tile|shared)_{FORMATS}": 76,  # not gru4 in float64
    r"paratime_scan[124]_(tile_)?(float32|float64)": 12,
    r"paratime_(error|probe|most_shared)": 3,
}
"""Patterns of symbols of the C interface, and how many there must be of each."""


@dataclass(frozen=True)
class Step:
    """What the equations need in one step of a kernel's main loop.

    Attributes:
        mufu: Transcendental instructions, exactly.
        loads: Numbers to be read, at least.
        bytes: What a thread moves from and to global memory, at most.
        copies: Tensors of which tiles are copied to shared memory beforehand.
    """

    mufu: int
    loads: int
    bytes: int = 0
    copies: int = 0


@dataclass(frozen=True)
class Compiled:
    """A kernel on an architecture: how it is launched, what it has to do, and what it may take."""

    arch: str
    kernel: sass.Kernel
    block: Block
    step: Step
    limit: Limit

    @cached_property
    def main_loop(self) -> tuple[sass.Loop, int]:
        """The main loop, and the steps of one turn."""
        return self.kernel.main_loop(self.step.mufu, self.step.loads)

    @property
    def shared(self) -> int:
        """Bytes of shared memory a block."""
        return self.kernel.shared + self.block.shared

    @property
    def warps(self) -> int:
        """Warps that are resident on a multiprocessor."""
        return resident_warps(self.arch, self.kernel.registers, self.block.threads, self.shared)

    def __str__(self) -> str:
        return f"{self.arch} {self.kernel.name} {self.kernel.cell} {self.kernel.drive}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge all kernels on some architectures; exit with 1 and one line for each violation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    chosen = parser.parse_args(arguments).arch
    try:
        rows, violations = judge_all(chosen)
    except CannotBuild as error:
        raise SystemExit(str(error)) from error
    table = pd.DataFrame(rows)
    if set(chosen) == set(ARCHITECTURES):
        with replacing(HERE / "static.csv") as draft:
            table.to_csv(draft, index=False)
    print(table.to_string(index=False))
    print("\n".join(["", *violations, f"{len(rows)} kernels, {len(violations)} violations"]))
    if violations:
        raise SystemExit(1)


def judge_all(architectures: Sequence[str]) -> tuple[list[dict[str, object]], list[str]]:
    """Return a row for each kernel and architecture, and all violations."""
    library = build.find_or_build(targets.cuda(tuple(x.removeprefix("sm_") for x in architectures)))
    rows, violations = [], missing(exported(library))
    for arch in architectures:
        began = time.perf_counter()
        kernels = sorted(sass.kernels(disassemble(library, arch)), key=lambda x: x.full_name)
        for kernel, block in zip(kernels, blocks_of(kernels), strict=True):
            compiled = Compiled(arch, kernel, block, step_of(kernel), limit_of(kernel))
            found = list(judge(compiled))
            rows.append(row(compiled, len(found)))
            violations += [f"{compiled}: {violation}" for violation in found]
        print(f"{arch}: {len(kernels)} kernels in {time.perf_counter() - began:.0f} s", flush=True)
    return rows, violations


def step_of(kernel: sass.Kernel) -> Step:
    """Return what a step of a kernel of ``csrc/cuda`` needs."""
    cell, k = kernel.cell.rstrip(">").split("<")
    if cell == "Linear":
        return Step(mufu=0, loads=int(k) * (int(k) + 1), copies=2)
    return _step_of_cell(kernel.name, cell, int(k), kernel.drive)


def _step_of_cell(kernel: str, cell: str, k: int, drive: str) -> Step:
    size, element = SIZES[drive], max(SIZES[drive], 4)
    mufu, memory = k * MUFU[cell][drive], k if cell == "Lstm" else 0
    state, weights = (k + memory) * element, (3 * k * k + 2 * memory) * element
    again = weights if weights > IN_REGISTERS else 0  # read in every step
    if kernel == "forward_newton":
        return Step(mufu, loads=3 * k, copies=1)
    moved = {
        "forward_sequential": 4 * k * size + memory * element + again,  # u; y, memory
        "backward_sequential": 8 * k * size + memory * element + state + 2 * again,
        "scan_tiles": 3 * k * size + state,  # d_u; h0, the state before the first
    }
    copies = 0 if "sequential" in kernel else 4 if memory else 3
    return Step(mufu, loads=3 * k, bytes=moved[kernel] + 1, copies=copies)


def limit_of(kernel: sass.Kernel) -> Limit:
    """Return what ``LIMITS`` says of a kernel.

    Raises:
        CannotBuild: It says nothing.
    """
    key = f"{kernel.name} {kernel.cell}"
    said, double = LIMITS.get(key, ()), kernel.drive == "double"
    if double >= len(said):
        raise CannotBuild(f"LIMITS says nothing of {kernel.full_name}; add it to limits.py")
    staging, ahead = STAGED.get(key, (NO_STAGING, 0))
    return replace(said[double], staging=staging, ahead=ahead)


def judge(compiled: Compiled) -> Iterator[str]:
    """Yield what is wrong with a kernel, one line each."""
    kernel, step, limit = compiled.kernel, compiled.step, compiled.limit
    accesses = kernel.count("LDL", "STL")
    if kernel.stack or kernel.local or accesses:
        yield f"spills: {kernel.stack + kernel.local} bytes, {accesses} loads and stores"
    if kernel.doubles and not kernel.may_use_doubles:
        yield f"double precision: {', '.join(kernel.doubles)}"
    loop, steps = compiled.main_loop
    staging, most_staging = kernel.staging, limit.staging
    for what, value, most in (
        ("calls", kernel.calls, 0),
        ("registers", kernel.registers, limit.registers[ARCHITECTURES.index(compiled.arch)]),
        ("instructions a step", loop.instructions / steps, limit.instructions),
        ("MUFU a step", loop.mufu / steps, step.mufu),
        ("bytes a step", loop.bytes / steps, step.bytes),
        ("instructions a copy", staging.copy, most_staging.copy),
        ("instructions a number", staging.number, most_staging.number),
        ("instructions a prefetch", staging.line, most_staging.line),
    ):
        if value > most:
            yield f"{what}: {value:g}, at most {most:g}"
    for what, value, least in (
        ("MUFU a step", loop.mufu / steps, step.mufu),
        ("loads a step", loop.loads / steps, step.loads),
        ("copies of 16 bytes", kernel.copies, step.copies),
        ("resident warps", compiled.warps, limit.warps),
        ("loads under way", kernel.look_back.ahead, limit.ahead),
    ):
        if value < least:
            yield f"{what}: {value:g}, at least {least:g}"


def row(compiled: Compiled, violations: int) -> dict[str, object]:
    """Return the table's row of a kernel; the numbers of its main loop are those of one step."""
    kernel = compiled.kernel
    loop, steps = compiled.main_loop
    staging, look = kernel.staging, kernel.look_back
    return {
        "arch": compiled.arch,
        "kernel": kernel.name,
        "cell": kernel.cell,
        "drive": kernel.drive,
        "registers": kernel.registers,
        "threads": compiled.block.threads,
        "shared": compiled.shared,
        "warps/SM": compiled.warps,
        "steps": steps,
        "instructions/step": round(loop.instructions / steps, 1),
        "MUFU/step": round(loop.mufu / steps, 1),
        "FP/step": round(loop.arithmetic / steps, 1),
        "LDS/step": round(loop.shared_loads / steps, 1),
        "bytes/step": round(loop.bytes / steps, 1),
        "instructions/copy": round(staging.copy, 1),
        "instructions/number": round(staging.number, 1),
        "instructions/prefetch": round(staging.line, 1),
        "loads/look": look.global_loads,
        "under way": look.ahead,
        "loads": _by_bits(kernel.loads),
        "stores": _by_bits(kernel.stores),
        "verdict": f"{violations} wrong" if violations else "good",
    }


def _by_bits(counts: Counter[int]) -> str:
    """Write numbers of accesses by bits, such as ``4x32 1x128``."""
    return " ".join(f"{count}x{bits}" for bits, count in sorted(counts.items()))


def missing(names: Iterable[str], expected: Mapping[str, int] = EXPORTS) -> list[str]:
    """Return a line for each pattern of symbols that not so many names match."""
    counts = Counter(p for name in names for p in expected if re.fullmatch(p, name))
    return [
        f"symbols: {counts[pattern]} match {pattern}, of {count}"
        for pattern, count in expected.items()
        if counts[pattern] != count
    ]


if __name__ == "__main__":
    main()
