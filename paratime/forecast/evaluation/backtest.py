"""Backtests: the accuracy of forecasts from many past origins of every series.

Each step of the network depends only on the past, so one pass over a series serves all of its
origins; the history is not read again for each of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from paratime.errors import InputError, check_at_least, check_finite
from paratime.forecast.data.features import match_features
from paratime.forecast.data.series import Collection
from paratime.forecast.data.windows import placed, to_tensors, with_origins
from paratime.forecast.evaluation.metrics import METRICS, REQUIRED, Floats, Sums, sums
from paratime.forecast.evaluation.rolling import RollingWindows, rolling
from paratime.forecast.model.outputs import LEVELS

if TYPE_CHECKING:
    from paratime.forecast.model.task import ForecastTask
    from paratime.forecast.model.trained import ForecastModel

PIECE = 2**24
"""Values that the head computes at a time."""


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of N windows, H steps and C channels, with their targets.

    Attributes:
        windows: Names, origins, targets, and seasonal errors up to the origins.
        levels: Rising levels of the quantiles.
        quantiles: (N, H, C, levels).
        mean: (N, H, C).
    """

    windows: RollingWindows
    levels: tuple[float, ...]
    quantiles: Floats
    mean: Floats

    @property
    def overall(self) -> dict[str, float]:
        """The metrics over everything, by name."""
        return {name: float(x) for name, x in self._sums.over((0, 1)).metrics().items()}

    @property
    def quantile_loss(self) -> float:
        """The sum of the quantile losses, which is known even if all targets are 0."""
        return float(self._sums.over((0, 1)).total[: len(LEVELS)].sum())

    @property
    def per_step(self) -> pd.DataFrame:
        """The metrics by step of the horizon, from 1."""
        steps = pd.RangeIndex(1, self.windows.prediction_length + 1, name="step")
        return pd.DataFrame(self._sums.over(0).metrics(), index=steps)

    @property
    def per_channel(self) -> pd.DataFrame:
        """The metrics by channel of the target."""
        names = pd.Index(self.windows.collection.channel_names, name="channel")
        parts = [self._sums_of(slice(i, i + 1)).over((0, 1)).metrics() for i in range(len(names))]
        return pd.DataFrame(parts, index=names).astype(float)

    @property
    def per_series(self) -> pd.DataFrame:
        """The metrics by series, with ``item_id`` and the number of ``windows``."""
        firsts, over = self.windows.firsts, self._sums.over(1)
        names = [self.windows.item_id[i] for i in firsts]
        parts = Sums(*(np.add.reduceat(x, firsts) for x in (over.total, over.weight)))
        counts = np.diff(firsts, append=len(self.windows))
        table = {"item_id": names, "windows": counts} | parts.metrics()
        return pd.DataFrame(table, columns=["item_id", "windows", *METRICS])

    @property
    def intervals(self) -> pd.DataFrame:
        """The share of targets in each central interval, ``empirical``, by its ``nominal`` one."""
        target, rows = self.windows.target, []
        valid = ~np.isnan(target)
        for low, level in enumerate(self.levels):
            high = next((i for i, x in enumerate(self.levels) if abs(x + level - 1) < 1e-9), low)
            if high > low:
                below, above = self.quantiles[..., low], self.quantiles[..., high]
                inside = (below <= target) & (target <= above)
                share = inside[valid].mean() if valid.any() else np.nan
                rows.append((self.levels[high] - level, share))
        return pd.DataFrame(rows[::-1], columns=["nominal", "empirical"])

    def quantile(self, level: float) -> Floats:
        """Return the quantiles (N, H, C) of one of the levels."""
        return self.quantiles[..., self.levels.index(level)]

    @cached_property
    def _sums(self) -> Sums:
        return self._sums_of(slice(None))

    def _sums_of(self, channels: slice) -> Sums:
        w = self.windows
        return sums(
            w.target[:, :, channels],
            quantiles=self.quantiles[:, :, channels],
            mean=self.mean[:, :, channels],
            seasonal_error=w.seasonal_error[:, channels],
            levels=self.levels,
        )


