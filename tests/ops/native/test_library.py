"""Finding, building and forcing the compiled library."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paratime.errors import InputError
from paratime.ops.native import build, library, targets

RUN = "import torch, paratime; print(paratime.ParaGRU(4, 8)(torch.ones(1, 9, 4))[0].shape)"
USED = (
    "import paratime.ops.native.library as n; print(n.symbol('gru1_forward_float32') is not None)"
)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment
    return subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CXX": "no-such-compiler"}, "no C++ compiler on PATH; install"),
        ({"CXX": "false"}, "false failed: status 1"),
        ({"CXX": "true"}, "true"),
        ({"XDG_CACHE_HOME": "/proc/none"}, "cannot write /proc/none/paratime"),
    ],
    ids=("missing", "broken", "idle", "no cache"),
)
def test_without_a_library_everything_works_and_one_line_says_why(environment, reason, tmp_path):
    done = python(RUN, **({"XDG_CACHE_HOME": str(tmp_path)} | environment))
    assert done.stdout == "torch.Size([1, 9, 8])\n"
    assert reason in done.stderr.splitlines()[-1] and len(done.stderr.splitlines()) <= 2


def test_without_a_home_directory_it_says_what_to_set(monkeypatch):
    monkeypatch.setattr(build, "user_cache", lambda: Path("~/.cache/paratime"))
    target = replace(targets.cpu(targets.capabilities()[0]), name="homeless")
    with pytest.raises(build.CannotBuild, match="there is no home directory; set XDG_CACHE_HOME"):
        build.find_or_build(target)


@pytest.mark.slow
def test_a_library_that_was_cut_is_made_again(tmp_path):
    python(USED, XDG_CACHE_HOME=str(tmp_path))
    (made,) = tmp_path.rglob("*.so")
    made.write_bytes(made.read_bytes()[:20_000])  # to load it ends the process
    assert python(USED, XDG_CACHE_HOME=str(tmp_path)).stdout == "True\n"
    assert made.stat().st_size > 10_000


@pytest.mark.slow
def test_processes_that_build_at_once(tmp_path):
    variables = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "with a space")}
    command = [sys.executable, "-c", USED]
    running = [
        subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0] for process in running] == ["True\n"] * 2


def test_files_that_are_mapped_are_not_taken_for_libraries(tmp_path):
    np.save(tmp_path / "compressed.npy", np.ones(5000))
    mapped = np.load(tmp_path / "compressed.npy", mmap_mode="r")
    library._share_threads()
    assert mapped.sum() == 5000


def test_backends_are_forced_in_any_order():
    first, second = library.force_backend("reference"), library.force_backend("baseline")
    first.__enter__()
    second.__enter__()
    assert library.symbol("scan_float32") is not None
    first.__exit__(None, None, None)
    assert library.symbol("scan_float32") is not None
    second.__exit__(None, None, None)
    assert library._forced == []


def test_a_backend_that_does_not_exist():
    with pytest.raises(InputError, match="backend: expected one of"), library.force_backend("sse9"):
        pass


def test_backends_end_in_the_order_in_which_they_began():
    with library.force_backend("baseline"):
        with library.force_backend(library.REFERENCE):
            with library.force_backend("baseline"):
                assert library.symbol("gru1_forward_float32") is not None
            assert library.symbol("gru1_forward_float32") is None
        assert library.symbol("gru1_forward_float32") is not None


@pytest.mark.parametrize("command", ("'unbalanced", "no-such-compiler"))
def test_a_compiler_that_is_none_is_a_line_of_info(command):
    environment = os.environ | {"CXX": command, "CUDACXX": command}
    done = subprocess.run(
        [sys.executable, "-m", "paratime", "info"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "c++ compiler   none on PATH" in done.stdout and "cuda compiler  none" in done.stdout


def test_the_cache_knows_the_compiler_and_its_flags(monkeypatch):
    paths = set()
    for words in (("c++",), ("c++", "-ffast-math")):
        monkeypatch.setattr(targets, "compiler", lambda words=words: words)
        paths.add(build._cached(targets.cpu("baseline")))
    assert len(paths) == 2


def test_the_cache_knows_what_else_compilers_follow(monkeypatch):
    paths = set()
    for name in (None, *build.SETTINGS):
        build._fingerprint.cache_clear()
        with monkeypatch.context() as patch:
            if name is not None:
                patch.setenv(name, "/elsewhere")
            paths.add(build._cached(targets.cpu("baseline")))
    build._fingerprint.cache_clear()
    assert len(paths) == 1 + len(build.SETTINGS)


def test_the_header_is_for_single_numbers_too(tmp_path):
    """What nvcc makes of it, as far as a C++ compiler can tell."""
    source = tmp_path / "one.cpp"
    source.write_text(
        f'#include "{build.sources()}/cells.h"\n#include <cstdio>\n'
        "int main() {\n"
        "  double u[] = {0.3, -0.2, 0.5}, w[] = {0.1, 0.7, -0.4}, h = 0.6, next;\n"
        "  auto of = [](double* x) { return [x](int i) { return x[i]; }; };\n"
        "  paratime::Gru<1>::step(of(u), of(w), &h, &next);\n"
        '  std::printf("%.17g", next);\n'
        "}\n"
    )
    target = tmp_path / "one"
    subprocess.run([*(targets.compiler() or ()), "-std=c++17", source, "-o", target], check=True)
    z, r = (1 / (1 + np.exp(-x)) for x in (0.3 + 0.1 * 0.6, -0.2 + 0.7 * 0.6))
    expected = (1 - z) * 0.6 + z * np.tanh(0.5 - 0.4 * 0.6 * r)
    found = float(subprocess.run([target], capture_output=True, check=True).stdout)
    assert abs(found - expected) <= 1e-15


COMPILER = """#!/bin/sh
while [ "$1" != -o ] && [ $# -gt 1 ]; do shift; done
echo run >> {log}
sleep {seconds}
[ "$1" = -o ] && echo made > "$2" || true
"""
BUILD = """
import sys
from dataclasses import replace
from paratime.ops.native import build, targets
from paratime.io import processes
processes.PATIENCE = 0
target = replace(targets.cpu("baseline"), compiler=(sys.argv[1],), sources=("cpu/scan.cpp",))
print(build.find_or_build(target), flush=True)
"""


def build_slowly(folder, seconds):
    """Start a process that builds a library with a slow compiler, which counts its runs."""
    script = folder / "compiler"
    script.write_text(COMPILER.format(log=folder / "log", seconds=seconds))
    script.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(script)],
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def runs(folder):
    return len((folder / "log").read_text().splitlines()) if (folder / "log").exists() else 0


def test_of_four_processes_one_builds_and_the_others_wait(tmp_path):
    running = [build_slowly(tmp_path, 2) for _ in range(4)]
    found = [process.communicate(timeout=120) for process in running]
    assert len({out for out, _ in found}) == 1 and found[0][0].endswith(".so\n")
    told = "".join(err for _, err in found)
    assert told.count("compiling the native kernels for baseline, once") == 1
    assert told.count("waiting for another process that compiles the native kernels") == 3
    assert runs(tmp_path) == 4 + 2, "each asked for the version; one compiled and linked"
    again = build_slowly(tmp_path, 2).communicate(timeout=120)
    assert again == (found[0][0], "")


def test_a_killed_build_holds_nobody_up(tmp_path):
    first = build_slowly(tmp_path, 5)  # its compiler outlives it
    while not runs(tmp_path):
        time.sleep(0.05)
    while not [*tmp_path.rglob("*.lock")]:
        time.sleep(0.05)
    time.sleep(0.5)
    first.kill()
    first.communicate(timeout=60)
    out, _ = build_slowly(tmp_path, 0).communicate(timeout=60)
    made = Path(out.strip())
    assert made.read_text() == "made\n"


@pytest.mark.parametrize(
    "damage", [lambda x: x[: len(x) // 2], lambda x: x[:-1], lambda x: x + b" "]
)
def test_a_library_that_is_not_whole_is_never_loaded(tmp_path, damage):
    made = Path(build_slowly(tmp_path, 0).communicate(timeout=60)[0].strip())
    before = runs(tmp_path)
    made.write_bytes(damage(made.read_bytes()))
    build_slowly(tmp_path, 0).communicate(timeout=60)
    assert made.read_text() == "made\n" and runs(tmp_path) == 2 * before
    made.with_suffix(".sha256").unlink()
    build_slowly(tmp_path, 0).communicate(timeout=60)
    assert runs(tmp_path) == 3 * before


def nvcc_that_knows(folder: Path, *architectures: str) -> tuple[str, ...]:
    """Make a compiler that lists virtual architectures, and compiles nothing."""
    script = folder / "nvcc"
    lines = " ".join(f"compute_{x}" for x in architectures)
    script.write_text(f'#!/bin/sh\n[ "$1" = --list-gpu-arch ] && printf "%s\\n" {lines}\n')
    script.chmod(0o755)
    return (str(script),)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (("75", "80", "89", "90"), ("80", "90")),
        (("80", "90", "100", "120"), ("80", "90", "100")),
        (("90", "100"), ("90", "100")),
        ((), targets.ARCHITECTURES),
    ],
    ids=("before 12.8", "all", "later", "does not say"),
)
def test_a_wheel_is_compiled_for_what_its_nvcc_knows(known, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "nvcc", lambda: nvcc_that_knows(tmp_path, *known))
    target = targets.cuda()
    assert target.name == f"cuda_{'_'.join(expected)}"
    assert ("arch=compute_100,code=sm_100" in target.flags) == ("100" in expected)
    assert target.flags.endswith(f"arch=compute_{expected[-1]},code=compute_{expected[-1]}")
    assert targets.cuda(("120",)).name == "cuda_120"


def test_without_nvcc_a_wheel_would_be_for_all(monkeypatch):
    monkeypatch.setattr(targets, "nvcc", lambda: None)
    assert targets.cuda().name == "cuda_80_90_100"


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
@pytest.mark.parametrize("variant", targets.capabilities())
def test_a_library_shows_its_interface_alone(variant):
    """Two of them in one process would share the statics of templates that both show."""
    path = build.find_or_build(targets.cpu(variant))
    listed = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True)
    shown = [line.split()[1:] for line in listed.stdout.splitlines()]
    own = [name for _, name in shown if "paratime" in name]
    assert own and all(name.startswith("paratime_") for name in own)
    assert not any(kind == "u" for kind, _ in shown)  # what the linker makes one in a process
