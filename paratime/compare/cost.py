"""What a run costs."""

import resource
import statistics
import sys
import time

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
