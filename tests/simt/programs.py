"""Programs in C++ that the tests compile and run, under sanitizers or without."""

import shutil
import subprocess
from pathlib import Path

import pytest

from paratime.ops.native import targets

FOLDER = Path(__file__).parent
FLAGS = ("-std=c++17", "-g1", "-fPIC", "-Wall", "-Wextra", "-Wno-unknown-pragmas")
SANITIZERS = {
    "thread": ("-fsanitize=thread",),
    # Checks by calls instead of inline code halve the time of a compilation.
    "address": ("-fsanitize=address", "--param", "asan-instrumentation-with-call-threshold=0"),
}

Done = subprocess.CompletedProcess[str]


def compiled(*arguments: object) -> Path:
    """Compile something; the last argument is where it goes."""
    command = [*(targets.compiler() or ()), *FLAGS, *map(str, arguments[:-1])]
    done = subprocess.run([*command, "-o", str(arguments[-1])], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert not done.stderr
    return Path(str(arguments[-1]))


def sanitized(sanitizer: str, *arguments: object) -> Path:
    """Compile under a sanitizer, as ``compiled``; skip the test where there is none."""
    target = Path(str(arguments[-1]))
    empty = target.with_suffix(".empty.cpp")
    empty.write_text("int main() {}\n")
    flags = SANITIZERS[sanitizer]
    command = [*(targets.compiler() or ()), *flags, empty, "-o", target]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"the compiler cannot link {flags[0]}")
    return compiled(*flags, *arguments)


def run(program: Path, *arguments: object) -> Done:
    """Run a program, at the same addresses every time: old ThreadSanitizers need that."""
    prefix = ["setarch", "-R"]
    works = shutil.which(prefix[0]) and not subprocess.run([*prefix, "true"]).returncode
    command = [*(prefix if works else []), str(program), *map(str, arguments)]
    options = {"TSAN_OPTIONS": "atexit_sleep_ms=0"}
    return subprocess.run(command, capture_output=True, text=True, env=options)
