"""What ``csrc/cuda/device.h`` asks of the CUDA runtime, of one that is made up."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paratime.ops.native import build, targets

pytestmark = pytest.mark.skipif(targets.nvcc() is None, reason="no CUDA compiler")

RUNTIME = Path(__file__).with_name("runtime.cpp")
SOURCE = """
#include "cuda/device.h"
__global__ void kernel(int) {}
extern "C" int start(int shared) { return paratime::launch(kernel, 1, 32, shared, nullptr, 1); }
extern "C" int probe(int device) { return paratime::probe(device, kernel); }
extern "C" int most_shared(int device) { return paratime::most_shared(device); }
"""
NO_IMAGE = 209
"""cudaErrorNoKernelImageForDevice"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    source, made = folder / "start.cu", folder / "start.so"
    source.write_text(SOURCE)
    options = ["-std=c++17", "-O1", "-arch=sm_80", "-cudart", "none", "-shared", "-Xcompiler"]
    options += ["-fPIC", "-Xlinker", "-Bsymbolic"]  # else a runtime that is loaded comes first
    command = [*(targets.nvcc() or ()), *options, f"-I{build.sources()}"]
    subprocess.run([*command, source, RUNTIME, "-o", made], check=True)
    return made


@pytest.fixture
def library(compiled: Path, tmp_path: Path) -> ctypes.CDLL:
    """Load a copy, whose variables are its own."""
    return ctypes.CDLL(shutil.copy(compiled, tmp_path / "start.so"))


def variable(library: ctypes.CDLL, name: str) -> ctypes.c_int:
    return ctypes.c_int.in_dll(library, name)


def test_no_thread_lowers_what_another_needs(library):
    small = ctypes.CFUNCTYPE(None)(lambda: library.start(1000))
    pointer = ctypes.c_void_p.in_dll(library, "meanwhile")
    pointer.value = ctypes.cast(small, ctypes.c_void_p).value
    assert library.start(90_000) == 0
    assert pointer.value is None, "the other thread has not come"
    assert library.start(500) == 0
    assert variable(library, "limit").value == library.most_shared(0) == 99 * 1024


def test_a_launch_without_shared_memory_asks_for_none(library):
    assert library.start(0) == 0
    assert variable(library, "limit").value == 48 * 1024


def test_a_launch_that_fails_returns_its_error_and_forgets_it(library):
    assert library.start(100 * 1024) == 1
    assert variable(library, "last_error").value == 0


@pytest.mark.parametrize("failure", (0, NO_IMAGE))
def test_a_device_is_asked_whether_it_can_run_a_kernel(library, failure):
    variable(library, "failure").value = failure
    assert library.probe(3) == failure
    assert variable(library, "current").value == 3
    assert variable(library, "last_error").value == 0


def test_a_runtime_that_is_loaded_already_changes_nothing(tmp_path):
    """As a torch with CUDA loads one: the tests above pass in a process that has another."""
    another = tmp_path / "another.so"
    command = [*(targets.compiler() or ()), "-shared", "-fPIC", str(RUNTIME), "-o", str(another)]
    subprocess.run(command, check=True)
    options = ["-p", "no:cacheprovider", "-k", "not already", __file__]
    code = "import ctypes, sys, pytest; ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)\n"
    code += "sys.exit(pytest.main(sys.argv[2:]))"
    run = [sys.executable, "-c", code, str(another), *options]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "....." in done.stdout
