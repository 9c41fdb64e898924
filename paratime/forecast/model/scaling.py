"""Causal location and scale of a series at each step.

At step t they are computed from the observations of the last ``window`` steps: the mean, and the
mean absolute seasonal difference, which is the error of a seasonal naive forecast and the
denominator of MASE (Hyndman and Koehler, 2006). Until a season of such differences is known, the
standard deviation replaces the missing share. A floor, a share of the mean magnitude, keeps the
scaled values finite after a calm stretch; if only zeros, or no values, were observed, the last
scale stays. No step sees its future, so a forecast from any past origin is what it would have been
then, and streaming has to remember only the last values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 0.02
PIECE = 2**22
"""Values that are gathered from windows at a time."""


@dataclass(frozen=True)
class Scaling:
    """Computes location and scale.

    Attributes:
        window: Steps of the statistics.
        season: Steps of a season, 1 for none.
    """

    window: int
    season: int

    @property
    def length(self) -> int:
        """Number of last values that the statistics read."""
        return self.window + self.season

    def of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and scale from the last values, newest first.

        Args:
            values: (..., length or more, C), NaN where missing.

        Returns:
            Both (..., C), NaN where unknown.
        """
        exact = values[..., : self.length, :].double()
        recent, before = exact[..., : self.window, :], exact[..., self.season :, :]
        differences = (recent - before).abs_()
        count, pairs = ((x == x).sum(-2) for x in (recent, differences))  # x != x where missing
        loc = recent.nansum(-2) / count
        spread = ((recent - loc.unsqueeze(-2)).square_().nansum(-2) / count).sqrt_()
        seasonal = differences.nansum(-2) / pairs.clamp(min=1)
        scale = torch.lerp(spread, seasonal, (pairs.to(spread) / self.season).clamp_(max=1))
        scale = scale + FLOOR * recent.abs().nansum(-2) / count
        scale = scale.to(values)
        return loc.to(values), torch.where(scale > 0, scale, torch.nan)


@dataclass(frozen=True)
class Trailing:
    """Statistics at each step.

    Attributes:
        loc: Location, (B, T, C).
        scale: Scale above 0, (B, T, C).
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
    return Trailing(*usable(_filled(loc, position), _filled(scale, position)), position)


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


def usable(loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Replace unknown locations by 0 and unknown scales by 1."""
    return loc.nan_to_num(0.0), torch.where(scale.isnan(), 1.0, scale)


def _filled(x: Tensor, position: Tensor) -> Tensor:
    """Replace NaN by the last value of the series, if one exists."""
    t = torch.arange(x.shape[1], device=x.device)
    known = torch.where(~x.isnan() | (position == 0)[..., None], t[:, None], 0).cummax(1).values
    return x.gather(1, known)
