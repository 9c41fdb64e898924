"""Errors of rollouts by how far ahead they look."""

import torch
from torch import Tensor
from torchmetrics import Metric

from paratime.world.model import Prediction

HORIZONS = (1, 5, 10, 20, 50)


class ImaginationError(Metric):
    """nRMSE of imagined observations, and skill against persistence, by horizon.

    nRMSE@h is the root of the mean square error of the h-th imagined observation, each number in
    units of its standard deviation in the training data; ``skill@h`` is 1 minus its ratio to the
    error of the last observation seen. ``outside`` is the share of rollouts that left the range
    of the training data.

    Args:
        horizon: Steps of a rollout.
        scale: Standard deviations, (O,).
    """

    full_state_update = False
    total: Tensor
    persistence: Tensor
    count: Tensor
    outside: Tensor
    rollouts: Tensor

    def __init__(self, horizon: int, scale: Tensor) -> None:
        super().__init__()
        self.scale = scale.detach().clone()
        for name in ("total", "persistence", "count"):
            self.add_state(name, torch.zeros(horizon, dtype=torch.float64), "sum")
        for name in ("outside", "rollouts"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), "sum")

    def update(self, found: Prediction, truth: Tensor, start: Tensor, there: Tensor) -> None:
        """Add rollouts.

        Args:
            found: Prediction, (B, H, ...).
            truth: Observations, (B, H, O).
            start: The last observation seen, (B, O).
            there: Which steps there are, bool (B, H).
        """
        scale = self.scale.to(truth)
        for name, guess in (("total", found.observation), ("persistence", start.unsqueeze(1))):
            square = ((guess - truth) / scale).square().mean(-1).double()
            self._add(name, torch.where(there, square, 0.0).sum(0))
        self._add("count", there.sum(0))
        self.outside = self.outside + (found.outside & there).any(1).sum()
        self.rollouts = self.rollouts + there.any(1).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, of the horizons that there are."""
        figures = {"outside": (self.outside / self.rollouts.clamp(min=1)).float()}
        for h in HORIZONS:
            if h <= len(self.count) and self.count[h - 1] > 0:
                error, persistence = (
                    (x[h - 1] / self.count[h - 1]).sqrt() for x in (self.total, self.persistence)
                )
                figures[f"nrmse@{h}"] = error.float()
                figures[f"skill@{h}"] = (1 - error / persistence.clamp(min=1e-12)).float()
        return figures

    def _add(self, name: str, values: Tensor) -> None:
        state = getattr(self, name).clone()
        state[: len(values)] += values
        setattr(self, name, state)
