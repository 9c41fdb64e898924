"""Resident warps, against the header of NVIDIA that its calculator and driver use."""

import random
import subprocess
from pathlib import Path

import pytest
from occupancy import KIB, MULTIPROCESSORS, resident_warps

from paratime.ops.native import targets

PROGRAM = Path(__file__).parent / "samples" / "occupancy.cpp"


@pytest.mark.parametrize(
    ("arch", "registers", "threads", "shared", "warps"),
    [
        ("sm_80", 32, 256, 4 * KIB, 64),  # as many as there are
        ("sm_80", 33, 256, 0, 48),  # 40 registers are allocated
        ("sm_90", 64, 256, 0, 32),
        ("sm_90", 65, 256, 0, 24),
        ("sm_90", 168, 96, 0, 12),
        ("sm_100", 255, 64, 0, 8),
        ("sm_100", 16, 32, 0, 32),  # as many blocks as there may be
        ("sm_80", 64, 1024, 0, 32),
        ("sm_80", 65, 1024, 0, 0),  # one block has too many registers
        ("sm_80", 16, 2048, 0, 0),
        ("sm_90", 16, 250, 0, 64),  # threads make whole warps
        ("sm_80", 32, 256, 48 * KIB, 24),  # each block has one KiB more
        ("sm_90", 32, 256, 48 * KIB, 32),
        ("sm_80", 32, 256, 163 * KIB, 8),
        ("sm_80", 32, 256, 163 * KIB + 1, 0),
        ("sm_100", 32, 256, 227 * KIB, 8),
    ],
)
def test_resident_warps(arch, registers, threads, shared, warps):
    assert resident_warps(arch, registers, threads, shared) == warps


def test_an_unknown_architecture_is_an_error():
    with pytest.raises(ValueError, match=r"no limits are known of sm_75, only of sm_80, .*; add"):
        resident_warps("sm_75", 32, 256)


@pytest.mark.skipif(targets.nvcc() is None, reason="no nvcc, and so none of its headers")
def test_they_are_those_of_the_header(tmp_path):
    draw = random.Random(0)
    kernels = [
        (arch, draw.randint(1, 255), draw.randint(1, 1024), draw.choice((0, draw.randint(0, most))))
        for arch, most in ((x, y.shared_of_block) for x, y in MULTIPROCESSORS.items())
        for _ in range(5000)
    ]
    subprocess.run([*targets.nvcc(), PROGRAM, "-o", tmp_path / "occupancy"], check=True)
    lines = (
        f"{int(arch[3:]) // 10} {MULTIPROCESSORS[arch].shared} "
        f"{MULTIPROCESSORS[arch].shared_of_block} {registers} {threads} {shared}"
        for arch, registers, threads, shared in kernels
    )
    done = subprocess.run(
        [tmp_path / "occupancy"], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    assert [resident_warps(*kernel) for kernel in kernels] == [*map(int, done.stdout.split())]
