"""Windows before the end of each series: how long to train, what to blend, how wide intervals are.

The width follows split conformal prediction by step of the horizon: the quantile, over held-out
windows, of the distance from the median in units of the interval's half width (Romano, Patterson
and Candes, arXiv 1905.03222, with distances scaled instead of shifted). What few windows say is
taken for as much as it is worth (``trust``).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from paratime.errors import NotFinite
from paratime.forecast.data.datamodule import SHORTEST
from paratime.forecast.data.rows import Ints
from paratime.forecast.data.series import Collection, channels_with_values, until
from paratime.forecast.data.support import support
from paratime.forecast.evaluation.backtest import Backtest, backtest
from paratime.forecast.evaluation.baselines import seasonal_naive
from paratime.forecast.evaluation.metrics import Floats
from paratime.forecast.evaluation.rolling import RollingWindows, with_future
from paratime.forecast.fitting.members import Member, members
from paratime.forecast.model.calibration import FEW, INTERVAL, Calibration, Evidence
from paratime.forecast.model.task import ForecastTask

ENOUGH = 32
"""Windows that a collection of few series is asked for."""

TIMES = 3
"""Windows that a series of many is asked for, since all of them share what happens at one time."""

SHARE = 4
"""A series holds out at most one step in so many."""

ORIGINS = 64
"""Most origins of a series."""

FORECASTS = 4096
"""Most forecasts of a collection of few series; each of many series has one."""

PROBED = 256
"""Most series that are scored while a network trains."""

PRIOR = 4
"""Windows that are trusted half."""

TOLERANCE = 1.02
"""Losses within 2 % of the least count as equal: of such blends the one with most of the network is
chosen, since it still learns from what was held out, and narrower intervals are kept, since those
of many equal values can lose all width."""

Flags = NDArray[np.bool_]

WEIGHTS = np.linspace(0, 1, 11)
BOUNDS = 0.1, 10.0


@dataclass(frozen=True, eq=False)
class Holdout:
    """Windows at the end of series, which are not trained on.

    Attributes:
        collection: Series that end with the steps that are held out.
        training: All series without them.
        windows: Origins of a series.
        stride: Steps from one origin to the next.
        horizon: Steps H of a forecast.
        independent: Windows of all series that do not overlap.
        share: Share of all steps that ``training`` lacks.
    """

    collection: Collection
    training: Collection
    windows: int
    stride: int
    horizon: int
    independent: int
    share: float

    def loss(self, task: ForecastTask) -> float:
        """Return the mean weighted quantile loss of a network, on at most ``PROBED`` series.

        It is infinite where forecasts are not finite, so that it never counts as the best.
        """
        every = np.ones(len(self.collection.entries), dtype=bool)
        try:
            return _loss(self._forecasts(task, _some(self.collection, every, PROBED)))
        except NotFinite:
            return inf

    def calibrate(self, task: ForecastTask, steps: int) -> tuple[Calibration, str]:
        """Return a network's calibration, and the name of the statistical forecast in it.

        An output that location and scale do not simply move stays as it is, and so do forecasts
        near zero: a bound that many values reach has no centre that moves, and no width.

        Args:
            task: The network, trained for ``steps`` steps on ``training``.
            steps: Kept as evidence.
        """
        task.network.calibration = None
        network, member = self._forecasts(task, self.collection), self._member(task)
        naive, count = _loss(seasonal_naive(network.windows)), self._count(network)
        weight = 1.0
        factor: Floats = np.ones(self.horizon)
        evidence = Evidence(count, _loss(network), naive, _coverage(network), steps)
        if task.network.output.moves and not support(self.collection).near_zero:
            with _alone(task, member):
                statistical = self._forecasts(task, self.collection)
            weight, factor = self._choose(network, statistical)
            unseen = self._unseen(network, statistical)
            evidence = replace(evidence, loss=_loss(unseen), coverage=_coverage(unseen))
        made = Calibration.of(
            member.weights,
            member.spread,
            weight=weight,
            factor=torch.from_numpy(factor),
            evidence=evidence,
        )
        return made, member.name

    def _forecasts(self, task: ForecastTask, collection: Collection) -> Backtest:
        return backtest(task, collection, windows=self.windows, stride=self.stride)

    def _member(self, task: ForecastTask) -> Member:
        """Return the member that forecasts the whole past best, with its own width."""
        windows = self._past(task.spec.season)
        tried = []
        for member in _members(task):
            with _alone(task, member):
                found = backtest(task, self.collection, windows=windows, stride=self.stride)
            tried.append((member, found))
        member, found = min(tried, key=lambda pair: _sum(pair[1]))
        factor = widths(found, len(found.windows) // max(1, self.horizon // self.stride))
        return replace(member, spread=member.spread * torch.from_numpy(factor))

    def _past(self, season: int) -> int:
        """Return the number of windows in the past of a typical series, after two seasons."""
        steps = np.median([e["target"].shape[-1] for e in self.collection.entries])
        past = (int(steps) - max(2 * season, SHORTEST) - self.horizon) // self.stride + 1
        most = max(self.windows, min(ORIGINS, FORECASTS // len(self.collection.entries)))
        return max(self.windows, min(past, most))

    def _choose(self, network: Backtest, statistical: Backtest) -> tuple[float, Floats]:
        """Return the network's share, and the factors of the width (H,); none without windows."""
        if not (count := self._count(network)):
            return 0.0, np.ones(self.horizon)
        losses = np.array([_sum(_blended(network, statistical, x)) for x in WEIGHTS])
        weight = float(WEIGHTS[losses <= TOLERANCE * losses.min()].max()) * trust(count)
        return weight, widths(_blended(network, statistical, weight), count)

    def _count(self, found: Backtest) -> int:
        """Return the independent windows, without the share of those that hold no value."""
        known = ~np.isnan(found.windows.target).all((1, 2)) if len(found.windows) else np.zeros(1)
        return ceil(self.independent * known.mean())

    def _unseen(self, network: Backtest, statistical: Backtest) -> Backtest:
        """Return calibrated forecasts, those of each half of the windows by the other half."""
        halves, parts = _halves(network.windows), []
        for scored, chosen in (halves, halves[::-1]):
            if not len(scored):
                continue
            weight, factor = self._choose(_rows(network, chosen), _rows(statistical, chosen))
            blend = _blended(_rows(network, scored), _rows(statistical, scored), weight)
            parts.append(_widened(blend, factor))
        order = np.argsort(np.concatenate(halves))
        return replace(network, quantiles=np.concatenate([x.quantiles for x in parts])[order])


