"""From how many channels on the sequential kernels win, and the package's table that says so."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from paratime.ops.native import device

Key = tuple[str, str]
"""A direction and a format."""


def crossover(
    channels: Sequence[float],
    sequential: Sequence[float],
    parallel: Sequence[float],
    *,
    margin: float = 0.0,
) -> float:
    """Return from how many channels on the sequential times are never the longer ones again.

    Between two points, the logarithm of their ratio is taken to be linear in that of the channels.

    Args:
        channels: Increasing.
        sequential: Times at these.
        parallel: Times at these.
        margin: By how much, relatively, a time must be longer to count; that of noise.

    Returns:
        The first of ``channels`` where the sequential times win everywhere, and infinity where
        they lose at the last.
    """
    ratio = np.log(np.asarray(sequential) / np.asarray(parallel)) - math.log1p(margin)
    slower = np.flatnonzero(ratio > 0)
    if not slower.size:
        return float(channels[0])
    last = int(slower[-1])
    if last + 1 == len(ratio):
        return math.inf
    share = ratio[last] / (ratio[last] - ratio[last + 1])
    low, high = math.log(channels[last]), math.log(channels[last + 1])
    return math.exp(low + share * (high - low))


def rounded(value: float, largest: float) -> int:
    """Return a crossover to two digits; beyond the largest number of channels, one more than it."""
    if value > largest:
        return int(largest) + 1
    return int(float(f"{value:.1e}"))


def write_thresholds(found: Mapping[Key, int], source: str, path: Path | None = None) -> None:
    """Replace rows of the table that ``device.choose`` reads; it appears complete or not at all.

    Args:
        found: Channels by direction and format; other rows stay as they are.
        source: What the numbers come from, in words.
        path: The table; the package's by default.
    """
    path = device.TABLE if path is None else path
    table = pd.read_csv(path)
    rows = {(x.direction, x.format): (x.channels, x.source) for x in table.itertuples()}
    rows |= {key: (channels, source) for key, channels in found.items()}
    lines = [(*key, *value) for key, value in rows.items()]
    new = pd.DataFrame(lines, columns=["direction", "format", "channels", "source"])
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        new.to_csv(part, index=False)
        part.replace(path)
    device.thresholds.cache_clear()
