"""What the LightningModules and data modules of all slices share."""

import inspect
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim.lr_scheduler import LambdaLR

from paratime.errors import InputError
from paratime.layers.recurrent import Recurrent
from paratime.training.flops import peak_flops, precision_of
from paratime.training.optimizer import AdamW, parameter_groups


class DataModule(LightningDataModule, ABC):
    """A LightningDataModule that tells tasks what follows from its data."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Values for arguments of the task, by name, as plain data (``vocab_size`` and so on)."""


class Task(LightningModule, ABC):
    """A LightningModule with paratime's optimiser, throughput and solver telemetry.

    Args:
        optimizer: Optimiser and schedule.
    """

    unit = "steps"
    """What ``count`` counts."""

    def __init__(self, optimizer: AdamW) -> None:
        super().__init__()
        self.optimizer = optimizer
        self._pace: deque[tuple[int, float]] = deque(maxlen=20)
        self._random: torch.Tensor | None = None

    @abstractmethod
    def count(self, batch: Any) -> int:
        """Return the number of time steps in a batch."""

    def flops(self) -> int | None:
        """Return the operations of a training step for each of what ``count`` counts, if known."""
        return None

    def save_plain_hyperparameters(self) -> None:
        """Keep the constructor's arguments as hyper-parameters; call it first in a constructor.

        Checkpoints are loaded weights-only, so modules and other objects are left out. The
        command line hands over its config instead, from which a checkpoint alone can be loaded.
        """
        caller = inspect.currentframe().f_back  # type: ignore[union-attr]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Attribute .* is an instance of `nn.Module`")
            self.save_hyperparameters(frame=caller)
        for name in [n for n, value in self.hparams.items() if not _is_plain(value)]:
            del self.hparams[name]

    @property
    def lr(self) -> float:
        """The peak learning rate, under the name that Lightning's LearningRateFinder looks for."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, value: float) -> None:
        """Choose another rate, also for a run whose schedule is made already."""
        ratio = value / self.lr
        self.optimizer = replace(self.optimizer, lr=value)
        for config in [] if self._trainer is None else self.trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            schedule.base_lrs = [ratio * rate for rate in schedule.base_lrs]
            schedule._last_lr = [ratio * rate for rate in schedule.get_last_lr()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups; the rate of the last one is the one that is logged."""
        return parameter_groups(self, self.optimizer.weight_decay)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW with its schedule, stepped once an optimiser step."""
        o, total = self.optimizer, self._total_steps()
        optimizer = o.build(self, self.parameter_groups())
        schedule = LambdaLR(optimizer, lambda step: o.rate(step, total))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"},
        }

    def _total_steps(self) -> int:
        """Return how many optimiser steps there will be."""
        trainer = self.trainer
        if trainer.max_steps > 0:
            return trainer.max_steps
        total = int(trainer.estimated_stepping_batches)
        # It has made the loader of the training batches, before the place in the epoch is known
        # that a checkpoint goes on from; Lightning tells that to a loader when it is made.
        trainer.fit_loop._combined_loader = None
        return total

    def on_train_start(self) -> None:
        """Begin at the rates of the schedule: a rate finder leaves the one that it has found."""
        for config in self.trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            groups = schedule.optimizer.param_groups
            for group, rate in zip(groups, schedule.get_last_lr(), strict=True):
                group["lr"] = rate

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Start the clock; go on with a checkpoint's random numbers, of dropout for example."""
        if self._random is not None:
            torch.set_rng_state(self._random)
            self._random = None
        self._started = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log throughput (over the last 20 batches), learning rate and the solvers' reports."""
        if self.trainer.global_step > 1:  # torch imports its compiler in the first step
            self._pace.append((self.count(batch), time.perf_counter() - self._started))
            count, seconds = (sum(figures) for figures in zip(*self._pace, strict=True))
            self.log(f"train/{self.unit}_per_s", count / seconds, prog_bar=True)
            self._log_utilization(count / seconds)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"])
        self.log_dict(self.solver_telemetry())

    def _log_utilization(self, pace: float) -> None:
        """Log the model's FLOPs utilisation (arXiv 2204.02311), where the peak is known."""
        if (flops := self.flops()) is not None:
            peak = peak_flops(self.device, precision_of(self.trainer.precision))
            if peak is not None:
                self.log("train/mfu", pace * flops / peak)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the random numbers."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model, unless the strategy loads them, part by part."""
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._random = checkpoint.get("random_state")
        if (saved := checkpoint.get("state_dict")) is None:
            return
        ours = self.state_dict()
        for name in sorted(saved.keys() | ours.keys()):
            expected, got = (_shape(state.get(name)) for state in (ours, saved))
            if expected != got:
                remedy = "use the config that the checkpoint was trained with"
                raise InputError(f"{name} in the checkpoint", expected, got, remedy)

    def solver_telemetry(self) -> dict[str, torch.Tensor]:
        """Return the worst figures over all recurrent layers of the last forward pass."""
        modules = [m for m in self.modules() if isinstance(m, Recurrent)]
        reports = [figures for m in modules if (figures := m.telemetry()) is not None]
        if not reports:
            return {}
        worst = torch.stack([x.to(self.device) for x in reports]).amax(0)
        names = ("solver/iterations", "solver/defect", "solver/loop_share")
        return dict(zip(names, worst, strict=True))


def _shape(weight: torch.Tensor | None) -> str:
    return "no such weight" if weight is None else str(tuple(weight.shape))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
