"""Small tasks of all slices with data, and callbacks that make some of their steps sick."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from forecast.sources import Waves
from language.models import make_task
from language.runs import make_data as make_tokens
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from world.trajectories import make_data as make_trajectories

from paratime import Encoder
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.model.task import ForecastTask
from paratime.training.base import DataModule, Task
from paratime.training.optimizer import AdamW
from paratime.world.model.task import DynamicsTask, WorldTask

SLICES = ("language", "forecast", "world", "latent")
LIMIT = 10


def make_slice(name: str, folder: Path, **optimizer: Any) -> tuple[Task, DataModule]:
    """Return an untrained task and its data, whose epochs have several batches."""
    torch.manual_seed(0)
    made: dict[str, Any] = {"optimizer": AdamW(**({"lr": 1e-3, "warmup": 0.0} | optimizer))}
    if name == "language":
        return make_task(**made).train(), make_tokens(folder)
    encoder = Encoder(8, 1, mlp_size=8)
    if name == "forecast":
        return ForecastTask(encoder, **made), SeriesData(Waves(), batch_size=1)
    kind = DynamicsTask if name == "world" else WorldTask
    return kind(encoder, context=2, horizon=3, **made), make_trajectories()


def make_trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    quiet |= {"enable_checkpointing": False, "limit_val_batches": 0, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, callbacks=[*callbacks], **quiet | options)


class Sicken(Callback):
    """Makes the loss, or the gradient of a finite loss, what it is told in some batches.

    Args:
        batches: Numbers of batches of the run.
        loss: Factor of the loss.
        gradient: Factor of the gradient alone.
        more: What is added to the loss, which leaves the gradient as it is.
    """

    def __init__(
        self,
        batches: Collection[int],
        loss: float = 1.0,
        gradient: float = 1.0,
        more: float = 0.0,
    ) -> None:
        self.batches, self.loss, self.gradient, self.more = batches, loss, gradient, more
        self.count = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = pl_module.training_step

        def sick(batch: Any, batch_idx: int) -> Tensor:
            self.count += 1
            loss = step(batch, batch_idx)
            if self.count not in self.batches:
                return loss
            if self.gradient != 1:
                loss.register_hook(lambda gradient: gradient * self.gradient)
            return loss * self.loss + self.more

        pl_module.training_step = sick


class Record(Callback):
    """Keeps a copy of weights and moments after every step."""

    def __init__(self) -> None:
        self.states: list[list[Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        (optimizer,) = trainer.optimizers
        moments = [x for s in optimizer.state.values() for x in s.values()]
        tensors = [*pl_module.parameters(), *moments]
        self.states.append([x.detach().clone() for x in tensors])

    def moved(self, step: int) -> bool:
        """Return whether anything differs from the step before."""
        before, after = self.states[step - 1], self.states[step]
        return len(before) != len(after) or not all(map(torch.equal, before, after))
