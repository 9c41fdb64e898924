"""What a GPU gives: its kernels built, held against the CPU, and timed, in nine minutes.

    python experiments/cuda/report.py --folder /tmp/report
    python experiments/cuda/report.py --dry-run     # the same in emulation, on a CPU

It needs torch, numpy, pandas, pytest, a C++ compiler and nvcc; for the steps of a language model
Lightning and torchmetrics, too. First it builds the kernels for this device alone and runs the
tests of ``tests/gpu``. Then it times what matters most first, and names what it has no time for.
All rows are in the folder as soon as they are measured. It ends with status 1 where a kernel is
wrong or a test fails, 2 without a GPU, and 3 where it hangs.
"""

import argparse
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import NoReturn

import checkout
import numpy as np
import pandas as pd
import torch
from clock import Clock, EventClock, HostClock
from gate import errors, find_device, gate_of, refuse
from measure import DRY, QUICK, Sizes, jobs
from parity import Parity, run_tests
from results import ERRORS, TIMES, Table, aligned, crossovers, summary, thresholds
from session import Deadline, Skipped, work_through

from paratime.ops.native import build, library, targets

HERE = Path(__file__).parent
RESERVE = 10.0
"""Seconds that are kept for the summary."""

TESTS = 0.45
"""Share of all time after which tests are stopped."""

SHOWN = 25
"""Most lines of one list in the summary."""


@dataclass(frozen=True)
class Place:
    """Where a report is made.

    Attributes:
        where: The device.
        name: Its name.
        clock: What times work there.
        sizes: How large the work is.
        tests: What pytest is asked to run.
        kernels: What is built.
        context: What it all runs in.
    """

    where: torch.device
    name: str
    clock: Clock
    sizes: Sizes
    tests: tuple[str, ...]
    kernels: build.Target
    context: AbstractContextManager[None]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Build, test, time and print everything."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE / "report", help="where results go")
    parser.add_argument("--minutes", type=float, default=9.0, help="when to end, at the latest")
    parser.add_argument("--dry-run", action="store_true", help="a small run in emulation, on a CPU")
    options = parser.parse_args(arguments)
    deadline = Deadline(60 * options.minutes, began=checkout.BEGAN)
    place = emulation() if options.dry_run else gpu()
    options.folder.mkdir(parents=True, exist_ok=True)
    with place.context:
        status = Report(place, options.folder, deadline).make()
    raise SystemExit(status)


def gpu() -> Place:
    """Return the GPU of this machine; without one, say so and end with status 2."""
    if not torch.cuda.is_available():
        refuse("this needs a GPU, and torch.cuda.is_available() says there is none")
    where = torch.device("cuda", torch.cuda.current_device())
    name = torch.cuda.get_device_name(where)
    target = targets.cuda(("".join(map(str, torch.cuda.get_device_capability(where))),))
    tests = ("-m", "gpu", "tests/gpu")
    clock = EventClock(where, runs=10, budget=300.0)
    return Place(where, name, clock, QUICK, tests, target, nullcontext())


def emulation() -> Place:
    """Return the place of a dry run: a CPU that executes the CUDA kernels thread by thread."""
    tests = ("tests/gpu/test_parity.py", "-k", "iterations_and_the_last or no_sequence")
    context = library.force_backend(targets.SIMT)
    cpu = torch.device("cpu")
    return Place(cpu, "emulation on a CPU", HostClock(), DRY, tests, targets.simt(), context)


