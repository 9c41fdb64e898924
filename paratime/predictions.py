"""Where predictions go."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter


class SavePredictions(BasePredictionWriter):
    """Save what ``predict_step`` returns, a list with one entry a batch, and print the path.

    Args:
        path: File for ``torch.load``; processes other than the first add their rank to its name.
    """

    def __init__(self, path: str = "predictions.pt") -> None:
        super().__init__(write_interval="epoch")
        self.path = Path(path)

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write the file, whole or not at all."""
        rank = f".{trainer.global_rank}" if trainer.global_rank else ""
        path = self.path.with_name(self.path.name + rank)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".draft")
        torch.save(predictions, draft)
        draft.replace(path)
        print(f"{'predictions':<20} {path}")
