"""The tests of ``tests/gpu`` spread over processes, without pytest-xdist.

This module is also the plugin that each of these processes loads. It picks the tests of its part,
and writes every outcome as soon as it is known, so that a process may be killed at any time.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NEIGHBOURS = 5
"""Tests in a row that go to one process, as they often share what is true."""


@dataclass
class Parity:
    """What the tests found.

    Attributes:
        seconds: How long they ran.
        passed: How many tests passed.
        skipped: Why tests were skipped, by name.
        failed: First lines of errors, by the test's name.
        missing: Tests that were not reached in time.
    """

    seconds: float = 0.0
    passed: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    missing: int = 0

    @property
    def holds(self) -> bool:
        """Whether every test ran, and none failed."""
        return self.passed > 0 and not self.failed and not self.missing

    def text(self) -> str:
        """Return one line, and one more for each failure."""
        counts = {"passed": self.passed, "failed": len(self.failed), "skipped": len(self.skipped)}
        counts["not reached in time"] = self.missing
        line = ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "passed")
        failures = [f"FAILED {name}: {said}" for name, said in self.failed.items()]
        return "\n".join([f"Parity: {line}, in {self.seconds:.0f} s", *failures])


def run_tests(folder: Path, selection: Sequence[str], processes: int, limit: float) -> Parity:
    """Run tests in parallel processes, which are killed after so many seconds.

    Args:
        folder: Where outcomes and what pytest prints go, a file a process.
        selection: What pytest is asked to run.
        processes: How many there are.
        limit: Seconds.
    """
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    running = [_start(folder, selection, i, processes) for i in range(processes)]
    late = [_late(process, began + limit) for process in running]
    found = Parity()
    for i, process in enumerate(running):
        _add(found, _read(folder / f"part{i}.jsonl"), process.returncode, late[i])
    found.seconds = time.monotonic() - began
    (folder / "parity.json").write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return found


def _start(folder: Path, selection: Sequence[str], i: int, parts: int) -> subprocess.Popen[bytes]:
    outcomes = folder / f"part{i}.jsonl"
    outcomes.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "parity"]
    command += ["--part", f"{i}/{parts}", "--outcomes", str(outcomes), "--rootdir", str(ROOT)]
    paths = [str(Path(__file__).parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    threads = str(max(1, (os.cpu_count() or 1) // parts))
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": threads}
    with (folder / f"part{i}.log").open("wb") as log:
        return subprocess.Popen(
            [*command, *selection],
            cwd=ROOT,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _late(process: subprocess.Popen[bytes], end: float) -> bool:
    """Wait for a process, and kill it and its children at the end; return whether it was late."""
    try:
        process.wait(max(0.0, end - time.monotonic()))
        return False
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        return True


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a file."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):  # cut as the process was killed
            yield json.loads(line)


def _add(found: Parity, events: Iterator[dict[str, Any]], status: int, late: bool) -> None:
    """Add the outcomes of a process."""
    total, under_way, done = 0, "", set[str]()
    for event in events:
        name, outcome = event.get("test", ""), event["event"]
        if outcome == "selected":
            total = event["tests"]
        elif outcome == "begun":
            under_way = name
        else:
            done.add(name)
            _count(found, name, outcome, event["said"])
    if late:
        found.missing += total - len(done) if total else 1
        if under_way not in done and under_way:
            found.failed[under_way] = "it had not ended when its time was over"
            found.missing -= 1
    elif len(done) < total or status not in (0, 1, pytest.ExitCode.NO_TESTS_COLLECTED):
        name = under_way if under_way not in done and under_way else "pytest"
        found.failed[name] = f"the process ended with status {status}; see its log"
        found.missing += max(0, total - len(done) - (name != "pytest"))


def _count(found: Parity, name: str, outcome: str, said: str) -> None:
    if outcome == "failed":
        found.failed[name] = said
    elif outcome == "skipped":
        found.skipped[name] = said
    else:
        found.passed += 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a process be told its part and where outcomes go."""
    parser.addoption("--part", default="0/1", help="which part of all tests to run: i/n")
    parser.addoption("--outcomes", type=Path, help="the file of outcomes, a line each")


def pytest_configure(config: pytest.Config) -> None:
    """Write down outcomes."""
    config.pluginmanager.register(_Outcomes(config.getoption("outcomes")))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of this part."""
    part, parts = map(int, config.getoption("part").split("/"))
    items[:] = [x for i, x in enumerate(items) if i // NEIGHBOURS % parts == part]


class _Outcomes:
    """Writes what happens to tests, a line of JSON each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._write("selected", tests=len(session.items))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write("failed", test=report.nodeid, said=_first_line(report))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write("begun", test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self._write(report.outcome, test=report.nodeid, said=_first_line(report))

    def _write(self, event: str, **values: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **values}) + "\n")


def _first_line(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return the first line of why a test failed or was skipped."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        lines = crash.message.splitlines()
    elif isinstance(report.longrepr, tuple):
        lines = [report.longrepr[2]]
    else:
        lines = [x for x in report.longreprtext.splitlines() if x.startswith("E ")][-1:]
    return lines[0].strip() if lines else ""
