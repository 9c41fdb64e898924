"""Throughput of training, and the share of the device's peak that it uses."""

import logging
import time
import warnings
from collections import deque
from functools import lru_cache
from typing import Any

import torch
from lightning.fabric.utilities.throughput import get_available_flops
from lightning.pytorch import Callback, LightningModule, Trainer

_log = logging.getLogger("paratime")

PRECISIONS = {"64": torch.float64, "bf16": torch.bfloat16, "16": torch.float16}
"""First part of the names of Lightning's precisions; all others are float32."""

SIZE = 1024
"""Rows and columns of the products that a CPU's peak is measured by."""

SLOW = 2.0
"""How many times as long as in float32 a product may take before a run warns of it."""

RECENT = 20
"""Batches that throughput is averaged over."""


class Throughput(Callback):
    """Log a task's units per second, and its model FLOPs utilisation (arXiv 2204.02311)."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT)
        self._started = 0.0

    def on_train_batch_start(self, *arguments: Any) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the mean of the last batches."""
        if trainer.global_step < 2:  # torch imports its compiler in the first step
            return
        task: Any = pl_module  # a ``Task``, which has this callback
        self._recent.append((task.count(batch), time.perf_counter() - self._started))
        count, seconds = (sum(column) for column in zip(*self._recent, strict=True))
        task.log(f"train/{task.unit}_per_s", count / seconds, prog_bar=True)
        if (flops := task.flops()) is not None:
            peak = peak_flops(task.device, precision_of(trainer.precision))
            if peak is not None:
                task.log("train/mfu", count / seconds * flops / peak)


def precision_of(name: str) -> torch.dtype:
    """Return the type of products under a precision of Lightning, such as ``bf16-mixed``."""
    return PRECISIONS.get(str(name).split("-")[0], torch.float32)


@lru_cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Return the operations a second of dense products, if known.

    For a GPU this is the vendor's figure, from Lightning's table; for a CPU, the best of a few
    products of square matrices.
    """
    if device.type == "cuda":
        return _listed(device, dtype)
    return _measured(dtype) if device.type == "cpu" else None


def _listed(device: torch.device, dtype: torch.dtype) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown GPU has no figure, which is no mistake
        return get_available_flops(device, dtype)


def warn_if_slow(device: torch.device, precision: str) -> None:
    """Warn of a precision whose products take this CPU longer than those of float32.

    Processors without instructions for it compute it in software: bfloat16 without AVX-512, and
    float16 on nearly all.

    Args:
        device: Where a run computes.
        precision: A precision of Lightning, such as ``bf16-mixed``.
    """
    dtype = precision_of(precision)
    if device.type == "cpu" and dtype.itemsize == 2 and (times := _slowdown(dtype)) > SLOW:
        _log.warning(
            "precision %s: a product takes this CPU %.0f times as long as in float32; "
            "use --trainer.precision 32-true",
            precision,
            times,
        )


@lru_cache
def _slowdown(dtype: torch.dtype) -> float:
    return _seconds(dtype, SIZE // 8) / _seconds(torch.float32, SIZE // 8)


def _measured(dtype: torch.dtype) -> float:
    return 2 * SIZE**3 / _seconds(dtype, SIZE)


@torch.no_grad()
def _seconds(dtype: torch.dtype, size: int) -> float:
    """Return the shortest time of a few products of square matrices."""
    a, seconds = torch.ones(size, size, dtype=dtype), []
    for _ in range(4):
        began = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - began)
    return min(seconds)
