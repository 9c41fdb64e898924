"""What ``setup.py`` compiles, and what it says of what it cannot."""

import runpy
from pathlib import Path

import pytest
import setuptools
from setuptools.command.build_py import build_py

from paratime.ops.native import build, targets

SETUP = Path(__file__).parents[1] / "setup.py"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> build_py:
    """Return the command that builds modules and kernels, of which only the latter are built."""
    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    monkeypatch.setattr(build_py, "run", lambda self: None)
    found: build_py = runpy.run_path(str(SETUP))["BuildWithKernels"](setuptools.Distribution())
    found.build_lib, found.editable_mode = str(tmp_path), False
    return found


def test_a_target_that_fails_is_named_and_the_others_are_compiled(
    command, tmp_path, monkeypatch, capsys
):
    def make(target: build.Target, path: Path) -> Path:
        if target.name in ("cpu_avx2", "cuda_80_90_100"):
            raise build.CannotBuild("c++ failed: out of patience")
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr(build, "build_library", make)
    monkeypatch.setattr(targets, "variants", lambda: ("avx512", "avx2", "baseline"))
    monkeypatch.setattr(targets, "nvcc", lambda: None)
    command.run()
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "paratime: no native kernels for avx2: c++ failed: out of patience",
        "paratime: no CUDA kernels for compute capability 80, 90, 100: c++ failed: out of patience",
    ]
    made = {path.stem for path in (tmp_path / "paratime" / "lib").iterdir()}
    assert made == {"libparatime_cpu_avx512", "libparatime_cpu_baseline"}
    assert (tmp_path / "paratime" / "csrc" / "cells.h").exists()


def test_an_editable_installation_needs_no_compiler(command, monkeypatch, capsys):
    monkeypatch.setattr(targets, "compiler", lambda: None)
    monkeypatch.setattr(build, "packaged", lambda target: Path("/none"))
    command.editable_mode = True
    command.run()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paratime: no native kernels for ") and targets.NO_COMPILER in line
