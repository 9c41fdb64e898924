"""How wide intervals are: a factor found on windows that training has not seen.

A network that has seen a history several times errs less there than on what follows, so that its
intervals are too narrow. One factor for all of them is split conformal prediction (Papadopoulos et
al., 2002) whose score is |y - median| over the half-width, on its side, of the central 80 %: the
0.8 quantile of it over the last windows of the training data, which are kept from the loss.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from paratime.forecast.series import Collection
from paratime.forecast.task import ForecastTask

SHARE, WINDOWS = 20, 28
"""At most one in ``SHARE`` steps of the shortest series is kept, at most ``WINDOWS`` windows."""

LEVELS = (0.1, 0.5, 0.9)
LEAST, MOST = 0.5, 4.0
"""Bounds of the factor."""


def calibration_windows(data: Collection, prediction_length: int) -> int:
    """Return how many windows of each series the factor is found on: none of short ones."""
    shortest = min(entry["target"].shape[-1] for entry in data.entries)
    return min(WINDOWS, shortest // (SHARE * prediction_length))


@torch.inference_mode()
def calibrate(task: ForecastTask, batches: Iterable[dict[str, Tensor]]) -> None:
    """Set the factor of a network, whose output is affine, from windows and what came."""
    network = task.eval().network
    network.stretch.fill_(1)
    scores = []
    for batch in batches:
        low, median, high = task.quantiles(batch, LEVELS).double().unbind(-1)
        error = batch["future_target"] - median
        half = torch.where(error < 0, median - low, high - median)
        scores.append((error.abs() / half)[~error.isnan() & (half > 0)])
    found = torch.cat(scores)
    if len(found):
        factor = found.sort().values[int(0.8 * (len(found) - 1))]
        network.stretch.fill_(factor.clamp(LEAST, MOST))
