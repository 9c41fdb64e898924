"""What callbacks may save: never for scores that are infinite or NaN, which are reported."""

import logging
from collections.abc import Callable

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

_log = logging.getLogger("paratime")


def count_finite_scores_alone(checkpoint: ModelCheckpoint) -> None:
    """Let a callback save for finite scores only.

    Lightning counts the first score as the best, NaN too, and an infinite one of ``mode="max"``.
    """
    counts = checkpoint.check_monitor_top_k

    def check(trainer: Trainer, current: Tensor | None = None) -> bool:
        finite = current is not None and bool(torch.as_tensor(current).isfinite())
        return trainer.strategy.reduce_boolean_decision(finite) and counts(trainer, current)

    checkpoint.check_monitor_top_k = check  # type: ignore[method-assign]


def wait_while(waits: Callable[[], bool], checkpoint: ModelCheckpoint) -> None:
    """Let a callback save nothing while a condition holds; it saves when it is due next."""
    skips = checkpoint._should_skip_saving_checkpoint
    checkpoint._should_skip_saving_checkpoint = lambda trainer: waits() or skips(trainer)  # type: ignore[method-assign]


def report_scores(trainer: Trainer, split: str, known: set[str]) -> None:
    """Warn of the scores of a split that are infinite or NaN, once each.

    Args:
        trainer: The trainer.
        split: ``val`` or ``test``.
        known: Names that were reported; gets the new ones.
    """
    scores = {k: x for k, x in trainer.callback_metrics.items() if k.startswith(f"{split}/")}
    bad = {k: float(x) for k, x in scores.items() if not torch.as_tensor(x).isfinite().all()}
    new = [name for name in bad if name not in known]
    known.update(new)
    if new and trainer.is_global_zero:
        found = ", ".join(f"{name} is {bad[name]}" for name in new)
        _log.warning("step %d: %s, which counts as no best score", trainer.global_step, found)