def hold_out(collection: Collection, horizon: int) -> Holdout | None:
    """Choose windows to hold out, or none if the series are too short.

    Series of at least three horizons hold out whole windows, all of them together ``ENOUGH`` if
    they are long enough. Shorter ones hold out a quarter of their steps, which tell of the first
    steps of the horizon. A series ends with its last value, and begins with its first one.

    Args:
        collection: The series of the training.
        horizon: Steps H of a forecast.
    """
    ended = [until(e, 1 + _known(e).max(initial=-1)) for e in collection.entries]
    collection = replace(collection, entries=ended)
    lengths = _lengths(collection)
    long, short = lengths >= 3 * horizon, lengths >= 2 * SHORTEST
    if long.mean() >= 0.5:
        found = _whole(collection, horizon, lengths, long)
    elif short.any():
        found = _partial(collection, horizon, lengths, short)
    else:
        return None
    return found if channels_with_values(found.training.entries).all() else None


def last_window(collection: Collection, training: Collection, horizon: int) -> Holdout:
    """Hold out the last window of each series of a collection, apart from those of the training."""
    return Holdout(collection, training, 1, 1, horizon, len(collection.entries), share=0.0)


def _whole(collection: Collection, horizon: int, lengths: Ints, long: Flags) -> Holdout:
    """Hold out whole windows of the long series."""
    several = int(np.median(lengths[long])) // (SHARE * horizon)
    windows = max(1, min(max(TIMES, ceil(ENOUGH / long.sum())), several))
    steps, most = windows * horizon, max(1, min(ORIGINS, FORECASTS // int(long.sum())))
    stride = max(1, ceil((steps - horizon) / max(1, most - 1)))
    data = _some(collection, lengths >= steps + horizon)  # at least half of the long ones
    training = _before(collection, steps)
    return Holdout(
        data,
        training,
        windows=(steps - horizon) // stride + 1,
        stride=stride,
        horizon=horizon,
        independent=windows * len(data.entries),
        share=1 - _steps(training) / _steps(collection),
    )


def _partial(collection: Collection, horizon: int, lengths: Ints, short: Flags) -> Holdout:
    """Hold out the first steps of a window of series that are shorter than three windows."""
    steps = min(horizon, max(1, int(np.median(lengths[short])) // SHARE))
    data = with_future(_some(collection, short & (lengths >= steps + SHORTEST)), horizon - steps)
    training = _before(collection, steps)
    share = 1 - _steps(training) / _steps(collection)
    return replace(last_window(data, training, horizon), share=share)


def _before(collection: Collection, steps: int) -> Collection:
    """Return the series without their last steps, but those that are too short whole."""
    cut = [
        until(e, e["target"].shape[-1] - steps) if n - steps >= SHORTEST else e
        for e, n in zip(collection.entries, _lengths(collection), strict=True)
    ]
    return replace(collection, entries=cut)


def _known(entry: dict[str, Any]) -> Ints:
    """Return the steps that have a value in any channel."""
    return np.flatnonzero(~np.isnan(np.atleast_2d(entry["target"])).all(axis=0))


def _lengths(collection: Collection) -> Ints:
    """Return the steps of each series from its first value on."""
    return np.array([e["target"].shape[-1] - _first(e) for e in collection.entries])


def _first(entry: dict[str, Any]) -> int:
    known = _known(entry)
    return int(known[0]) if known.size else int(entry["target"].shape[-1])


def _some(collection: Collection, chosen: Flags, most: int = FORECASTS) -> Collection:
    """Return chosen series, evenly spread if they are too many."""
    places = np.flatnonzero(chosen)
    spread = np.unique(np.linspace(0, len(places) - 1, most).round().astype(int))
    return replace(collection, entries=[collection.entries[i] for i in places[spread]])


def _steps(collection: Collection) -> int:
    return sum(e["target"].shape[-1] for e in collection.entries)


def trust(windows: int) -> float:
    """Return what windows that do not overlap count for, from 0 to 1.

    A few say little against a statistical forecast and the width that a model claims. Their say
    grows with their square, since a blend with what many windows refute costs accuracy.
    """
    return windows**2 / (windows**2 + PRIOR**2)


def _members(task: ForecastTask) -> list[Member]:
    network = task.network
    return members(network.shape.prediction_length, network.shape.season, network.remembered)


@contextmanager
def _alone(task: ForecastTask, member: Member) -> Iterator[None]:
    """Let a statistical member forecast in a network's place."""
    before = task.network.calibration
    task.network.calibration = member.calibration().to(task.device)
    try:
        yield
    finally:
        task.network.calibration = before


def _sum(found: Backtest) -> float:
    """Return the sum of the quantile losses, infinite if a forecast is NaN."""
    return float(np.nan_to_num(found.quantile_loss, nan=np.inf))


def _loss(found: Backtest) -> float:
    """Return the mean weighted quantile loss, infinite where it is undefined."""
    return float(np.nan_to_num(found.overall["mean_wQL"], nan=np.inf))


def _coverage(found: Backtest) -> float:
    return found.overall["coverage_80"]


def _blended(network: Backtest, other: Backtest, weight: float) -> Backtest:
    return replace(network, quantiles=weight * network.quantiles + (1 - weight) * other.quantiles)


def _widened(found: Backtest, factor: Floats) -> Backtest:
    centre = found.quantile(0.5)[..., None]
    wide = centre + factor[:, None, None] * (found.quantiles - centre)
    return replace(found, quantiles=wide)


def _rows(found: Backtest, rows: Ints) -> Backtest:
    w = found.windows
    some = RollingWindows(w.collection, w.prediction_length, w.series[rows], w.origin[rows])
    return Backtest(some, found.levels, found.quantiles[rows], found.mean[rows])


def _halves(windows: RollingWindows) -> tuple[Ints, Ints]:
    """Return the windows of every other series, or the earlier and later ones of one series."""
    of = np.unique(windows.series, return_inverse=True)[1]
    first = of % 2 == 0 if of.max() > 0 else np.arange(len(of)) < (len(of) + 1) // 2
    return np.flatnonzero(first), np.flatnonzero(~first)


def widths(found: Backtest, independent: int) -> Floats:
    """Return the factor (H,) by which the 80 % interval covers its share of the targets."""
    low, centre, high = (found.quantile(x) for x in (INTERVAL[0], 0.5, INTERVAL[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(found.windows.target - centre) / ((high - low) / 2)
    steps = distance.shape[1]
    share = min(1.0, (INTERVAL[1] - INTERVAL[0]) * (1 + 1 / max(1, independent)))
    near, least = ceil(100 / max(1, independent)) // 2, 1.0 if independent < FEW else BOUNDS[0]
    factor = np.ones(steps)
    for h in range(steps):
        seen = distance[:, max(0, h - near) : h + near + 1]
        seen = seen[np.isfinite(seen)]
        if seen.size:
            wanted = np.quantile(seen, share, method="higher")
            factor[h] = np.clip(wanted, least, BOUNDS[1]) ** trust(independent)
        elif h:
            factor[h] = factor[h - 1]
    fair = _sum(_widened(found, factor)) <= TOLERANCE * _sum(found)
    return factor if fair else factor.clip(min=1.0)