def with_required(levels: Sequence[float]) -> tuple[float, ...]:
    """Return levels and those that the metrics need, in rising order.

    Raises:
        InputError: A level is not between 0 and 1.
    """
    if not all(0 < level < 1 for level in levels):
        raise InputError("levels", "numbers between 0 and 1", str(tuple(levels)), "correct them")
    return tuple(sorted({*REQUIRED, *levels}))


def backtest(
    task: "ForecastTask | ForecastModel",
    collection: Collection,
    *,
    windows: int,
    stride: int | None = None,
    levels: Sequence[float] = (),
    batch_size: int = 32,
) -> Backtest:
    """Forecast the last windows of every series, each from the data up to its origin.

    Args:
        task: A trained task.
        collection: Series of the same kind as in training.
        windows: Windows of a series, at most; the last one ends where the series does.
        stride: Steps from one origin to the next; the horizon by default.
        levels: Levels of quantiles, in addition to those of the metrics.
        batch_size: Series that are read at a time.

    Raises:
        InputError: The series are of another kind, or too short; or forecasts are infinite or NaN.
    """
    check_at_least(1, batch_size=batch_size)
    season = task.spec.season if collection.season is None else collection.season
    collection = replace(match_features(collection, task.spec), season=season)
    chosen = rolling(collection, task.spec.prediction_length, windows, stride)
    levels = with_required(levels)
    with _evaluating(task):
        parts = [_forecasts(task, x, levels) for x in _batches(task, chosen, batch_size)]
    quantiles, mean = (np.concatenate(x) for x in zip(*parts, strict=True))
    _check_forecasts(chosen, np.isfinite(quantiles).all((1, 2, 3)) & np.isfinite(mean).all((1, 2)))
    return Backtest(chosen, levels=levels, quantiles=quantiles, mean=mean)


def _check_forecasts(windows: RollingWindows, finite: NDArray[np.bool_]) -> None:
    """Refuse forecasts that are not finite, by the names of their series."""
    by_series = np.logical_and.reduceat(finite, windows.firsts).tolist()
    names = (f"series {windows.item_id[i]!r}" for i in windows.firsts)
    check_finite("forecast", zip(names, by_series, strict=True))


@contextmanager
def _evaluating(task: "ForecastTask | ForecastModel") -> Iterator[None]:
    training = task.training
    task.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        task.train(training)


def _batches(
    task: "ForecastTask | ForecastModel", windows: RollingWindows, size: int
) -> Iterator[dict[str, Tensor]]:
    standard, length = task.spec.standard, windows.prediction_length
    parameter = next(task.parameters())
    origins = np.split(windows.origin, windows.firsts[1:])
    places = list(zip(windows.series[windows.firsts], origins, strict=True))
    for first in range(0, len(places), size):
        series, chosen = zip(*places[first : first + size], strict=True)
        prepared = [to_tensors(windows.collection.entries[i], standard, length) for i in series]
        batch = with_origins(prepared, [torch.from_numpy(x) for x in chosen], length)
        yield placed(batch, parameter)


def _forecasts(
    task: "ForecastTask | ForecastModel", batch: dict[str, Tensor], levels: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Return quantiles (N, H, C, levels) and mean (N, H, C) of a batch's origins."""
    net, future = task.network, batch["future"]
    memory = net.remember(batch, batch["origin"])
    hidden = 0 if net.ahead is None else net.ahead.out.in_features
    numbers = net.shape.prediction_length * (net.shape.target * len(levels) + hidden)
    quantiles, means = [], []
    for rows in torch.arange(len(future)).split(max(1, PIECE // numbers)):
        found = net.forecast(memory.map(itemgetter(rows)), future[rows])
        quantiles.append(net.output.quantiles(*found, levels).cpu().numpy())
        means.append(net.output.mean(*found).cpu().numpy())
    return np.concatenate(quantiles), np.concatenate(means)
