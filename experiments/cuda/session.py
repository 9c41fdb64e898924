"""Work through jobs in their order, before a deadline, and keep every row at once."""

import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from clock import Clock
from gate import Gate
from measure import Job
from results import Table

from paratime.errors import describe_error

EXPECTED = {"kernel": 4.0, "layer": 6.0, "method": 4.0, "language": 25.0}
"""Seconds of a job by its stage, before one of them has been measured."""


@dataclass(frozen=True)
class Deadline:
    """When everything must be over.

    Attributes:
        seconds: From the beginning to the end.
        now: Seconds of a clock.
        began: What it showed at the beginning.
    """

    seconds: float = math.inf
    now: Callable[[], float] = time.monotonic
    began: float = field(default=math.nan)

    def __post_init__(self) -> None:
        """Begin now, unless it is said when."""
        if math.isnan(self.began):
            object.__setattr__(self, "began", self.now())

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self.now() - self.began

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return self.seconds - self.spent


@dataclass(frozen=True)
class Skipped:
    """A job that was not timed, or not all of it.

    Attributes:
        name: Its name and format.
        reason: Why, in one line.
        failed: Whether that is an error, not a lack of time, memory or a package.
    """

    name: str
    reason: str
    failed: bool = False


def work_through(
    jobs: Iterable[Job], gate: Gate, clock: Clock, times: Table, deadline: Deadline
) -> Iterator[Skipped]:
    """Time what is right and fits, and yield what is not timed.

    A job is taken to last as long as the longest of its stage so far.
    """
    slowest: dict[str, float] = {}
    for job in jobs:
        name = f"{job.name}, {job.format}"
        if not gate.opens(job.needs, job.format):
            yield Skipped(name, "its kernels are wrong", failed=True)
        elif deadline.left < slowest.get(job.what, EXPECTED[job.what]):
            yield Skipped(name, "no time is left")
        else:
            began = deadline.spent
            print(f"{began:6.1f} s  {job.what:8}  {name}", flush=True)
            yield from _measure(job, name, clock, times)
            slowest[job.what] = max(slowest.get(job.what, 0.0), deadline.spent - began)


def _measure(job: Job, name: str, clock: Clock, times: Table) -> Iterator[Skipped]:
    """Add a job's rows; yield why there are not all of them."""
    try:
        for row in job.rows(clock):
            times.add(row)
    except Exception as error:
        lacks = isinstance(error, torch.OutOfMemoryError | ImportError)
        yield Skipped(name, describe_error(error), failed=job.ours and not lacks)
    finally:
        if torch.cuda.is_available():
            gc.collect()
            torch.cuda.empty_cache()