class Report:
    """One report in the making.

    Args:
        place: Where it is made.
        folder: Where its files go.
        deadline: When it must be over.
    """

    def __init__(self, place: Place, folder: Path, deadline: Deadline) -> None:
        self.place, self.folder, self.deadline = place, folder, deadline
        self.accuracy = Table(folder / "accuracy.csv", ERRORS)
        self.times = Table(folder / "results.csv", TIMES, device=place.name)
        self.parity = Parity()
        self.skipped: list[Skipped] = []

    def make(self) -> int:
        """Do everything in its order; return the exit status."""
        watchdog = Timer(max(0.0, self.deadline.left - RESERVE / 2), self._give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            print(header(self.place.where, self.place.name), flush=True)
            self._build()
            self._test()
            self._time()
        finally:
            watchdog.cancel()
        print(self.text(), flush=True)
        return 0 if self.holds else 1

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        right = all(row["right"] for row in self.accuracy.rows)
        return self.parity.holds and right and not any(x.failed for x in self.skipped)

    def _build(self) -> None:
        wanted = (self.place.kernels, targets.cpu(targets.capabilities()[0]))
        with ThreadPoolExecutor() as workers:
            try:
                list(workers.map(build.find_or_build, wanted))
            except build.CannotBuild as error:
                refuse(f"this needs kernels, and they cannot be built: {error}")
        print(f"{self.deadline.spent:6.1f} s  built the {self.place.kernels.kernels}", flush=True)
        if self.place.where.type == "cuda":
            find_device()

    def _test(self) -> None:
        processes = max(2, min(8, (os.cpu_count() or 1) // 2))
        limit = max(1.0, TESTS * self.deadline.seconds - self.deadline.spent)
        folder = self.folder / "parity"
        self.parity = run_tests(folder, self.place.tests, processes, limit)
        print(f"{self.deadline.spent:6.1f} s  {self.parity.text()}", flush=True)

    def _time(self) -> None:
        for row in errors(self.place.where, self.place.sizes.gate):
            self.accuracy.add(row)
        before = Deadline(self.deadline.seconds - RESERVE, self.deadline.now, self.deadline.began)
        work, gate = jobs(self.place.where, self.place.sizes), gate_of(self.accuracy.rows)
        for skipped in work_through(work, gate, self.place.clock, self.times, before):
            self.skipped.append(skipped)
        table = pd.DataFrame(
            [(*key, n) for key, n in thresholds(crossovers(self.times.frame("method"))).items()],
            columns=["direction", "format", "channels"],
        )
        source = f"measured on {self.place.name}"
        table.assign(source=source).to_csv(self.folder / "thresholds.csv", index=False)

    def _give_up(self) -> None:
        """Print what there is, and end a process that hangs."""
        print(self.text(), "\nNot ended in time: something hangs.", flush=True)
        os._exit(3)

    def text(self) -> str:
        """Return the summary; what went wrong comes last."""
        late = [x.name for x in self.skipped if not x.failed]
        wrong = [f"{x.name}: {x.reason}" for x in self.skipped if x.failed]
        parts = [
            summary(self.times),
            f"Errors against the CPU in float64\n{aligned(self.accuracy.frame())}",
            _list("Not timed, as there was no time, memory or package", late),
            _list("WRONG", wrong),
            self.parity.text() if len(self.parity.failed) <= SHOWN else self.parity.text()[:4000],
            f"{self.place.name}: {'all is right' if self.holds else 'NOT ALL IS RIGHT'}; "
            f"{self.deadline.spent:.0f} s; results are in {self.folder}",
        ]
        return "\n\n" + "\n\n".join(filter(None, parts))


def _list(title: str, lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join([f"{title}:", *lines[:SHOWN], *more]) if lines else ""


def header(where: torch.device, name: str) -> str:
    """Return the device and all versions, one line a fact."""
    facts = {"device": name, "python": f"{platform.python_version()}, {os.cpu_count()} cores"}
    facts["torch"] = f"{torch.__version__}, CUDA {torch.version.cuda}, numpy {np.__version__}"
    facts["nvcc"] = _said([*(targets.nvcc() or ("nvcc",)), "--version"])
    facts["c++"] = _said([*(targets.compiler() or ("c++",)), "--version"], first=True)
    if where.type == "cuda":
        x = torch.cuda.get_device_properties(where)
        facts["device"] += f", capability {x.major}.{x.minor}, {x.multi_processor_count} "
        facts["device"] += f"multiprocessors, {x.total_memory / 2**30:.0f} GiB"
        facts["cuDNN"] = str(torch.backends.cudnn.version())
        facts["driver"] = _said(
            ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], first=True
        )
    return "\n".join(f"{name:8} {value}" for name, value in facts.items())


def _said(command: Sequence[str], first: bool = False) -> str:
    """Return the last line that a command prints, or its first one."""
    if shutil.which(command[0]) is None:
        return "none"
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.strip().splitlines() or [f"status {done.returncode}"]
    return lines[0 if first else -1]


if __name__ == "__main__":
    main()
