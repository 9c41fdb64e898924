"""What held-out windows say of a network: how far to trust it, and how wide its intervals are."""

from dataclasses import astuple, dataclass, fields

import torch
from torch import Tensor

from paratime.forecast.data.labels import score
from paratime.forecast.model.outputs import Output
from paratime.ops.precision import KeepsPrecision

INTERVAL = (0.1, 0.9)
"""The levels of the interval that is calibrated."""

FEW = 8
"""Fewer windows never make an interval narrower, and do not tell whether it can be trusted."""

WORSE = 1.01
"""A loss that is larger than seasonal naive's by more than 1 % is reported."""

APART = 0.1
"""A coverage further than this from its nominal one is reported."""


@dataclass(frozen=True)
class Evidence:
    """Scores on held-out windows: blend and width of each half are those that the other half chose.

    The steps of training were chosen on the same windows, so the scores err on the bright side.

    Attributes:
        windows: Windows whose targets do not overlap; 0 if none could be held out.
        loss: Mean weighted quantile loss.
        naive: That of seasonal naive.
        coverage: Share of the targets inside the 80 % interval.
        steps: Optimiser steps of the network.
    """

    windows: float = 0.0
    loss: float = float("nan")
    naive: float = float("nan")
    coverage: float = float("nan")
    steps: float = 0.0


class Calibration(KeepsPrecision):
    """Blends the network's forecast with a linear one, and sets the width of its intervals.

    The centre of a forecast becomes weight * network + (1 - weight) * member, and so does half the
    width of its 80 % interval, which is then multiplied by a factor for each step of the horizon.
    The shape of the distribution stays the network's. An output that ``loc`` and ``scale`` do not
    simply move is left as it is.

    Args:
        horizon: Steps H of a forecast.
        remembered: Last values R that the linear forecast may read.
    """

    weight: Tensor
    """Share of the network."""
    member: Tensor
    """The linear forecast: weights (H, R) of the last values, newest first, in scaled units."""
    spread: Tensor
    """Half the width of the linear forecast's interval, (H,), in scaled units."""
    factor: Tensor
    """Factor of the width, (H,)."""
    scores: Tensor
    """The fields of ``evidence``."""

    def __init__(self, horizon: int, remembered: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(()))
        self.register_buffer("member", torch.zeros(horizon, remembered))
        self.register_buffer("spread", torch.ones(horizon))
        self.register_buffer("factor", torch.ones(horizon))
        self.register_buffer("scores", torch.zeros(len(fields(Evidence))))

    @classmethod
    def of(
        cls,
        member: Tensor,
        spread: Tensor,
        *,
        weight: float = 0.0,
        factor: Tensor | None = None,
        evidence: Evidence | None = None,
    ) -> "Calibration":
        """Return a calibration with its values."""
        made = cls(*member.shape)
        made.member.copy_(member)
        made.spread.copy_(spread)
        made.weight.fill_(weight)
        if factor is not None:
            made.factor.copy_(factor)
        made.scores.copy_(torch.tensor(astuple(evidence or Evidence())))
        return made

    @property
    def evidence(self) -> Evidence:
        """Scores on held-out windows."""
        return Evidence(*self.scores.tolist())

    def forward(
        self, output: Output, raw: Tensor, loc: Tensor, scale: Tensor, recent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the location and scale that move a forecast to its calibrated place.

        Args:
            output: The form of the forecast.
            raw: The output's parameters (N, H, C, size).
            loc: Location (N, H, C).
            scale: Scale (N, H, C).
            recent: The last values, newest first, (N, R, C), NaN where missing.
        """
        if not output.moves:
            return loc, scale
        known = output.standard(raw, (INTERVAL[0], 0.5, INTERVAL[1])).to(loc)
        low, centre, high = known.unbind(-1)
        last = ((recent - loc[:, :1]) / scale[:, :1]).nan_to_num(0.0)
        weight, member = self.weight.to(loc), self.member.to(loc)
        middle = weight * centre + (1 - weight) * torch.einsum("hr,nrc->nhc", member, last)
        own = (high - low) / 2
        width = self.factor[:, None] * (weight * own + (1 - weight) * self.spread[:, None])
        ratio = torch.where(own > 0, width.to(loc) / own, 1.0)
        return loc + scale * (middle - ratio * centre), scale * ratio


def doubts(calibration: Calibration | None) -> str:
    """Return what speaks against relying on a network's forecasts, in one line, if anything does.

    Args:
        calibration: Of the network; None for one that was trained without held-out windows.
    """
    if calibration is None or not calibration.evidence.windows:
        return "the intervals are not calibrated, since no windows were held out for it"
    known, found = calibration.evidence, []
    if known.windows < FEW:
        windows = (
            "1 held-out window" if known.windows == 1 else f"{known.windows:.0f} held-out windows"
        )
        found.append(f"the intervals rest on {windows} only")
    elif abs(known.coverage - 0.8) > APART:
        found.append(f"{known.coverage:.0%} of held-out values are inside the 80 % interval")
    if known.loss > WORSE * known.naive:
        found.append(
            f"seasonal naive is better on held-out windows (mean_wQL {score(known.naive)}, "
            f"the forecast {score(known.loss)})"
        )
    return "; ".join(found)
