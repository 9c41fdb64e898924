"""How the kernels are launched, as ``csrc/cuda`` itself says it.

Threads and shared memory of a block are functions of the template arguments there. A program of a
few lines prints them; it is compiled with the headers as their twin on the CPU.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sass

from paratime.ops.native import build, device, targets
from paratime.ops.native.build import CannotBuild

DEFAULT = f"{device.THREADS}, {device.LANES[0].bit_length() - 1}"
SCAN_THREADS = "LookBackTile<{0}>::threads()"
BLOCKS = {
    "forward_sequential": "kSequentialThreads, 0",
    "backward_sequential": "kSequentialThreads, 0",
    "forward_newton": f"{device.THREADS}, NewtonTile<{{0}}>({DEFAULT}).bytes",
    "scan_tiles": f"{SCAN_THREADS}, LookBackTile<{{0}}>({SCAN_THREADS}).bytes",
}
"""Threads and bytes of a block of a kernel, in C++, of its template arguments."""

PROGRAM = """
#include <cstdio>
#include "cuda/interface.h"
#include "cuda/linear.h"
int main() {{
  using namespace paratime;
  const int blocks[][2] = {{{blocks}}};
  for (const auto& block : blocks) std::printf("%d %d\\n", block[0], block[1]);
}}
"""


@dataclass(frozen=True)
class Block:
    """A block of threads as a kernel is launched by default, with bytes of shared memory."""

    threads: int
    shared: int


def blocks_of(kernels: Sequence[sass.Kernel]) -> list[Block]:
    """Return how each of some kernels is launched.

    Raises:
        CannotBuild: There is no C++ compiler, or it fails, or a kernel is not in ``BLOCKS``.
    """
    if unknown := {x.name for x in kernels} - BLOCKS.keys():
        raise CannotBuild(f"add to BLOCKS how these are launched: {', '.join(sorted(unknown))}")
    blocks = (BLOCKS[x.name].format(x.arguments) for x in kernels)
    program = PROGRAM.format(blocks=", ".join(f"{{{x}}}" for x in blocks))
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "blocks.cpp"), Path(folder, "blocks")
        source.write_text(program, encoding="utf-8")
        _run([*_compiler(), "-std=c++17", f"-I{build.sources()}", str(source), "-o", str(made)])
        return [Block(*map(int, line.split())) for line in _run([str(made)]).splitlines()]


def _compiler() -> Sequence[str]:
    found = targets.compiler()
    if found is None:
        raise CannotBuild(targets.simt().missing)
    return found


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [x for x in done.stderr.splitlines() if "error" in x] or [f"{done.returncode}"]
        raise CannotBuild(f"{command[0]} failed: {lines[0]}")
    return done.stdout
