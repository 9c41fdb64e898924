"""Location and scale of a series as they are known at each step, and no later.

At step t they are computed from what was observed in the last ``window`` steps: the mean, and the
mean absolute difference from one season before, which is what a seasonal naive forecast errs by and
what MASE (Hyndman and Koehler, 2006) divides by. Until a season of such differences is known, the
standard deviation stands in for the rest. A floor, a share of the mean magnitude, keeps a calm
stretch from making the next move infinite; where nothing but zeros, or nothing at all, was
observed, the last scale stays. No step sees its future, so that a forecast from any origin is what
it would have been on that day, and what has to be remembered is a ring of values.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 0.02
PIECE = 2**22
"""Numbers that are gathered from windows at a time."""


@dataclass(frozen=True)
class Scaling:
    """How location and scale are computed.

    Attributes:
        window: Steps that count.
        season: Steps of a season, 1 for none.
    """

    window: int
    season: int

    @property
    def length(self) -> int:
        """Steps that have to be remembered."""
        return self.window + self.season

    def of(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return location and scale from the last values, the newest first.

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
        scaling: How they are computed.
    """
    t = torch.arange(target.shape[1], device=target.device)
    position = t - torch.where(reset, t, 0).cummax(dim=1).values
    rows = max(1, PIECE // max(1, target.shape[0] * target.shape[2] * scaling.length))
    pieces = [scaling.of(lagged(target, position, part, scaling.length)) for part in t.split(rows)]
    loc, scale = (torch.cat(x, dim=1) for x in zip(*pieces, strict=True))
    return Trailing(*usable(_filled(loc, position), _filled(scale, position)), position)


def lagged(target: Tensor, position: Tensor, steps: Tensor, count: int) -> Tensor:
    """Return the last values at some steps (N,), the newest first, NaN before a series began.

    Args:
        target: Series end to end, (B, T, C).
        position: Steps since a series began, (B, T).
        steps: Where, (N,).
        count: How many.

    Returns:
        Values (B, N, count, C).
    """
    back = torch.arange(count, device=target.device)
    values = target[:, (steps[:, None] - back).clamp(min=0)]
    return torch.where((back > position[:, steps, None])[..., None], torch.nan, values)


def usable(loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Replace what is unknown: by location 0 and scale 1."""
    return loc.nan_to_num(0.0), torch.where(scale.isnan(), 1.0, scale)


def _filled(x: Tensor, position: Tensor) -> Tensor:
    """Replace NaN by the last number of the series, where there is one."""
    t = torch.arange(x.shape[1], device=x.device)
    known = torch.where(~x.isnan() | (position == 0)[..., None], t[:, None], 0).cummax(1).values
    return x.gather(1, known)
