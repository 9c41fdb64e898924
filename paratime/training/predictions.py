"""Predictions on disk."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from paratime.errors import check_finite
from paratime.io.atomic import replacing
from paratime.io.saved.writing import save
from paratime.training.batches.sharing import item_ids
from paratime.training.checkpoints.folders import run_folder


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
    """Save what ``predict_step`` returns, and print the path.

    The file is ``predictions.pt`` in the run's folder, for ``torch.load``: a list with one
    dictionary a batch, of ``item_id``, the names of its series, episodes or windows of tokens, and
    ``prediction``. Several processes write one file, whose batches are in the order of one process
    alone.
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
        (indices,) = batch_indices  # of the only loader
        items = getattr(trainer.predict_dataloaders, "dataset", None)
        own = [
            {"item_id": item_ids(items, of), "prediction": x}
            for x, of in zip(predictions, indices, strict=True)
            if min(of) >= 0
        ]
        path = trainer.strategy.broadcast(run_folder(trainer)) / "predictions.pt"
        parts = [path.with_name(f"{path.name}.{rank}") for rank in range(1, trainer.world_size)]
        if trainer.global_rank:
            with replacing(parts[trainer.global_rank - 1]) as draft:
                save(own, draft)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            with replacing(path) as draft:
                save(_in_turn([own, *map(torch.load, parts)]), draft)
            for part in parts:
                part.unlink()
            print(f"\n{'predictions':<20} {path}")


def _in_turn(shares: list[list[Any]]) -> list[Any]:
    """Return the batches of processes that took them in turn, in order."""
    return [share[n] for n in range(len(shares[0])) for share in shares if n < len(share)]
