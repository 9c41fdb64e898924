"""What the LightningModules and data modules of all slices share."""

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from paratime.errors import InputError
from paratime.layers.recurrent import Recurrent
from paratime.training.carry import Carry
from paratime.training.checkpoint import check_weights, write_whole
from paratime.training.optimizer import AdamW, parameter_groups
from paratime.training.spec import DataSpec
from paratime.training.throughput import Throughput, warn_if_slow


class DataModule(LightningDataModule, ABC):
    """A LightningDataModule that tells tasks what they must know of its data."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What a task must know of the data, once ``prepare_data`` has run."""


class Task(LightningModule, ABC):
    """A LightningModule with paratime's optimiser, throughput and solver telemetry.

    The network of a task depends on its data. It is built at once where the task is given a
    ``spec``, and otherwise by ``configure_model``, from the data module of the trainer, so that
    instantiating a task reads no data.

    Args:
        optimizer: Optimiser and schedule.
    """

    unit: ClassVar[str] = "steps"
    """What ``count`` counts."""

    spec_type: ClassVar[type[DataSpec]]
    """What the task must know of its data."""

    spec: DataSpec
    """What the network was built for; not set before."""

    def __init__(self, optimizer: AdamW) -> None:
        super().__init__()
        self.optimizer, self.carry = optimizer, Carry()
        self._default_dtype = torch.get_default_dtype()
        self._random: Tensor | None = None

    @abstractmethod
    def build(self, spec: Any) -> None:
        """Build the network; the spec is of the task's ``spec_type``."""

    @abstractmethod
    def count(self, batch: Any) -> int:
        """Return the number of time steps in a batch."""

    def flops(self) -> int | None:
        """Return the operations of a training step for each unit of ``count``, if known."""
        return None

    @property
    def is_built(self) -> bool:
        """Whether the network exists."""
        return "spec" in vars(self)

    def specify(self, spec: DataSpec) -> None:
        """Build the network for data, and keep the spec among the hyper-parameters."""
        self.spec = self.spec_type.of(spec)
        self.save_hyperparameters({"spec": self.spec.plain()})
        self.build(self.spec)

    def configure_model(self) -> None:
        """Build the network for the trainer's data, unless it exists.

        Raises:
            InputError: The data is of another kind.
        """
        if self.is_built or self._trainer is None:
            return
        data = getattr(self.trainer, "datamodule", None)
        spec = data.spec if isinstance(data, DataModule) else None
        if not isinstance(spec, self.spec_type):
            raise InputError(
                "spec",
                expected=f"a {self.spec_type.__name__}",
                got=type(spec).__name__,
                remedy=f"use data with {self.spec_type.data}, or pass the task a spec",
            )
        with _on_cpu(self._default_dtype):
            self.specify(spec)

    def configure_callbacks(self) -> Sequence[Callback]:
        """Measure throughput, unless the trainer does so already."""
        known = any(isinstance(callback, Throughput) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        return [] if known else [Throughput()]

    def setup(self, stage: str) -> None:
        """Write checkpoints whole; warn of a precision that this processor is slow in."""
        write_whole(self.trainer)
        warn_if_slow(self.trainer.strategy.root_device, str(self.trainer.precision))

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
        """Choose another rate, also for a run whose schedule exists already."""
        ratio = value / self.lr
        self.optimizer = replace(self.optimizer, lr=value)
        for config in [] if self._trainer is None else self.trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            schedule.base_lrs = [ratio * rate for rate in schedule.base_lrs]
            schedule._last_lr = [ratio * rate for rate in schedule.get_last_lr()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's groups; the rate of the last one is logged."""
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
        """Return the number of optimiser steps of the run."""
        trainer = self.trainer
        if trainer.max_steps > 0:
            return trainer.max_steps
        total = int(trainer.estimated_stepping_batches)
        # This has made the loader of the training batches before Lightning knows the place in the
        # epoch that a checkpoint continues from, which it tells to a loader when it makes it.
        trainer.fit_loop._combined_loader = None
        return total

    def on_train_start(self) -> None:
        """Begin at the rates of the schedule: a rate finder leaves the one that it found."""
        for config in self.trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            groups = schedule.optimizer.param_groups
            for group, rate in zip(groups, schedule.get_last_lr(), strict=True):
                group["lr"] = rate

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Restore the random state of a checkpoint, for dropout and sampling."""
        if self._random is not None:
            torch.set_rng_state(self._random)
            self._random = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the learning rate and the solvers' reports."""
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"])
        self.log_dict(self.solver_telemetry())

    def log_scores(self, split: str, scores: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
        """Log the scores of an epoch of evaluation.

        Args:
            split: ``val`` or ``test``, before the names.
            scores: Values by name.
            shown: Names that the progress bar shows.
        """
        for name, value in scores.items():
            self.log(f"{split}/{name}", value, prog_bar=name in shown)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random state, and the state that the next batch may continue."""
        checkpoint["random_state"] = torch.get_rng_state()
        checkpoint["carried_state"] = self.carry.kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network if it does not exist; refuse the weights of another one.

        A strategy that loads the weights itself, part by part, leaves them out here.
        """
        saved = self.spec_type.saved_in(checkpoint.get("hyper_parameters", {}))
        if not self.is_built and saved is not None:
            self.specify(saved)
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self._random = checkpoint.get("random_state")
        self.carry.kept = checkpoint.get("carried_state")
        if (weights := checkpoint.get("state_dict")) is not None:
            check_weights(self.state_dict(), weights)

    def solver_telemetry(self) -> dict[str, Tensor]:
        """Return the worst figures over all recurrent layers of the last forward pass."""
        modules = [m for m in self.modules() if isinstance(m, Recurrent)]
        reports = [figures for m in modules if (figures := m.telemetry()) is not None]
        if not reports:
            return {}
        worst = torch.stack([x.to(self.device) for x in reports]).amax(0)
        names = ("solver/iterations", "solver/defect", "solver/loop_share")
        return dict(zip(names, worst, strict=True))


@contextmanager
def _on_cpu(dtype: torch.dtype) -> Iterator[None]:
    """Initialise weights as a constructor does, whatever the trainer's device and precision.

    Seeded runs have the same weights on all devices then.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)
