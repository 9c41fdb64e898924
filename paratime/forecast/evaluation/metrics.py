"""The metrics of a backtest, as GluonTS defines them, over any part of it.

All of them are ratios of sums over values, so that overall, by series and by step of the horizon
they follow from the same sums. Missing targets count nowhere. Where a ratio has no meaning, what
GluonTS does is done:

- a value whose absolute error cannot be scaled, since the seasonal error is 0 or unknown, is left
  out of MASE, and one is left out of sMAPE where target and forecast are both 0;
- mean_wQL is infinite where all targets are 0 and a forecast is not, and NaN where all are 0;
- any metric of nothing is NaN.

A forecast that is NaN, as of a model that diverged, makes every metric NaN that it is part of.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.forecast.model.outputs import LEVELS

Floats = NDArray[np.floating[Any]]

REQUIRED = (0.025, *LEVELS, 0.975)
"""The levels that the metrics need."""

INTERVALS = {"coverage_80": (0.1, 0.9), "coverage_95": (0.025, 0.975)}
METRICS = ("mean_wQL", "MASE", "sMAPE", "RMSE", *INTERVALS)


@dataclass(frozen=True, eq=False)
class Sums:
    """Numerators and denominators of the metrics.

    Attributes:
        total: (..., 14): nine quantile losses; then, in the order of ``METRICS``, what the means
            are of.
        weight: (..., 14): nine times the magnitude of the target; then how many values there are.
    """

    total: Floats
    weight: Floats

    def over(self, axes: int | tuple[int, ...]) -> "Sums":
        """Add up over some axes."""
        return Sums(self.total.sum(axes), self.weight.sum(axes))

    def metrics(self) -> dict[str, Floats]:
        """Return the metrics (...) by name."""
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = self.total / self.weight
        values = {"mean_wQL": ratios[..., : len(LEVELS)].mean(-1)}
        values |= {name: ratios[..., len(LEVELS) + i] for i, name in enumerate(METRICS[1:])}
        return values | {"RMSE": np.sqrt(values["RMSE"])}


def sums(
    target: Floats,
    quantiles: Floats,
    mean: Floats,
    seasonal_error: Floats,
    levels: tuple[float, ...],
) -> Sums:
    """Return the sums over the channels of N forecasts, (N, H, 14).

    Args:
        target: (N, H, C), NaN where missing.
        quantiles: (N, H, C, levels).
        mean: (N, H, C).
        seasonal_error: (N, C), NaN where unknown.
        levels: Rising; ``REQUIRED`` are among them.
    """
    target, mean = target.astype(np.float64), mean.astype(np.float64)
    at = {x: quantiles[..., levels.index(x)].astype(np.float64) for x in REQUIRED}
    error, size, there = np.abs(target - at[0.5]), np.abs(target), ~np.isnan(target)
    with np.errstate(invalid="ignore", divide="ignore"):
        smape = 2 * error / (size + np.abs(at[0.5]))
        scaled = error / seasonal_error[:, None]
    means = [scaled, smape, np.square(target - mean)]
    means += [_inside(target, at[a], at[b]) for a, b in INTERVALS.values()]
    losses = [2 * np.abs((target - at[x]) * ((at[x] >= target) - x)) for x in LEVELS]
    counted = [there] * (len(LEVELS) + len(means))
    counted[len(LEVELS)] = there & (seasonal_error > 0)[:, None]
    counted[len(LEVELS) + 1] = there & (size + np.abs(at[0.5]) != 0)
    where = np.stack(counted, axis=-1)
    total = np.stack([*losses, *means], axis=-1)
    weight = np.stack([size] * len(LEVELS) + [np.ones_like(size)] * len(means), axis=-1)
    return Sums(*(np.where(where, x, 0.0).sum(axis=2) for x in (total, weight)))


def _inside(target: Floats, low: Floats, high: Floats) -> Floats:
    """Return 1 where a target lies in its interval, 0 where not, NaN where there is no interval."""
    inside = (low <= target) & (target <= high)
    return np.where(np.isnan(low) | np.isnan(high), np.nan, inside)
