"""What is recorded of a run: curves, throughput, memory, and what Newton's method would need."""

import os
import platform
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from paratime.compare.domains import Domain
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import Recurrent
from paratime.solvers.newton import Newton
from paratime.training.base import Task

TIMED = 128
"""Steps of generation that are timed, after half as many to warm up."""

PROBES = 8
"""How often in a run Newton's method is tried."""

Curve = list[list[float]]


class Curves(Logger):
    """Keeps the logged losses and scores, but nothing that depends on the clock."""

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
    """Times training steps, reports progress, and tries Newton's method from time to time.

    Args:
        domain: The domain of the run.
        curves: Receives what Newton's method needs, as ``solver/iterations`` and so on.
        progress: Called with the number of steps done and the last loss.
    """

    def __init__(
        self, domain: Domain, curves: Curves, progress: Callable[[int, float], None]
    ) -> None:
        self._domain, self._curves, self._progress = domain, curves, progress
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
        """Try Newton's method if it is time to, then start the clock."""
        assert isinstance(pl_module, Task)
        if (step := trainer.global_step) >= self._probe:
            self._probe += max(1, trainer.max_steps // PROBES)
            for name, value in newton_needs(self._domain, pl_module, batch).items():
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
        """Stop the clock, read the memory in use, and report progress."""
        assert isinstance(pl_module, Task)
        loss = float(outputs["loss"])  # on a GPU, this waits for the step
        self._paces.append((pl_module.count(batch), time.perf_counter() - self._began))
        if not self._validated:
            self.peak_memory_mib = peak_memory_mib()
        self._progress(trainer.global_step, loss)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop reading the memory in use."""
        self._validated = True


@torch.no_grad()
def newton_needs(domain: Domain, task: Task, batch: Any) -> dict[str, float]:
    """Return the worst figures of Newton's method over the layers that it could solve.

    Where fused kernels train, as on a CPU, no iterations are needed; how many Newton's method would
    take shows how hard the recurrence has become. Training is not affected.
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
            domain.read(task, batch)
        return {name: float(x) for name, x in task.solver_telemetry().items()}
    finally:
        task.train(training)
        for layer, solver in zip(layers, solvers, strict=True):
            layer.solver = solver


def peak_memory_mib() -> float:
    """Return the peak memory of this process so far in MiB: on the GPU, if it has one.

    Without a GPU, it includes what the imports occupy.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource  # of Unix alone

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def machine() -> str:
    """Return the machine that costs are measured on in one line: processor, cores and torch."""
    return f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}"


def _processor() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


@torch.inference_mode()
def step_ms(encoder: Encoder) -> float:
    """Return the median time of a step of one sequence, in milliseconds."""
    encoder.eval()
    x, state, seconds = next(encoder.parameters()).new_zeros(1, encoder.width), None, []
    for _ in range(TIMED + TIMED // 2):
        began = time.perf_counter()
        _, state = encoder.step(x, state)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds[-TIMED:])
