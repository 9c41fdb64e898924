"""Values for covariates that are missing."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.errors import InputError

Fill = float | Literal["forward", "interpolate"]
"""A number, the last value before, or a line between the neighbours."""

WAYS = ("forward", "interpolate")


def check_fill(fill: Fill | None) -> None:
    """Refuse what is no way of filling gaps."""
    if fill is None or fill in WAYS:
        return
    if isinstance(fill, str) or not np.isfinite(fill):
        raise InputError("fill", f"{', '.join(WAYS)} or a number", repr(fill), "choose one of them")


def fill_gaps(rows: NDArray[np.float32], fill: Fill) -> NDArray[np.float32]:
    """Return rows (n, T) of a series with values where NaN is.

    Gaps before the first value have none before them: ``forward`` leaves them. Beyond the first and
    last value, ``interpolate`` repeats these. A row without any value stays, but for a number.
    """
    if not np.isnan(rows).any():
        return rows
    table = pd.DataFrame(rows.T)
    if fill == "forward":
        filled = table.ffill()
    elif fill == "interpolate":
        filled = table.interpolate(limit_direction="both")
    else:
        filled = table.fillna(fill)
    return filled.to_numpy(np.float32).T


def instead_of(fill: Fill | None) -> str:
    """Return what fills a gap that a way of filling has left."""
    if fill is None:
        return "give fill: forward, interpolate or a number"
    return "give another fill: interpolate or a number" if fill == "forward" else "fill: a number"
