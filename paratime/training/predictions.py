"""Predictions on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from paratime.errors import check_finite
from paratime.io.atomic import replacing


def check_rows(what: str, finite: Tensor, row: str) -> None:
    """Refuse predictions that are infinite or NaN.

    Args:
        what: What is predicted.
        finite: Which values are finite, bool (B, ...).
        row: What a row of the batch is.

    Raises:
        NotFinite: One line with the row.
    """
    good = finite.flatten(1).all(1).tolist()
    check_finite(what, ((f"{row} {i}", x) for i, x in enumerate(good)))


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
        folder = Path(trainer.log_dir or trainer.default_root_dir)
        path = folder / f"predictions.pt{rank}"
        with replacing(path) as draft:
            torch.save(predictions, draft)
        print(f"\n{'predictions':<20} {path}")
