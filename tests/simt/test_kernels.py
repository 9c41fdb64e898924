"""The CUDA kernels under detectors of races and overruns, the detectors under mutants, traffic."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from simt.programs import FOLDER, SANITIZERS, Done, compiled, run, sanitized

from paratime.ops.native import build

KERNELS = (
    *(
        f"{cell}_{part}"
        for cell in ("gru1", "lstm1")
        for part in ("forward_sequential", "forward_newton", "backward_sequential", "backward_scan")
    ),
    "scan1",
)
LANES = {"32 lanes": 5, "8 lanes": 3, "1 lane": 0}
SIZE = (2, 300, 7)
"""B, T and C: several tiles, and lanes beyond the channels."""


def arguments(kernel: str, lanes: str, seed: int) -> tuple[object, ...]:
    return kernel, *SIZE, LANES[lanes], 64, seed, 2


@pytest.fixture(scope="session")
def checked(scheduler: Path) -> Callable[[str], Path]:
    """Return what compiles the kernels under a sanitizer, once."""
    programs: dict[str, Path] = {}

    def program(sanitizer: str) -> Path:
        if sanitizer not in programs:
            target = scheduler.with_name(f"kernels-{sanitizer}")
            programs[sanitizer] = kernels(sanitizer, build.sources(), scheduler, target)
        return programs[sanitizer]

    return program


def kernels(sanitizer: str, sources: Path, scheduler: Path, target: Path) -> Path:
    include = f"-I{sources / 'cuda'}"
    return sanitized(sanitizer, include, FOLDER / "kernels.cpp", scheduler, target)


@pytest.mark.parametrize("seed", (0, 3))
@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_detectors_find_nothing(checked, sanitizer: str, kernel: str, lanes: str, seed: int):
    done = run(checked(sanitizer), *arguments(kernel, lanes, seed))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stderr and "data race" not in done.stderr


@dataclass(frozen=True)
class Mutant:
    """A change of the kernels that a detector must find.

    Attributes:
        kernel: What runs.
        file: Where the change is, below ``csrc/cuda``.
        text: What is there, once.
        instead: What is there in the mutant.
        found: Pattern of what is said: by a sanitizer, by the executor, or by the comparison.
        sanitizer: Under which the mutant is compiled.
    """

    kernel: str
    file: str
    text: str
    instead: str
    found: str
    sanitizer: str = "thread"


MUTANTS = {
    "corrections are read early": Mutant(
        "gru1_forward_newton",
        "newton.h",
        "start[i].value);\n  __syncthreads();",
        "start[i].value);",
        r"element \d+, at byte \d+, is read before it is written|data race",
    ),
    "the next tile overwrites this one": Mutant(
        "gru1_forward_newton",
        "newton.h",
        "    __syncthreads();  // all have read carry, and the drives\n",
        "",
        "data race",
    ),
    "drives are read early": Mutant(
        "gru1_forward_newton",
        "newton.h",
        "    copies_arrive();\n    __syncthreads();\n",
        "    copies_arrive();\n",
        "is read before it is written|data race",
    ),
    "every thread stops when it likes": Mutant(
        "gru1_forward_newton",
        "newton.h",
        "if (__syncthreads_and(converged))",
        "if (converged)",
        r"newton\.h:\d+: block \d+, thread \d+: divergent",
    ),
    "a shuffle that not all lanes reach": Mutant(
        "lstm1_forward_newton",
        "affine.h",
        "    const Affine<V, K> earlier = total.from_below(near * place.lanes);\n"
        "    if (place.inner >= near) total = total.after(earlier);\n",
        "    if (place.inner >= near)\n"
        "      total = total.after(total.from_below(near * place.lanes));\n",
        r"affine\.h:\d+: block \d+, thread \d+: divergent __shfl_up_sync",
    ),
    "a tile is read one step too far": Mutant(
        "gru1_forward_newton",
        "tile.h",
        "t < count; t += apart, source += hop",
        "t <= count; t += apart, source += hop",
        r"heap-buffer-overflow|shared memory: element \d+ of \d+",
        "address",
    ),
    "lanes beyond the channels read on": Mutant(
        "gru1_forward_newton",
        "tile.h",
        "if (channel >= width)",
        "if (channel > width)",
        "heap-buffer-overflow",
        "address",
    ),
    "a tile tells before all lanes have written": Mutant(
        "gru1_backward_scan",
        "look_back.h",
        "    __threadfence();\n    __syncwarp();\n",
        "    __threadfence();\n",
        "data race",
    ),
    "lanes read what only others have seen told": Mutant(
        "gru1_backward_scan",
        "look_back.h",
        "  __syncwarp();  // a lane reads what others have seen told\n",
        "",
        "data race",
    ),
    "a tile applies maps that nobody has told": Mutant(
        "gru1_backward_scan",
        "look_back.h",
        "f[n].a[i] = n < left ? map[i * kWarp] : E(0);",
        "f[n].a[i] = map[i * kWarp];",
        "data race",
    ),
    "the state before a tile is read early": Mutant(
        "scan1",
        "look_back.h",
        "  __syncthreads();\n\n  if (const int told = number.load(1)) {",
        "\n  if (const int told = number.load(1)) {",
        "is read before it is written|data race",
    ),
    "sums overwrite a tile that is still read": Mutant(
        "lstm1_backward_scan",
        "adjoint.h",
        "      __syncthreads();\n#pragma unroll\n      for (int i = 0; i < P::weights; ++i) {",
        "#pragma unroll\n      for (int i = 0; i < P::weights; ++i) {",
        "data race",
    ),
    "the output before the first step is read": Mutant(
        "gru1_backward_scan",
        "adjoint.h",
        "all == left && all > 0 ? all - 1 : all",
        "all",
        "heap-buffer-overflow",
        "address",
    ),
    "one thread too many": Mutant(
        "gru1_forward_sequential",
        "sequential.h",
        "    ElementOf<Drive>* last) {",
        "    ElementOf<Drive>* last) {\n  p.batch += 1;",
        "heap-buffer-overflow",
        "address",
    ),
    "one step too many": Mutant(
        "lstm1_forward_sequential",
        "sequential.h",
        "    if (t >= length) return;",
        "    if (t > length) return;",
        "heap-buffer-overflow",
        "address",
    ),
    "a tile forgets the state before it": Mutant(
        "lstm1_forward_newton",
        "newton.h",
        "start[i] = carry.load(i * kWarp + place.channel);\n      boxed",
        "start[i] = V(0);\n      boxed",
        "wrong: y",
        "address",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_found(scheduler: Path, tmp_path: Path, name: str):
    mutant = MUTANTS[name]
    sources = shutil.copytree(build.sources(), tmp_path / "csrc")
    changed = sources / "cuda" / mutant.file
    code = changed.read_text()
    assert code.count(mutant.text) == 1
    changed.write_text(code.replace(mutant.text, mutant.instead))
    program = kernels(mutant.sanitizer, sources, scheduler, tmp_path / "mutant")
    found = [run(program, *arguments(mutant.kernel, "8 lanes", seed)) for seed in (0, 1, 2)]
    assert any(x.returncode and re.search(mutant.found, x.stdout + x.stderr) for x in found), found


# Traffic. Code for ThreadSanitizer calls a function at every access; traffic.cpp counts there.


@pytest.fixture(scope="session")
def counted(scheduler: Path) -> Path:
    folder, include = scheduler.parent, f"-I{build.sources() / 'cuda'}"
    flags = *SANITIZERS["thread"], "-O1", include, "-c"
    objects = compiled(*flags, FOLDER / "kernels.cpp", folder / "counted.o")
    counter = compiled("-O1", "-c", FOLDER / "traffic.cpp", folder / "traffic.o")
    return compiled(objects, counter, scheduler, folder / "counted")


def traffic(done: Done, kernel: str, numbers: int) -> dict[str, tuple[float, float]]:
    """Return what a kernel loads and stores of each tensor, in units of U = B T C floats."""
    assert done.returncode == 0, done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{kernel} ")]
    return {name: (int(a) / 4 / numbers, int(b) / 4 / numbers) for _, name, a, b in rows}


@pytest.mark.parametrize("channels", (32, 13))
@pytest.mark.parametrize("kernel", ("forward_sequential", "forward_newton"))
def test_the_forward_pass_moves_four_numbers_a_step_and_channel(counted, kernel, channels):
    done = run(counted, f"gru1_{kernel}", 2, 1000, channels, 3, 64, 0, 1)
    moved = traffic(done, kernel, 2 * 1000 * channels)
    assert moved == {"u": (3, 0), "y": (0, 1), "memory": (0, 0), "g": (0, 0), "d_u": (0, 0)}


@pytest.mark.parametrize("kernel", ("backward_sequential", "backward_scan"))
def test_the_backward_pass_moves_eight(counted, kernel):
    done = run(counted, f"gru1_{kernel}", 2, 1000, 32, 5, 256, 0, 1)
    moved = traffic(done, kernel, 2 * 1000 * 32)
    maps = moved.pop("maps", (0, 0))
    assert moved["u"] == (3, 0) and moved["g"] == (1, 0) and moved["d_u"] == (0, 3)
    assert moved["y"] == (pytest.approx(1, abs=2e-3), 0)  # h0 is before the first step
    assert sum(maps) < 0.6  # between tiles, within the cache that all share
