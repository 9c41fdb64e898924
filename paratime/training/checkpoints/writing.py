"""How checkpoints are written: whole, and as of the last optimiser step."""

from pathlib import Path
from typing import Any

from fsspec.utils import get_protocol  # type: ignore[import-untyped]
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer

from paratime.io.atomic import replacing
from paratime.io.saved.writing import save


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints whole or not at all.

    Lightning's own stages them in TMPDIR, and copies them from another file system in parts.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Stage a checkpoint next to its place, with a checksum of each tensor; rename it then."""
        if storage_options is not None or get_protocol(str(path)) != "file":
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with replacing(path) as draft:
            save(checkpoint, draft)


def write_whole(trainer: Trainer) -> None:
    """Let a trainer write checkpoints whole, unless it was given another way to write them."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()


class LastStep:
    """The place of a run at its last optimiser step, for checkpoints that are written later.

    Gradients that are being accumulated are in no checkpoint, nor is the half of a batch. So a
    checkpoint holds the run as it was at its last step, and a resumed run repeats the batches
    since.
    """

    def __init__(self) -> None:
        self._step, self._batches = -1, 0
        self._kept: dict[str, Any] = {}

    def keep(self, trainer: Trainer, state: dict[str, Any]) -> None:
        """Keep the place, and other state of the run, if no gradients are being accumulated."""
        if trainer.global_step > self._step or not trainer.fit_loop._should_accumulate():
            self._step, self._batches = trainer.global_step, _batches(trainer)
            self._kept = {**state, "fit_loop": trainer.fit_loop.state_dict()}

    def replace(self, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
        """Replace the place in a checkpoint that is written after the step."""
        if trainer.global_step == self._step and _batches(trainer) > self._batches:
            kept = dict(self._kept)
            checkpoint["loops"] = checkpoint["loops"] | {"fit_loop": kept.pop("fit_loop")}
            checkpoint.update(kept)


def _batches(trainer: Trainer) -> int:
    """Return the batches of a run so far, including the one that it is in."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)
