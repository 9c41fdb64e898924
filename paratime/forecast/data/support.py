"""The values that series can take: any, none below zero, or counts; and how much they vary."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.forecast.data.series import Collection

ZEROS = 0.05
"""Least share of zeros in series whose bound is zero."""

SMALL = 10
"""Counts with a smaller median are near their bound without zeros, too."""

LEAST = 0.02
"""Variation of series that are all constant."""


@dataclass(frozen=True)
class Support:
    """What the observed values of series have in common.

    Attributes:
        nonnegative: No value is negative, and all are whole or many are zero. Other levels above
            zero do not tell whether a value can be negative.
        counts: All values are whole, and many are zero or most are small.
        near_zero: Many values are zero, or most are small counts.
    """

    nonnegative: bool
    counts: bool
    near_zero: bool


def support(data: Collection, held_out: int = 0) -> Support:
    """Return the support of all series before the last ``held_out`` steps of each."""
    values = np.concatenate([np.zeros(0), *_channels(data, held_out)])
    if not values.size or values.min() < 0:
        return Support(False, False, False)
    whole = bool((values == np.round(values)).all())
    near = bool((values == 0).mean() >= ZEROS or (whole and np.median(values) < SMALL))
    return Support(near or whole, near and whole, near)


def variation(data: Collection, held_out: int = 0) -> float:
    """Return the median, over series, of their mean change from one value to the next over level.

    It stands in for the scale of a series that has not varied yet.
    """
    channels = [x for x in _channels(data, held_out) if np.abs(np.diff(x)).sum() > 0]
    shares = [np.abs(np.diff(x)).mean() / np.abs(x).mean() for x in channels]
    return float(np.median(shares)) if shares else LEAST


def _channels(data: Collection, held_out: int) -> Iterator[NDArray[np.floating[Any]]]:
    """Yield the observed values of each channel before the last ``held_out`` steps."""
    for entry in data.entries:
        target = np.atleast_2d(entry["target"]).astype(np.float64)
        for values in target[:, : max(0, target.shape[1] - held_out)]:
            yield values[~np.isnan(values)]
