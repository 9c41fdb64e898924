"""How many operations a second a device can do at most, to say how much of it training reaches."""

import time
import warnings
from functools import lru_cache

import torch
from lightning.fabric.utilities.throughput import get_available_flops

PRECISIONS = {"64": torch.float64, "bf16": torch.bfloat16, "16": torch.float16}
"""What the names of Lightning's precisions begin with, where they are not float32."""

SIZE = 1024


def precision_of(name: str) -> torch.dtype:
    """Return the type of products under a precision of Lightning, such as ``bf16-mixed``."""
    return PRECISIONS.get(str(name).split("-")[0], torch.float32)


@lru_cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Return the operations a second of dense products, if they are known.

    Of GPUs it is the vendor's figure, from Lightning's table; of a CPU, the best of a few products
    of square matrices.
    """
    if device.type == "cuda":
        return _listed(device, dtype)
    return _measured(dtype) if device.type == "cpu" else None


def _listed(device: torch.device, dtype: torch.dtype) -> float | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown GPU has no figure, which is no mistake
        return get_available_flops(device, dtype)


@torch.no_grad()
def _measured(dtype: torch.dtype) -> float:
    a, seconds = torch.ones(SIZE, SIZE, dtype=dtype), []
    for _ in range(4):
        began = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - began)
    return 2 * SIZE**3 / min(seconds)
