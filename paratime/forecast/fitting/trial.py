"""A network that trains while held-out windows decide when to stop."""

import math
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from paratime.forecast.fitting.holdout import Holdout
from paratime.forecast.model.task import ForecastTask

FIRST, CHECKS = 5, 24
"""The step of the first score, and the number of scores, in geometric progression."""

PATIENCE = 3
"""Training stops at so many times the steps of the best score."""

SMOOTH = 3
"""Scores whose mean is compared: those of a rate that has not fallen yet vary by some per cent."""

EQUAL = 1.02
"""Of means within 2 % of the best, the last one counts as the best."""


class Trial(Callback):
    """Scores a task on held-out windows, keeps its best weights, and stops when it gets worse.

    Args:
        holdout: The windows.

    Attributes:
        loss: The least mean weighted quantile loss, of ``SMOOTH`` scores.
        steps: Optimiser steps of the best weights.
        weights: The best weights by name.
    """

    state_key = "trial on held-out windows"

    def __init__(self, holdout: Holdout) -> None:
        self._holdout, self._scored, self._last = holdout, 0, 0
        self._due: set[int] = set()
        self._recent: list[float] = []
        self.loss, self.steps = math.inf, 0
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        names = ("_scored", "_last", "_recent", "loss", "steps", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        vars(self).update(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the steps of the scores, and stop again if the run was about to."""
        self._due = due(int(trainer.estimated_stepping_batches))
        self._stop_when_worse(trainer)  # saved between the score that ends it and the end

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *arguments: Any
    ) -> None:
        """Score the task where it is due."""
        assert isinstance(pl_module, ForecastTask)
        step = self._last = trainer.global_step
        if step > self._scored and step in self._due:
            pl_module.log("val/mean_wQL", self._score(pl_module, step))
            self._stop_when_worse(trainer)

    def _stop_when_worse(self, trainer: Trainer) -> None:
        if self._scored >= PATIENCE * self.steps > 0:
            trainer.should_stop = True

    def finish(self, task: ForecastTask) -> None:
        """Give a task its best weights; a training that others ended has its last ones to score."""
        if self._last > self._scored or not self.weights:
            self._score(task, self._last)
        task.load_state_dict(self.weights)

    def _score(self, task: ForecastTask, step: int) -> float:
        self._scored, loss = step, self._holdout.loss(task)
        self._recent = [*self._recent, loss][-SMOOTH:]
        mean = float(np.mean(self._recent))
        self.loss = min(mean, self.loss)
        if mean <= EQUAL * self.loss or not self.weights:
            self.steps = step
            self.weights = {n: x.detach().cpu().clone() for n, x in task.state_dict().items()}
        return loss


def due(last: int) -> set[int]:
    """Return the steps of the scores in a run of ``last`` steps."""
    return {last, *np.geomspace(min(FIRST, last), last, CHECKS).round().astype(int).tolist()}
