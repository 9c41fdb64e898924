"""What a run costs."""

import os
import platform
import re
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from paratime.layers.encoder import Encoder

STEPS = 128
"""Steps of generation that are timed, after half as many that are not."""


def peak_memory_mib() -> float:
    """Return the most memory that this process has had so far, in MiB: on the GPU, if it has any.

    That of a process without a GPU begins with what its imports take.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def machine() -> str:
    """Return what costs are measured on, in one line: processor, its cores, and torch."""
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
    for _ in range(STEPS + STEPS // 2):
        began = time.perf_counter()
        _, state = encoder.step(x, state)
        if x.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds[-STEPS:])
