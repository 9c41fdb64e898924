"""The metrics of a backtest, as GluonTS defines them, over any part of it.

All metrics are ratios of sums over values, so overall scores and those by series and by step of the
horizon follow from the same sums. Missing targets are left out. Undefined ratios are as in GluonTS:

- MASE leaves out values whose seasonal error is 0 or unknown; sMAPE leaves out values where target
  and forecast are both 0;
- mean_wQL is infinite if all targets are 0 and a forecast is not, and NaN if all are 0;
- any metric of no values is NaN.

A forecast of NaN, such as one of a diverged model, makes every metric that includes it NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.forecast.model.outputs import LEVELS

Floats = NDArray[np.floating[Any]]

REQUIRED = (0.025, *LEVELS, 0.975)
"""The quantile levels of the metrics."""

INTERVALS = {"coverage_80": (0.1, 0.9), "coverage_95": (0.025, 0.975)}
METRICS = ("mean_wQL", "MASE", "sMAPE", "RMSE", *INTERVALS)


@dataclass(frozen=True, eq=False)
class Sums:
    """Numerators and denominators of the metrics.

    Attributes:
        total: (..., 14): nine quantile losses; then, in the order of ``METRICS``, the sums of the
            values whose means are the metrics.
        weight: (..., 14): nine times the magnitude of the target; then the number of values.
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
    *,
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
        levels: Rising levels that include ``REQUIRED``.
    """
    target, mean = target.astype(np.float64), mean.astype(np.float64)
    at = {x: quantiles[..., levels.index(x)].astype(np.float64) for x in REQUIRED}
    error, size, valid = np.abs(target - at[0.5]), np.abs(target), ~np.isnan(target)
    with np.errstate(invalid="ignore", divide="ignore"):
        smape = 2 * error / (size + np.abs(at[0.5]))
        scaled = error / seasonal_error[:, None]
    means = [scaled, smape, np.square(target - mean)]
    means += [_inside(target, at[a], at[b]) for a, b in INTERVALS.values()]
    losses = [2 * np.abs((target - at[x]) * ((at[x] >= target) - x)) for x in LEVELS]
    counted = [valid] * (len(LEVELS) + len(means))
    counted[len(LEVELS)] = valid & (seasonal_error > 0)[:, None]
    counted[len(LEVELS) + 1] = valid & (size + np.abs(at[0.5]) != 0)
    where = np.stack(counted, axis=-1)
    total = np.stack([*losses, *means], axis=-1)
    weight = np.stack([size] * len(LEVELS) + [np.ones_like(size)] * len(means), axis=-1)
    return Sums(*(np.where(where, x, 0.0).sum(axis=2) for x in (total, weight)))


def _inside(target: Floats, low: Floats, high: Floats) -> Floats:
    """Return 1 for a target inside its interval, 0 outside, NaN without an interval."""
    inside = (low <= target) & (target <= high)
    return np.where(np.isnan(low) | np.isnan(high), np.nan, inside)
