"""The report on a GPU: when it ends, with which status, and how much it prints.

``tests/test_needs.py`` runs all of it, in emulation.
"""

import os
import threading
from dataclasses import replace
from itertools import product

import contestants
import measure
import pandas as pd
import parity
import pytest
import report
import torch
from clock import HostClock
from session import Deadline, Skipped

from paratime.ops.native import build, targets

LAST_CHARACTERS = 12_000
"""What an owner of a GPU may see of all that it prints."""


@pytest.fixture
def place() -> report.Place:
    return report.emulation()


@pytest.fixture
def made(place, tmp_path, monkeypatch) -> report.Report:
    """Return a report that builds nothing, and whose tests passed."""
    monkeypatch.setattr(build, "find_or_build", lambda target: None)
    monkeypatch.setattr(report, "run_tests", lambda *_: parity.Parity(passed=7))
    monkeypatch.setattr(report, "jobs", lambda where, sizes: [])
    monkeypatch.setattr(report, "errors", lambda where, shape: [])
    return report.Report(place, tmp_path, Deadline(60.0, now=lambda: 0.0))


def test_all_right_ends_with_nothing(made, capsys):
    assert made.make() == 0
    assert "all is right" in capsys.readouterr().out.splitlines()[-1]


def broken(**values) -> measure.Job:
    def rows(clock):
        raise RuntimeError("no such kernel")
        yield

    return measure.Job("kernel", "gru1", "float32", rows, **values)


WRONG = {"layer": "ParaGRU", "method": "parallel", "format": "float32", "value": 1.0}
FAULTS = {
    "a test": ("run_tests", lambda *_: parity.Parity(passed=7, failed={"test_scan": "assert"})),
    "too few tests": ("run_tests", lambda *_: parity.Parity(passed=7, missing=1)),
    "the gate": ("errors", lambda *_: [WRONG | {"right": False}]),
    "a job": ("jobs", lambda *_: [broken()]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said_at_the_end_and_is_the_status(fault, made, monkeypatch, capsys):
    monkeypatch.setattr(report, *FAULTS[fault])
    assert made.make() == 1
    assert "NOT ALL IS RIGHT" in capsys.readouterr().out.splitlines()[-1]


def test_what_others_cannot_do_is_no_fault(made, monkeypatch, capsys):
    monkeypatch.setattr(report, "jobs", lambda *_: [broken(ours=False)])
    assert made.make() == 0
    assert "gru1, float32" in capsys.readouterr().out


def test_kernels_that_cannot_be_built_are_one_line(made, monkeypatch, capsys):
    """And no watchdog is left, which would end this process."""

    def fail(target):
        raise build.CannotBuild("nvcc failed: out of patience")

    monkeypatch.setattr(build, "find_or_build", fail)
    with pytest.raises(SystemExit) as stop:
        made.make()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("cannot be built: nvcc failed: out of patience")
    timers = [x for x in threading.enumerate() if isinstance(x, threading.Timer)]
    assert all(x.finished.is_set() for x in timers)


def test_what_hangs_is_ended_with_all_that_was_measured(made, monkeypatch, capsys):
    class Ended(Exception):
        pass

    def leave(status):
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", leave)
    made.times.add({"what": "language", "contestant": "ParaGRU", "ms": 1.5, "tokens/s": 77.0})
    with pytest.raises(Ended, match="3"):
        made._give_up()
    said = capsys.readouterr().out
    assert "ParaGRU" in said and "77" in said and said.splitlines()[-1].startswith("Not ended")


def test_the_watchdog_bites_before_the_end(made, monkeypatch):
    waits = []

    class Timer:
        def __init__(self, seconds, work):
            waits.append(seconds)

        def start(self):
            pass

        cancel = start

    monkeypatch.setattr(report, "Timer", Timer)
    made.make()
    assert 0 < waits[0] < 60


@pytest.fixture
def untimed(monkeypatch) -> report.Place:
    """Return a place where everything that a GPU is asked takes no time, and has its times."""
    passes = {x: (None, 10**9, "sequential") for x in ("forward", "backward")}
    monkeypatch.setattr(measure, "kernel_passes", lambda *_: passes)
    monkeypatch.setattr(measure, "_copy", lambda *_: None)
    monkeypatch.setattr(measure, "training_step", lambda *_: None)
    both = {"forward": None, "both": None}
    monkeypatch.setattr(contestants.Contestant, "passes", lambda self, x: both)
    where = torch.device("meta")
    return replace(
        report.emulation(), where=where, sizes=measure.QUICK, clock=lambda work: [123.4567]
    )


def test_the_summary_fits_into_what_is_shown(made, untimed, monkeypatch, capsys):
    """Of everything that a GPU is asked, with faults."""
    made.place = untimed
    layers = product(("ParaGRU", "ParaLSTM"), ("sequential", "parallel"), "abcd")
    rows = [{**WRONG, "layer": x, "method": y, "format": z, "right": False} for x, y, z in layers]
    monkeypatch.setattr(report, "errors", lambda *_: rows)
    monkeypatch.setattr(report, "jobs", measure.jobs)
    made.skipped += [Skipped(f"ParaGRU, a job {i}, bfloat16", "no time is left") for i in range(99)]
    assert made.make() == 1
    text = made.text()
    assert text in capsys.readouterr().out and len(text) <= LAST_CHARACTERS
    assert max(map(len, text.splitlines())) <= 160
    found = pd.read_csv(made.times.path).groupby("what").size()
    assert dict(found) == {"kernel": 24, "language": 4, "layer": 104, "method": 96}


def test_thresholds_are_in_the_folder_alone(made, place, tmp_path, monkeypatch):
    times = [("sequential", 5.0, 5.0), ("parallel", 1.0, 20.0)]
    for (method, *both), direction in product(times, ("forward", "backward")):
        for width, ms in zip((64, 4096), both, strict=True):
            row = {"what": "method", "contestant": "gru1", "method": method, "format": "float32"}
            made.times.add(row | {"D": width, "pass": direction, "ms": ms})
    made.make()
    found = pd.read_csv(tmp_path / "thresholds.csv")
    assert list(found.direction) == ["forward", "backward"]
    assert (
        set(found.source) == {f"measured on {place.name}"}
        and found.channels.between(64, 4096).all()
    )


def test_a_gpu_is_asked_for_its_own_kernels_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "a made-up GPU")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: (9, 0))
    place = report.gpu()
    assert place.kernels.name == targets.cuda(("90",)).name and "gpu" in place.tests
    assert not isinstance(place.clock, HostClock)
