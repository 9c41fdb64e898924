"""Runs that are interrupted at random moments end as if nothing had happened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "reliability" / "interrupted.py"


def interrupt(signal: str, times: int) -> None:
    command = [sys.executable, str(SCRIPT), "--signal", signal, "--times", str(times)]
    about = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, env=os.environ | about, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"Count(tried={times}, differ=0, damaged=0, wrong=0)" in run.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("signal", "times"),
    [
        ("KILL", 6),
        *(
            pytest.param(signal, times, marks=pytest.mark.slow)
            for signal, times in (("KILL", 50), ("TERM", 30), ("INT", 30))
        ),
    ],
)
def test_an_interrupted_run_ends_with_the_values_of_one_that_was_not(signal, times):
    interrupt(signal, times)
