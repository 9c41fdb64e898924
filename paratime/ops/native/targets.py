"""The libraries: one of CPU kernels for each capability, the CUDA kernels, and their emulation."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from paratime.ops.native.build import Target

WARNINGS = "-Wall -Wextra -Wno-psabi"
FLAGS = (
    "-std=c++17 -O3 -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math "
    f"-ffp-contract=fast {WARNINGS}"
)
X86 = {
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512",
    "avx2": "-mavx2 -mfma",
}
"""Flags by capability, best first; the processor must have all that they name."""

ARCHITECTURES = ("80", "90", "100")
"""Compute capabilities that a wheel is compiled for, as far as its nvcc knows them; later ones
translate the last one's PTX."""

NO_COMPILER = "no C++ compiler on PATH; install g++ or clang++, or set CXX to the command of one"

SIMT = "simt"
SANITIZE = "sanitize"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all -g -O1"


def variants() -> tuple[str, ...]:
    """Return the capabilities of this architecture, best first; ``baseline`` is portable code."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return (*(X86 if x86 else ()), "baseline")


@cache
def capabilities() -> tuple[str, ...]:
    """Return those variants that this processor can run, best first."""
    has = _processor_flags()
    return tuple(name for name in variants() if _needs(name) <= has)


@cache
def compiler() -> tuple[str, ...] | None:
    """Return the command of the C++ compiler: ``CXX`` if it is set, else what PATH has."""
    return _first("CXX", "c++", "g++", "clang++")


@cache
def nvcc() -> tuple[str, ...] | None:
    """Return the command of the CUDA compiler: ``CUDACXX`` if it is set, else where it may be."""
    homes = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")]
    places = [str(Path(home) / "bin" / "nvcc") for home in (*homes, "/usr/local/cuda") if home]
    return _first("CUDACXX", "nvcc", *map(shlex.quote, places))


def cpu(capability: str) -> Target:
    """Return the CPU kernels for a capability, or with sanitizers."""
    openmp = "" if sys.platform == "darwin" else "-fopenmp"
    more = SANITIZERS if capability == SANITIZE else X86.get(capability, "")
    return Target(
        name=f"cpu_{capability}",
        kernels=f"native kernels for {capability}",
        compiler=compiler(),
        missing=NO_COMPILER,
        flags=f"{FLAGS} {more} {openmp}",
        link=f"{more} {openmp}",
        sources=("cpu/*.cpp",),
    )


def generated(capability: str, text: str, title: str) -> Target:
    """Return the kernel of a cell for a capability, from its text."""
    name, kernels = f"cell_{capability}", f"kernel of {title} for {capability}"
    return replace(cpu(capability), name=name, kernels=kernels, sources=(), text=text)


def cuda(architectures: tuple[str, ...] | None = None) -> Target:
    """Return the CUDA kernels for some compute capabilities, such as ``("90",)``, or a wheel's."""
    architectures = architectures or _of_a_wheel(nvcc())
    code = [f"-gencode arch=compute_{x},code=sm_{x}" for x in architectures]
    last = architectures[-1]
    code.append(f"-gencode arch=compute_{last},code=compute_{last}")
    return Target(
        name=f"cuda_{'_'.join(architectures)}",
        kernels=f"CUDA kernels for compute capability {', '.join(architectures)}",
        compiler=nvcc(),
        missing="no nvcc on PATH; install the CUDA toolkit, or set CUDA_HOME",
        flags=f"-std=c++17 -O3 -Xcompiler -fPIC {' '.join(code)}",
        link=" ".join(code),
        sources=("cuda/*.cu",),
        package_name="cuda",
    )


def simt() -> Target:
    """Return the CUDA kernels as the CPU executes them, thread by thread, for tests."""
    return Target(
        name=SIMT,
        kernels="emulation of the CUDA kernels",
        compiler=compiler(),
        missing=NO_COMPILER,
        flags=f"-x c++ -std=c++17 -O2 -fPIC {WARNINGS} -Wno-unknown-pragmas",
        link="",
        sources=("cuda/*.cu", "simt/*.cpp"),
    )


@cache
def _of_a_wheel(compiler: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return those of ``ARCHITECTURES`` that a compiler knows; all of them if it does not say."""
    try:
        command = [*(compiler or ("nvcc",)), "--list-gpu-arch"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ARCHITECTURES
    known = done.stdout.split()
    return tuple(x for x in ARCHITECTURES if f"compute_{x}" in known) or ARCHITECTURES


def _first(variable: str, *commands: str) -> tuple[str, ...] | None:
    named = os.environ.get(variable)
    for command in [named] if named else commands:
        with suppress(ValueError):  # quotes that do not end
            words = shlex.split(command)
            if words and shutil.which(words[0]):
                return tuple(words)
    return None


def _needs(capability: str) -> set[str]:
    return {flag[2:] for flag in X86.get(capability, "").split() if "=" not in flag}


def _processor_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return set(next(lines, "").split())
