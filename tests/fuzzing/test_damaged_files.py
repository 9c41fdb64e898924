"""Damaged files of every kind are read, or refused in one line that names the file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing.formats import FORMATS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bounds memory by /proc")

FEW, MANY = 4, 10_000


def wrongly_read(folder: Path, count: int, names: list[str]) -> list[str]:
    """Return a line for every damaged file that was read wrongly; a crash is one, too."""
    worker = Path(__file__).with_name("worker.py")
    command = [sys.executable, str(worker), str(folder), str(count), "0", *names]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")},
        check=False,
    )
    lines = [x for x in done.stdout.splitlines() if not x.startswith("read ")]
    if done.returncode:
        now = folder / "now"
        at = now.read_text() if now.exists() else "at the beginning"
        lines.append(f"{at}: the process ended with {done.returncode}: {done.stderr[-1500:]}")
    return lines


@pytest.mark.parametrize("part", range(5))
def test_a_few_damaged_files_of_every_kind(part, tmp_path):
    assert wrongly_read(tmp_path, FEW, [*FORMATS][part::5]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files(name, tmp_path):
    assert wrongly_read(tmp_path, MANY, [name]) == []
