"""What an observation and a forecast cost while a series goes on, on one core.

The model is the default recipe, a ParaGRU of two layers and width 64, over half-hourly values; its
weights do not matter here. Histories are read in one pass, and forecasts from them are first
compared with those of the same steps taken one by one. Times are in milliseconds; the least of them
is what a machine that others use as well would take by itself.
"""

import resource
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import torch

from paratime.forecast import Forecaster, ForecastTask, InMemory, Recipe, SeriesData, from_gluonts

FREQ, SEASON, HORIZON = "30min", 48, 48
STEP = timedelta(minutes=30)
HISTORIES = (10**3, 10**4, 10**5)
REPEATS = 400
SERIES = 10_000


def main() -> None:
    """Check, measure, and print a table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = SeriesData(InMemory(from_gluonts([history(1000)])), HORIZON)
    series = data.spec
    many(trained(series, 96))
    for lags in (48, 96):
        task = trained(series, lags)
        print(f"\n{lags} lags; one pass and steps differ by {difference(task):.1e} of the scale\n")
        heads = ("read", "update", "least", "p95", "predict", "least", "p95")
        print(f"{'history':>8}" + "".join(f"{head:>9}" for head in heads))
        for steps in HISTORIES:
            print(f"{steps:>8}" + "".join(f"{ms:>9.2f}" for ms in measure(task, steps)))


def trained(series: dict[str, object], lags: int) -> ForecastTask:
    """Return a model with weights such that its forecasts depend on its state."""
    task = Recipe(lags=lags).task(series)
    torch.nn.init.normal_(task.network.direct.weight, std=0.1)
    return task


def history(steps: int, number: int = 0) -> dict[str, object]:
    """Return a data entry: a daily wave with noise."""
    random, t = np.random.default_rng(number), np.arange(steps)
    target = 10 + 3 * np.sin(2 * np.pi * t / SEASON) + random.normal(size=steps)
    return {"item_id": f"series {number}", "start": pd.Period("2015-01-01", FREQ), "target": target}


def difference(task: ForecastTask) -> float:
    """Return how far forecasts from a history that is read, and from its steps, lie apart."""
    entry, whole, steps = history(500), Forecaster(task), Forecaster(task)
    whole.add(entry)
    for number, value in enumerate(entry["target"]):
        steps.update("series 0", datetime(2015, 1, 1) + number * STEP, value)
    made = [f.predict("series 0").forecast_array for f in (whole, steps)]
    return float(np.abs(made[0] - made[1]).max() / entry["target"].std())


def measure(task: ForecastTask, steps: int) -> list[float]:
    """Return milliseconds to read a history, and of updates and forecasts behind it."""
    forecaster, entry = Forecaster(task), history(steps)
    began = time.perf_counter()
    forecaster.add(entry)
    read = 1000 * (time.perf_counter() - began)
    times = iter(datetime(2015, 1, 1) + (steps + k) * STEP for k in range(REPEATS))
    update = timed(lambda: forecaster.update("series 0", next(times), 10.0))
    return [read, *update, *timed(lambda: forecaster.predict("series 0"))]


def timed(action: Callable[[], object]) -> list[float]:
    """Return median, least and 95th percentile of an action, in milliseconds."""
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        action()
        found.append(1000 * (time.perf_counter() - began))
    return [statistics.median(found), min(found), statistics.quantiles(found, n=20)[-1]]


def many(task: ForecastTask) -> None:
    """Print what many series take: memory, and a step of all of them at once."""
    before, forecaster = peak(), Forecaster(task)
    names = [f"series {k}" for k in range(SERIES)]
    for k in range(4):
        began = time.perf_counter()
        forecaster.update_many([(name, datetime(2015, 1, 1) + k * STEP, 1.0) for name in names])
        ms = 1000 * (time.perf_counter() - began)
    print(f"{SERIES} series take {peak() - before:.0f} MiB at the peak")
    print(f"a step of all of them at once takes {ms:.0f} ms, {ms / SERIES:.3f} each")


def peak() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
