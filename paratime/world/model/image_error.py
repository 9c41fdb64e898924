"""Errors of imagined images by how far ahead they look."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from paratime.world.model.images import unit
from paratime.world.model.metrics import horizons_of


class ImageError(Metric):
    """Mean square error of imagined images, and skill against persistence, by horizon.

    ``image_mse@h`` is of numbers in [0, 1]; ``image_psnr@h`` is the same in decibels, 10 log10 of
    its inverse; ``image_skill@h`` is 1 minus the ratio of its root to that of the last image seen.

    Args:
        horizon: Steps of a rollout.
    """

    full_state_update = False
    total: Tensor
    persistence: Tensor
    count: Tensor

    def __init__(self, horizon: int) -> None:
        super().__init__()
        for name in ("total", "persistence", "count"):
            self.add_state(name, torch.zeros(horizon, dtype=torch.float64), "sum")

    def update(
        self, images: Mapping[str, Tensor], batch: Mapping[str, Tensor], context: int
    ) -> None:
        """Add rollouts.

        Args:
            images: Imagined, by key, (B, H, ...).
            batch: Whole episodes, padded: images by key, bytes (B, R, ...), and ``mask``.
            context: Rows that were seen, as ``imagined`` is told.
        """
        for key in images:
            guess, rows = images[key], batch[key]
            begin = min(context, rows.shape[1] - 1)
            end = begin + guess.shape[1]
            truth, start = (unit(x, guess) for x in (rows[:, begin:end], rows[:, begin - 1, None]))
            there = batch["mask"][:, begin:end]
            for name, frames in (("total", guess), ("persistence", start)):
                square = (frames - truth).square().mean((-3, -2, -1)).double()
                self._add(name, torch.where(there, square, 0.0).sum(0))
            self._add("count", there.sum(0))

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, of the horizons that there are."""
        figures = {}
        for h in horizons_of(len(self.count)):
            if self.count[h - 1] > 0:
                error, persistence = (
                    x[h - 1] / self.count[h - 1] for x in (self.total, self.persistence)
                )
                figures[f"image_mse@{h}"] = error.float()
                figures[f"image_psnr@{h}"] = -10 * error.clamp(min=1e-12).log10().float()
                if persistence > 0:
                    figures[f"image_skill@{h}"] = (1 - (error / persistence).sqrt()).float()
        return figures

    def _add(self, name: str, values: Tensor) -> None:
        state = getattr(self, name).clone()
        state[: len(values)] += values
        setattr(self, name, state)
