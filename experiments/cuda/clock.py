"""Time work on a CUDA device by events, from a cache that holds none of its data."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

Work = Callable[[], object]
Clock = Callable[[Work], list[float]]
"""From work to the milliseconds of some runs of it."""

FLUSH = 2**30
"""Bytes that are zeroed before a run: more than any L2 holds, and time enough for the host to hand
over the work's launches, so that events measure the device."""


@dataclass(frozen=True)
class EventClock:
    """Times work; one run may take a budget on its own, and is then the only one.

    Attributes:
        device: Where the work runs.
        runs: Most runs that are timed.
        budget: Milliseconds after which no further run begins.
    """

    device: torch.device
    runs: int = 20
    budget: float = 2000.0

    def __call__(self, work: Work) -> list[float]:
        """Warm up, and return the milliseconds of every timed run."""
        buffer = torch.empty(FLUSH, dtype=torch.uint8, device=self.device)
        once = self._run(work, buffer)
        if once < self.budget:
            self._run(work, buffer)
        times: list[float] = []
        while len(times) < self.runs and (not times or sum(times) < self.budget):
            times.append(self._run(work, buffer))
        return times

    def _run(self, work: Work, buffer: torch.Tensor) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        buffer.zero_()
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize(self.device)
        return float(begin.elapsed_time(end))


@dataclass(frozen=True)
class HostClock:
    """Times work on a CPU, one run of it: enough to show that everything works."""

    def __call__(self, work: Work) -> list[float]:
        """Return the milliseconds of one run."""
        began = time.perf_counter()
        work()
        return [1e3 * (time.perf_counter() - began)]


def quartiles(times: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles of times, as columns of a table."""
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75))
    return {"ms": float(median), "q1": float(low), "q3": float(high)}
