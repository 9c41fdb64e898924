"""What the LightningModules and data modules of all slices share."""

import inspect
import logging
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from lightning.fabric.utilities.apply_func import apply_to_collection
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from paratime.errors import InputError, naming
from paratime.io.options import changes
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.layers.recurrent import Recurrent
from paratime.ops.precision import precise
from paratime.training.batches.loading import begin_training
from paratime.training.batches.sharing import averages, of_all
from paratime.training.carry import Carry
from paratime.training.checkpoints.restoring import build_saved, check_weights
from paratime.training.checkpoints.writing import LastStep, write_whole
from paratime.training.finite.steps import SkipNonFinite
from paratime.training.finite.weights import check_checkpoint_is_finite
from paratime.training.fsdp import data_mesh, shard_
from paratime.training.optimizer import AdamW, parameter_groups
from paratime.training.spec import DataSpec
from paratime.training.throughput import Throughput, warn_if_slow

_log = logging.getLogger("paratime")


OWN, OF_PROCESSES = ("random_state", "carried_state"), "of_processes"
"""In a checkpoint: what each process has of its own, and the list of it of all processes."""


class DataModule(LightningDataModule, ABC):
    """A LightningDataModule that tells tasks what they must know of its data."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What a task must know of the data, once ``prepare_data`` has run."""

    def summary(self, batches: float) -> str:
        """Return lines on the size of each split, to print when training starts.

        Args:
            batches: Number of training batches of an epoch.
        """
        return ""

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> Self:
        """Refuse: Lightning would build sources, which may run code, as a checkpoint says.

        Raises:
            InputError: Always.
        """
        raise InputError("data", "its source", "a checkpoint", "build it as for the training")


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
        self._options = optimizer.options()
        self._default_dtype = torch.get_default_dtype()
        self._schedule: LambdaLR | None = None
        self._of_callbacks: list[tuple[Callback, dict[str, Any]]] = []
        self.random_state: Tensor | None = None
        self._first_random = torch.get_rng_state()
        self._last_step = LastStep()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to a run."""
        return super().__getstate__() | {"_schedule": None, "_of_callbacks": []}

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | Path,
        map_location: str | torch.device = "cpu",
        strict: bool = True,
        weights_only: bool = True,
        **given: Any,
    ) -> Self:
        """Return the task of a checkpoint; unlike Lightning's, run nothing that it names.

        Args:
            checkpoint_path: The checkpoint.
            map_location: The device of the task.
            strict: Whether all weights must be those of the task.
            weights_only: True; nothing else is supported.
            given: Arguments of the task, instead of those of the checkpoint.

        Raises:
            InputError: The file is damaged, or names classes that data may not name.
        """
        if not weights_only:
            raise InputError("weights_only", "True", "False", "leave it out")
        saved = read_checkpoint(checkpoint_path)
        with naming(checkpoint_path):
            return build_saved(cls, saved, strict=strict, **given).to(map_location)

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

    def blocks(self) -> Iterable[nn.Module]:
        """Return modules whose weights are gathered one after another where they are sharded.

        They are used through their forward pass alone.
        """
        return ()

    def configure_model(self) -> None:
        """Build the network, and shard its weights where the strategy is ModelParallelStrategy.

        Raises:
            InputError: The data is of another kind.
        """
        if not self.is_built and self._trainer is not None:
            self._specify_by_data()
        if self.device_mesh is not None:
            shard_(self, self.blocks(), data_mesh(self.device_mesh))

    def _specify_by_data(self) -> None:
        """Build the network for the trainer's data."""
        data = getattr(self.trainer, "datamodule", None)
        spec = data.spec if isinstance(data, DataModule) else None
        if not isinstance(spec, self.spec_type):
            raise InputError(
                "spec",
                expected=f"a {self.spec_type.__name__}",
                got=type(spec).__name__,
                remedy=f"use data with {self.spec_type.data}, or pass the task a spec",
            )
        if self.trainer.world_size > 1:  # where Lightning has begun the random numbers anew
            torch.set_rng_state(self._first_random)
        with _on_cpu(self._default_dtype):
            self.specify(spec)

    def configure_callbacks(self) -> Sequence[Callback]:
        """Measure throughput and skip steps that are not finite, unless the trainer does so."""
        given: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        own = (Throughput, SkipNonFinite)
        return [kind() for kind in own if not any(isinstance(x, kind) for x in given)]

    def setup(self, stage: str) -> None:
        """Write checkpoints whole, and leave data exact in half precision.

        A network rounds what it reads. Targets of scores, and values that scales are computed
        from, are not rounded. It warns of a precision that this processor is slow in.
        """
        write_whole(self.trainer)
        plugin = self.trainer.precision_plugin
        vars(plugin)["convert_input"] = partial(_convert_input, type(plugin).convert_input, plugin)
        self._of_callbacks = [(x, replaced_options(x)) for x in self._callbacks()]
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
        """Build AdamW with its schedule, stepped once an optimiser step.

        Raises:
            InputError: Weights are float16, in which the squares of gradients are zero.
        """
        if any(p.dtype == torch.float16 for p in self.parameters()):
            raise InputError(
                "precision",
                expected="32-true, 16-mixed or bf16-true to train in",
                got=str(self.trainer.precision),
                remedy="float16 cannot hold the squares of gradients, and all weights become nan",
            )
        o, total, timer = self.optimizer, self._total_steps(), self._timer()
        optimizer = o.build(self, self.parameter_groups())
        self._schedule = LambdaLR(optimizer, lambda step: o.rate(step, total, self._passed(timer)))
        line = o.describe(total, None if timer is None else timer._duration)
        if line and self.trainer.is_global_zero:
            _log.warning(line)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._schedule, "interval": "step", "name": "lr"},
        }

    def _callbacks(self) -> list[Callback]:
        """Return the callbacks of the run."""
        return self.trainer.callbacks  # type: ignore[attr-defined]

    def _timer(self) -> Timer | None:
        """Return what ends the run after some time, if anything does."""
        timers = (x for x in self._callbacks() if isinstance(x, Timer) and x._duration)
        return next(timers, None)

    def _passed(self, timer: Timer | None) -> float:
        """Return the share of the run's time that has passed, the same in all processes."""
        if timer is None or timer._duration is None:
            return 0.0
        share = timer.time_elapsed() / timer._duration
        return share if self.trainer.world_size == 1 else self.trainer.strategy.broadcast(share)

    def _total_steps(self) -> float:
        """Return the number of optimiser steps of the run, infinite if nothing limits them."""
        trainer = self.trainer
        total = trainer.estimated_stepping_batches
        if trainer.max_epochs == -1 or not 0 < total < math.inf:
            return total if total > 0 else math.inf
        # This has made the loader of the training batches before Lightning knows the place in the
        # epoch that a checkpoint continues from, which it tells to a loader when it makes it.
        trainer.fit_loop._combined_loader = None
        return total

    def on_fit_start(self) -> None:
        """Follow the options of callbacks that a checkpoint's state has replaced."""
        for callback, options in self._of_callbacks:
            vars(callback).update(options)

    def on_train_start(self) -> None:
        """Begin with the options and rates of this run.

        A checkpoint has replaced them by its own, and a rate finder leaves the rate that it found.
        """
        begin_training(self.trainer)
        self._last_step = LastStep()
        self._last_step.keep(self.trainer, self._random_and_carried())
        schedule: Any = self._schedule
        if schedule not in [config.scheduler for config in self.trainer.lr_scheduler_configs]:
            return
        fresh = [{"lr": self.optimizer.lr} | group for group in self.parameter_groups()]
        schedule.base_lrs = [group["lr"] for group in fresh]
        share = schedule.lr_lambdas[0](schedule.last_epoch)
        schedule._last_lr = [share * rate for rate in schedule.base_lrs]
        groups = zip(schedule.optimizer.param_groups, fresh, schedule._last_lr, strict=False)
        for group, own, rate in groups:
            options = {"weight_decay": own["weight_decay"], "betas": self.optimizer.betas}
            group |= options | {"lr": rate, "initial_lr": own["lr"]}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Log the learning rate; restore the random state of a checkpoint.

        That is for dropout and sampling.
        """
        self.log("train/lr", self.trainer.optimizers[0].param_groups[-1]["lr"])
        if self.random_state is not None:
            torch.set_rng_state(self.random_state)
            self.random_state = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the solvers' reports; on a GPU, only where they are written, since it waits."""
        if self.device.type == "cpu" or self.trainer._logger_connector.should_update_logs:
            self.log_dict(self.solver_reports())
        self._last_step.keep(self.trainer, self._random_and_carried())

    def log(self, name: str, value: Any, *arguments: Any, **options: Any) -> None:
        """Log as Lightning does, which sums values over an epoch in their own precision."""
        exact = precise(value) if isinstance(value, Tensor) and value.is_floating_point() else value
        super().log(name, exact, *arguments, **options)

    def log_scores(self, split: str, scores: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
        """Log the scores of an epoch of evaluation.

        Args:
            split: ``val`` or ``test``, before the names.
            scores: Values by name.
            shown: Names that the progress bar shows.
        """
        for name, value in scores.items():
            self.log(f"{split}/{name}", value, prog_bar=name in shown)

    def log_step(self, values: Mapping[str, Tensor], shown: Sequence[str] = ()) -> None:
        """Log values of a training step, averaged over processes.

        Args:
            values: Values by name, without ``train/``.
            shown: Names that the progress bar shows.
        """
        for name, value in averages(values).items():
            self.log(f"train/{name}", value.detach(), prog_bar=name in shown)

    def log_means(self, means: Mapping[str, Any], count: int) -> None:
        """Log means of a batch of evaluation, as parts of the means of an epoch.

        Args:
            means: Values by name.
            count: Of how many items they are.
        """
        # Lightning averages counts over processes in whole numbers, so each counts once for each.
        count = count * self.trainer.world_size
        self.log_dict(dict(means), batch_size=count, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the random state, and the state that the next batch may continue."""
        checkpoint["optimizer_options"] = self._options | {"found_lr": self.optimizer.lr}
        checkpoint.update(self._random_and_carried())
        if self._trainer is not None:
            self._last_step.replace(self.trainer, checkpoint)
        checkpoint[OF_PROCESSES] = of_all({name: checkpoint[name] for name in OWN})
        check_checkpoint_is_finite(self, checkpoint)

    def _random_and_carried(self) -> dict[str, Any]:
        random = torch.get_rng_state() if self.random_state is None else self.random_state
        return {"random_state": random, "carried_state": self.carry.kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Build the network if it does not exist; refuse the weights of another one.

        A strategy that loads the weights itself, part by part, leaves them out here.
        """
        saved = self.spec_type.saved_in(checkpoint.get("hyper_parameters", {}))
        if not self.is_built and saved is not None:
            self.specify(saved)
        own = self._own(checkpoint)
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            self.random_state = own.get("random_state")
            self._resume_optimizer(checkpoint)
        self.carry.kept = own.get("carried_state")
        if (weights := checkpoint.get("state_dict")) is not None:
            check_weights(self.state_dict(), weights)

    def _own(self, checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a checkpoint keeps of this process; say if it is of other processes."""
        several = checkpoint.get(OF_PROCESSES) or [checkpoint]
        count = 1 if self._trainer is None else self.trainer.world_size
        if len(several) == count:
            return several[self.global_rank]
        fitting = self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        if fitting and self.trainer.is_global_zero:
            _log.warning(
                "the checkpoint is of %d processes, this run of %d: data continue, random values"
                " and carried states do not",
                *(len(several), count),
            )
        return {}

    def _resume_optimizer(self, checkpoint: Mapping[str, Any]) -> None:
        """Keep a rate that was found for these options; report those that differ."""
        saved = checkpoint.get("optimizer_options")
        if saved is not None and saved["lr"] == self._options["lr"]:
            self.optimizer = replace(self.optimizer, lr=saved["found_lr"])
        saved = saved or checkpoint.get("hyper_parameters", {}).get("optimizer") or {}
        if self.trainer.is_global_zero:
            for name, before, now in changes(saved, self._options):
                _log.warning("optimizer.%s: %s, the checkpoint had %s", name, now, before)

    def solver_reports(self) -> dict[str, Tensor]:
        """Return ``solver_telemetry``, empty if all layers ran as one pass, without iterations."""
        figures = self.solver_telemetry()
        return figures if any(x != 0 for x in figures.values()) else {}

    def solver_telemetry(self) -> dict[str, Tensor]:
        """Return the worst figures over all recurrent layers of the last forward pass."""
        modules = [m for m in self.modules() if isinstance(m, Recurrent)]
        reports = [figures for m in modules if (figures := m.telemetry()) is not None]
        if not reports:
            return {}
        worst = torch.stack([x.to(self.device) for x in reports]).amax(0)
        names = ("solver/iterations", "solver/defect", "solver/loop_share")
        return dict(zip(names, worst, strict=True))


def replaced_options(callback: Callback) -> dict[str, Any]:
    """Return the options of a callback that its state in a checkpoint would replace."""
    if type(callback).load_state_dict is Callback.load_state_dict:
        return {}
    kept, values = callback.state_dict(), vars(callback)
    names = inspect.signature(type(callback)).parameters
    return {name: values[name] for name in names if name in kept and name in values}


def _convert_input(convert: Callable[[Any, Any], Any], plugin: Any, batch: Any) -> Any:
    """Return a batch as a trainer's precision has it, but for values that it would round."""

    def converted(x: Tensor) -> Tensor:
        found: Tensor = convert(plugin, x)
        return found if found.itemsize >= x.itemsize else x

    return apply_to_collection(batch, Tensor, converted)


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
