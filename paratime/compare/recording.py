"""What is noted of a run: curves, throughput, memory, and what Newton's method would need."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from paratime.compare.cost import peak_memory_mib
from paratime.compare.kind import Kind
from paratime.layers.recurrent import Recurrent
from paratime.solvers.newton import Newton
from paratime.training.base import Task

PROBES = 8
"""How often in a run Newton's method is tried."""

Curve = list[list[float]]


class Curves(Logger):
    """Keeps the losses and scores that are logged; what depends on the clock is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.points = defaultdict[str, Curve](list)

    @property
    def name(self) -> str:
        """What Lightning calls it."""
        return "curves"

    @property
    def version(self) -> int:
        """Which one it is."""
        return 0

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
        """Keep nothing: the settings are known."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep the losses of training and all scores of validation."""
        for name, value in metrics.items():
            if name == "train/loss" or (name.startswith("val/") and "solver" not in name):
                self.points[name].append([int(step or 0), float(value)])


class Observer(Callback):
    """Times training steps, tells how far they are, and tries Newton's method now and then.

    Args:
        kind: The kind of data.
        curves: Where what Newton's method needs is kept, as ``solver/iterations`` and so on.
        progress: Is called with the steps done and the last loss.
    """

    def __init__(self, kind: Kind, curves: Curves, progress: Callable[[int, float], None]) -> None:
        self._kind, self._curves, self._progress = kind, curves, progress
        self._paces = list[tuple[int, float]]()
        self._began, self._probe, self._validated = 0.0, 0, False
        self.peak_memory_mib = 0.0
        """Of the steps before the first validation, whose pictures may need more."""

    @property
    def seconds(self) -> float:
        """Time of all training steps."""
        return sum(seconds for _, seconds in self._paces)

    @property
    def units_per_s(self) -> float:
        """Median throughput of the second half of the steps."""
        return statistics.median(n / seconds for n, seconds in self._paces[len(self._paces) // 2 :])

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the model, then start the clock."""
        assert isinstance(pl_module, Task)
        if (step := trainer.global_step) >= self._probe:
            self._probe += max(1, trainer.max_steps // PROBES)
            for name, value in newton_needs(self._kind, pl_module, batch).items():
                self._curves.points[name].append([step, value])
        self._began = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop the clock, look at memory, and tell."""
        assert isinstance(pl_module, Task)
        loss = float(outputs["loss"])  # on a GPU, this waits for the step
        self._paces.append((pl_module.count(batch), time.perf_counter() - self._began))
        if not self._validated:
            self.peak_memory_mib = peak_memory_mib()
        self._progress(trainer.global_step, loss)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at memory no more."""
        self._validated = True


@torch.no_grad()
def newton_needs(kind: Kind, task: Task, batch: Any) -> dict[str, float]:
    """Return the worst figures of Newton's method over the layers that it could solve.

    Where fused kernels train, such as on a CPU, no iterations are needed; how many Newton's method
    would take says how hard the recurrence has become. Training does not notice.
    """
    layers = [module for module in task.modules() if isinstance(module, Recurrent)]
    solvers, training = [layer.solver for layer in layers], task.training
    if not layers:
        return {}
    device = task.device
    try:
        task.eval()
        for layer in layers:
            layer.solver = layer.solver or Newton()
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            kind.read(task, batch)
        return {name: float(x) for name, x in task.solver_telemetry().items()}
    finally:
        task.train(training)
        for layer, solver in zip(layers, solvers, strict=True):
            layer.solver = solver
