"""Predictions on disk."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from paratime.io.atomic import replacing
from paratime.training.checkpoint import run_folder


class SavePredictions(BasePredictionWriter):
    """Save what ``predict_step`` returns, a list with one entry a batch, and print the path.

    The file is ``predictions.pt`` in the run's folder, for ``torch.load``; processes other than
    the first add their rank to its name.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write the file, whole or not at all."""
        rank = f".{trainer.global_rank}" if trainer.global_rank else ""
        path = run_folder(trainer) / f"predictions.pt{rank}"
        with replacing(path) as draft:
            torch.save(predictions, draft)
        print(f"\n{'predictions':<20} {path}")
