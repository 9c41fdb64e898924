"""Scores of forecasts, summed over all batches."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from paratime.ops.precision import KeepsPrecision


class ForecastScores(KeepsPrecision, Metric):
    """Mean weighted quantile loss, and the coverage of the central 80 % interval.

    mean_wQL is GluonTS's: for each of nine levels, twice the summed pinball loss over the summed
    magnitude of the target; then the mean over levels.
    """

    full_state_update = False
    levels = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    loss: Tensor
    magnitude: Tensor
    covered: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        zero = torch.zeros((), dtype=torch.float64)
        self.add_state("loss", torch.zeros(len(self.levels), dtype=torch.float64), "sum")
        for name in ("magnitude", "covered", "count"):
            self.add_state(name, zero.clone(), "sum")

    def update(self, quantiles: Tensor, target: Tensor) -> None:
        """Add forecasts (..., 9) of a target (...), NaN where missing."""
        valid = ~target.isnan()
        quantiles, target = quantiles[valid].double(), target[valid].double()
        levels = torch.tensor(self.levels, dtype=torch.float64, device=target.device)
        error = target.unsqueeze(-1) - quantiles
        self.loss = self.loss + 2 * torch.maximum(levels * error, (levels - 1) * error).sum(0)
        self.magnitude = self.magnitude + target.abs().sum()
        inside = (quantiles[:, 0] <= target) & (target <= quantiles[:, -1])
        self.covered = self.covered + inside.sum()
        self.count = self.count + len(target)

    def compute(self) -> dict[str, Any]:
        """Return the scores by name."""
        return {
            "mean_wQL": (self.loss / self.magnitude).mean().float(),
            "coverage_80": (self.covered / self.count).float(),
        }
