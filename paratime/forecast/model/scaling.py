"""Causal location and scale of a series at each step.

At step t they are computed from the observations of the last ``window`` steps: the mean, and the
mean absolute seasonal difference, which is the error of a seasonal naive forecast and the
denominator of MASE (Hyndman and Koehler, 2006). Until a season of such differences is known, the
standard deviation replaces the missing share. A floor, a share of the mean distance from the
location, keeps the scaled values finite after a calm stretch. Both statistics are computed in
float64 from differences, so a level added to all values moves the location and nothing else.

If all remembered values are equal, or none exists, the last scale stays; a series that never varied
has a typical share of its level. No step sees its future, so a forecast from any past origin is
what it would have been then, and streaming has to remember only the last values.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

FLOOR = 0.2
"""The floor, as a share of the mean distance from the location."""

FLOOR_OF_LEVEL = 0.02
"""The floor of version 0.1, as a share of the mean magnitude."""

TYPICAL = 0.02
"""Variation of a series that is not known to vary otherwise."""

RESOLUTION = 16 * torch.finfo(torch.float64).eps
"""Variation, relative to the location, that is rounding."""
PIECE = 2**22
"""Values that are gathered from windows at a time."""


@dataclass(frozen=True)
class Scaling:
    """Computes location and scale.

    Attributes:
        window: Steps of the statistics.
        season: Steps of a season, 1 for none.
        lags: Last values that are scaled, which the floor covers.
        variation: The share of its level by which a series varies, until it has varied. If 0, the
            floor is a share of the mean magnitude, as in version 0.1.
    """

    window: int
    season: int
    lags: int = field(default=0, repr=False)
    variation: float = field(default=TYPICAL, repr=False)

    @property
    def length(self) -> int:
        """Number of last values that the statistics read."""
        own = self.window + self.season
        return max(own, self.lags) if self.variation else own

    def of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and scale from the last values, newest first.

        Args:
            values: (..., length or more, C), NaN where missing.

        Returns:
            Both (..., C) in float64, NaN where unknown.
        """
        exact = values[..., : self.length, :].double()
        reference = newest(exact)
        exact = exact - reference
        recent = exact[..., : self.window, :]
        before = exact[..., self.season : self.season + self.window, :]
        differences = (recent - before).abs_()
        count, pairs = ((x == x).sum(-2) for x in (recent, differences))  # x != x where missing
        loc = recent.nansum(-2) / count
        spread = ((recent - loc.unsqueeze(-2)).square_().nansum(-2) / count).sqrt_()
        seasonal = differences.nansum(-2) / pairs.clamp(min=1)
        scale = torch.lerp(spread, seasonal, (pairs.to(spread) / self.season).clamp_(max=1))
        far = exact - loc.unsqueeze(-2) if self.variation else recent + reference
        scale = scale + (FLOOR if self.variation else FLOOR_OF_LEVEL) * far.abs().nanmean(-2)
        loc = loc + reference.squeeze(-2)
        return loc, torch.where(scale > RESOLUTION * loc.abs(), scale, torch.nan)

    def usable(self, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Replace unknown locations by 0, unknown scales by a share of the location, or by 1."""
        loc = loc.nan_to_num(0.0)
        share = self.variation * loc.abs()
        return loc, torch.where(scale.isnan(), torch.where(share > 0, share, 1.0), scale)


@dataclass(frozen=True)
class Trailing:
    """Statistics at each step.

    Attributes:
        loc: Location, (B, T, C), NaN while unknown.
        scale: Scale above 0, (B, T, C), NaN while unknown.
        position: Steps since the series began, (B, T).
    """

    loc: Tensor
    scale: Tensor
    position: Tensor


def trailing(target: Tensor, reset: Tensor, scaling: Scaling) -> Trailing:
    """Compute the statistics of target (B, T, C), NaN where missing, for all steps at once.

    Args:
        target: Series end to end.
        reset: Where a series begins, bool (B, T); the first step always does.
        scaling: Computes location and scale.
    """
    t = torch.arange(target.shape[1], device=target.device)
    position = t - torch.where(reset, t, 0).cummax(dim=1).values
    rows = max(1, PIECE // max(1, target.shape[0] * target.shape[2] * scaling.length))
    pieces = [scaling.of(lagged(target, position, part, scaling.length)) for part in t.split(rows)]
    loc, scale = (torch.cat(x, dim=1) for x in zip(*pieces, strict=True))
    return Trailing(_filled(loc, position), _filled(scale, position), position)


def newest(values: Tensor) -> Tensor:
    """Return the first known value along the second last dimension, which stays with size 1."""
    first = (~values.isnan()).to(torch.uint8).argmax(-2, keepdim=True)
    return values.gather(-2, first)


def lagged(target: Tensor, position: Tensor, steps: Tensor, count: int) -> Tensor:
    """Return the last values at some steps (N,), newest first, NaN before a series began.

    Args:
        target: Series end to end, (B, T, C).
        position: Steps since a series began, (B, T).
        steps: Steps, (N,).
        count: Number of values.

    Returns:
        Values (B, N, count, C).
    """
    back = torch.arange(count, device=target.device)
    values = target[:, (steps[:, None] - back).clamp(min=0)]
    return torch.where((back > position[:, steps, None])[..., None], torch.nan, values)


def _filled(x: Tensor, position: Tensor) -> Tensor:
    """Replace NaN by the last value of the series, if one exists."""
    t = torch.arange(x.shape[1], device=x.device)
    known = torch.where(~x.isnan() | (position == 0)[..., None], t[:, None], 0).cummax(1).values
    return x.gather(1, known)
