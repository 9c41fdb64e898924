"""Statistical forecasts that need no training, as linear maps of the last values of a series.

They take what a network remembers, in units of its location and scale, so that a calibrated network
blends them without a second model: its streams, samples and backtests include them.
"""

from dataclasses import dataclass
from math import pi, sqrt

import torch
from torch import Tensor

from paratime.forecast.model.calibration import Calibration

HALF = 1.2816
"""Half the width of a standard normal distribution's 80 % interval."""

DIFFERENCE = sqrt(pi / 2)
"""Standard deviation of a normal difference, relative to its mean magnitude: the scale."""


@dataclass(frozen=True, eq=False)
class Member:
    """A linear forecast.

    Attributes:
        name: What people call it.
        weights: (H, R), of the last values, newest first, as distances from their mean.
        spread: Half the width of an 80 % interval, (H,), in scales.
    """

    name: str
    weights: Tensor
    spread: Tensor

    def calibration(self) -> Calibration:
        """Return a calibration that forecasts with this member alone."""
        return Calibration.of(self.weights, self.spread)


def members(horizon: int, season: int, remembered: int) -> list[Member]:
    """Return the members; the first one is seasonal naive, or naive without a season.

    Deviations grow as those of a seasonal random walk (Hyndman and Athanasopoulos, Forecasting:
    Principles and Practice, 5.5).

    Args:
        horizon: Steps H of a forecast.
        season: Steps of a season, 1 for none.
        remembered: Last values R.
    """
    ahead = torch.arange(horizon)
    walk = HALF * DIFFERENCE * (ahead // season + 1).sqrt()
    again = _picked(season - 1 - ahead % season, remembered)
    found = [Member("seasonal naive" if season > 1 else "naive", again, walk)]
    if season > 1:
        naive = _picked(torch.zeros_like(ahead), remembered)
        found.append(Member("naive", naive, walk))
    flat = torch.full((horizon,), HALF * DIFFERENCE / sqrt(2))
    found.append(Member("the mean", torch.zeros(horizon, remembered), flat))
    if (drift := _drift(season, remembered)) is not None:
        growth = (ahead // season + 1)[:, None] if season > 1 else (ahead + 1)[:, None]
        name = "seasonal naive with drift" if season > 1 else "naive with drift"
        found.append(Member(name, again + growth * drift, walk))
    return found


def _picked(lag: Tensor, remembered: int) -> Tensor:
    """Return weights (H, R) that choose a lag for each step."""
    return torch.nn.functional.one_hot(lag, remembered).float()


def _drift(season: int, remembered: int) -> Tensor | None:
    """Return weights (R,) of the growth from season to season, or from step to step."""
    weights = torch.zeros(remembered)
    if season == 1:
        weights[0], weights[-1] = 1 / (remembered - 1), -1 / (remembered - 1)
        return weights
    if remembered < 2 * season:
        return None
    weights[:season], weights[season : 2 * season] = 1 / season, -1 / season
    return weights
