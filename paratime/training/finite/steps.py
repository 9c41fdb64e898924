"""Steps whose loss or gradient is not finite: they are skipped, counted, and end a run."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from paratime.errors import InputError
from paratime.training.finite.batches import describe_batch
from paratime.training.finite.scores import count_finite_scores_alone, report_scores, wait_while
from paratime.training.finite.weights import REMEDY, check_weights_are_finite

_log = logging.getLogger("paratime")

REPORTED = 10
"""Skipped steps of a run whose batches are named; later ones are counted alone."""

FLOOR = 1.0
"""Scale of a loss in half precision below which an overflow is no matter of the scale."""


class SkipNonFinite(Callback):
    """Skip the steps whose loss or gradient is infinite or NaN, and end runs that only skip.

    Weights and moments stay as they were, the schedule goes on, and a state that batches carry
    begins anew. The batch is named in the log. A run ends with an error after ``limit`` skipped
    steps in a row, and where it would end within two or more of them. ``ModelCheckpoint`` saves
    nothing after a skipped step, since the weights may be the cause. In ``16-mixed``, steps that
    the gradient scaler skips until it has found its scale are no faults.

    One scalar is read from the device each step. All processes skip the same steps: the gradient of
    a loss that is not finite is NaN, which they see once they have added their gradients.

    Every ``Task`` has this callback; pass your own to a trainer for another limit.

    Args:
        limit: Skipped steps in a row that end a run.

    Attributes:
        skipped: Skipped steps so far.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit, self.skipped = limit, 0
        self._row = self._steps = self._batch = 0
        self._losses: list[tuple[int, Tensor]] = []
        self._reported: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of a run."""
        return {"skipped": self.skipped, "row": self._row, "steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the counts of a run."""
        self.skipped, self._row, self._steps = (state_dict[k] for k in ("skipped", "row", "steps"))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let checkpoints wait for a step that counts, and ignore scores that are not finite."""
        for callback in trainer.checkpoint_callbacks if stage == "fit" else ():
            if isinstance(callback, ModelCheckpoint):
                wait_while(lambda: self._row > 0, callback)
                count_finite_scores_alone(callback)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember which batch it is."""
        self._batch = batch_idx

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Make the gradient of a loss NaN if the loss is not finite."""
        value = loss.detach()
        loss.register_hook(partial(torch.add, value - value))  # 0, or nan
        self._losses.append((self._batch, value))

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Drop the gradients of a step that is to be skipped, before they are clipped."""
        losses, self._losses = self._losses, []
        self._steps += 1
        norm = total_norm(optimizer)
        if math.isfinite(float(sum((x - x for _, x in losses), norm))):  # one value is read
            self._row = 0
            return
        optimizer.zero_grad(set_to_none=True)  # without gradients, no weight and no moment moves
        if (carry := getattr(pl_module, "carry", None)) is not None:
            carry.kept = None
        bad = [(number, x) for number, x in losses if not math.isfinite(float(x))]
        of_loss = trainer.strategy.reduce_boolean_decision(bool(bad), all=False)
        if of_loss or not _finds_its_scale(trainer):
            self._count(trainer, bad or [(number, norm) for number, _ in losses], bool(bad))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say how many steps were skipped; refuse a result that is not finite."""
        if self.skipped and trainer.is_global_zero:
            _log.warning("%s of %s steps were skipped", f"{self.skipped:,}", f"{self._steps:,}")
        if self._row and self._row >= min(2, self._steps):
            raise self._error()
        check_weights_are_finite(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report scores that are not finite."""
        if not trainer.sanity_checking:
            report_scores(trainer, "val", self._reported)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report scores that are not finite."""
        report_scores(trainer, "test", self._reported)

    def _count(self, trainer: Trainer, bad: Sequence[tuple[int, Tensor]], of_loss: bool) -> None:
        self.skipped, self._row = self.skipped + 1, self._row + 1
        if self.skipped <= REPORTED and (of_loss or trainer.is_global_zero):
            what = "loss" if of_loss else "gradient's norm"
            where = "; ".join(describe_batch(trainer, number) for number, _ in bad[:2])
            more = f"; and {len(bad) - 2} more" * (len(bad) > 2)
            text = f"the {what} was {float(bad[0][1])} in {where}{more}"
            _log.warning("step %d skipped: %s", trainer.global_step + 1, text)
        if self._row >= self.limit:
            raise self._error()

    def _error(self) -> InputError:
        return InputError(
            "training",
            expected="finite losses and gradients",
            got=f"infinity or NaN in each of the last {self._row} steps, all skipped",
            remedy=REMEDY,
        )


def total_norm(optimizer: Optimizer) -> Tensor:
    """Return the norm of all gradients of an optimiser, 0 without any; it waits for no device.

    It is the Euclidean one, which is infinite where moments would be; in float16, which cannot hold
    that, the largest magnitude.
    """
    groups = optimizer.param_groups
    grads = [p.grad for group in groups for p in group["params"] if p.grad is not None]
    kind = torch.inf if any(x.dtype is torch.float16 for x in grads) else 2.0
    sharded = any(hasattr(x, "full_tensor") for x in grads)
    norm = get_total_norm(grads, kind, foreach=None if sharded else True)
    whole: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return whole


def _finds_its_scale(trainer: Trainer) -> bool:
    """Return whether a gradient scaler skips the step itself, and tries a smaller scale next."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return scaler is not None and scaler.get_scale() > FLOOR
