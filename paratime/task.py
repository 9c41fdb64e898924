"""What the LightningModules and data modules of all slices share."""

import inspect
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from paratime.cells.projection import Projection
from paratime.errors import InputError
from paratime.layers.recurrent import Recurrent


@dataclass(frozen=True)
class AdamW:
    """AdamW with a linear warm-up and a cosine decay, both counted in optimiser steps.

    Args:
        lr: Peak learning rate.
        weight_decay: Decay of matrices that multiply inputs; recurrent weights, embeddings,
            norms, scales and biases are never decayed.
        betas: Decay rates of the moments.
        warmup: Share of the steps over which the rate rises from 0.
        final: Rate at the end, as a share of the peak.
    """

    lr: float = 3e-4
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: float = 0.1
    final: float = 0.0

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate of a step as a share of the peak."""
        warmup = max(1, round(self.warmup * total))
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into input matrices, which are decayed, and all others, which are not."""
    matrices = {id(m.weight) for m in module.modules() if isinstance(m, nn.Linear | Projection)}
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) in matrices], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in matrices], "weight_decay": 0.0},
    ]


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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW with its schedule, stepped once an optimiser step."""
        o, trainer = self.optimizer, self.trainer
        total = trainer.max_steps if trainer.max_steps > 0 else trainer.estimated_stepping_batches
        groups = parameter_groups(self, o.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=o.lr, betas=o.betas)
        schedule = LambdaLR(optimizer, lambda step: o.rate(step, int(total)))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"},
        }

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
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log_dict(self.solver_telemetry())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the random numbers."""
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another model."""
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._random = checkpoint.get("random_state")
        saved, ours = checkpoint["state_dict"], self.state_dict()
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
