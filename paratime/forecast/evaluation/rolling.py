"""Rolling windows at the end of every series, on which all models are tested.

A window is a series, an origin (the last step that a model may know) and the values after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from paratime.errors import InputError, check_at_least
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.labels import amount, shorten
from paratime.forecast.data.rows import Ints
from paratime.forecast.data.series import Collection
from paratime.forecast.evaluation.metrics import Floats


@dataclass(frozen=True, eq=False)
class RollingWindows:
    """The N windows of a collection, series by series, each in order of time.

    Attributes:
        collection: The series.
        prediction_length: Steps H of a forecast.
        series: Index of the entry of each window, (N,).
        origin: The last step that is known, (N,).
    """

    collection: Collection
    prediction_length: int
    series: Ints
    origin: Ints

    def __len__(self) -> int:
        return len(self.series)

    @cached_property
    def firsts(self) -> Ints:
        """The first window of each series that has windows, (S,)."""
        return np.flatnonzero(np.diff(self.series, prepend=-1))

    @cached_property
    def item_id(self) -> list[str]:
        """The name of each window's series."""
        return [self.collection.entries[i]["item_id"] for i in self.series]

    @cached_property
    def period(self) -> list[pd.Period]:
        """The period of each origin."""
        starts = [self.collection.entries[i]["start"] for i in self.series]
        with quiet_periods():
            return [s + int(o) for s, o in zip(starts, self.origin, strict=True)]

    @cached_property
    def target(self) -> Floats:
        """The values after each origin, (N, H, C), NaN where missing."""
        ahead = np.arange(1, self.prediction_length + 1)
        return np.concatenate([y[o[:, None] + ahead] for y, o in self.by_series()])

    @cached_property
    def seasonal_error(self) -> Floats:
        """The denominator of MASE, (N, C), NaN if the history is too short for it."""
        return np.concatenate(
            [seasonal_error(y, o, self.collection.seasonality) for y, o in self.by_series()]
        )

    @cached_property
    def left_out(self) -> list[str]:
        """The names of the series that are too short for a window."""
        entries, known = self.collection.entries, {*self.series.tolist()}
        return [entry["item_id"] for i, entry in enumerate(entries) if i not in known]

    @property
    def scope(self) -> str:
        """How many windows and series there are, and what has no window or no score."""
        text = f"{amount(len(self), 'window')} of {len(self.firsts):,} series"
        if self.left_out:
            short = f"of at most {amount(self.prediction_length, 'step')}"
            text += f", without {len(self.left_out):,} series {short} ({shorten(self.left_out)})"
        if empty := int(np.isnan(self.target).all((1, 2)).sum()):
            text += f"; {amount(empty, 'window')} without a value to score"
        return text

    def by_series(self) -> Iterator[tuple[Floats, Ints]]:
        """Yield the values (T, C) and the origins (W,) of each series that has windows."""
        for origins in np.split(np.arange(len(self)), self.firsts[1:]):
            yield self.values(origins[0]), self.origin[origins]

    def values(self, window: int) -> Floats:
        """Return the whole series (T, C) of a window."""
        return np.atleast_2d(self.collection.entries[self.series[window]]["target"]).T

    def until_origin(self, window: int) -> dict[str, Any]:
        """Return the data entry of a window as it was at its origin.

        Covariates that are known ahead continue to the end of the window. Features that the series
        lack are left out, as GluonTS's models require.
        """
        entry, known = self.collection.entries[self.series[window]], int(self.origin[window]) + 1
        dynamic = entry["feat_dynamic_real"][:, : known + self.prediction_length]
        cut = {key: x for key, x in entry.items() if key != "stamps"} | {
            "target": entry["target"][..., :known],
            "feat_dynamic_real": dynamic,
            "past_feat_dynamic_real": entry["past_feat_dynamic_real"][:, :known],
        }
        return {key: x for key, x in cut.items() if not isinstance(x, np.ndarray) or len(x)}


def rolling(
    collection: Collection, prediction_length: int, windows: int = 1, stride: int | None = None
) -> RollingWindows:
    """Choose the last origins of every series; the last window ends with the series.

    A series that is too short for all of them has fewer windows, or none.

    Args:
        collection: The series.
        prediction_length: Steps of a forecast.
        windows: Windows of a series.
        stride: Steps from one origin to the next; ``prediction_length`` by default.

    Raises:
        InputError: An argument is below 1, or no series is long enough for a window.
    """
    stride = prediction_length if stride is None else stride
    check_at_least(1, prediction_length=prediction_length, windows=windows, stride=stride)
    lengths = np.array([entry["target"].shape[-1] for entry in collection.entries])
    back = prediction_length + stride * np.arange(windows - 1, -1, -1)
    origin = lengths[:, None] - 1 - back
    series, place = np.nonzero(origin >= 0)
    if not len(series):
        steps = f"one of more than {amount(prediction_length, 'step')}"
        longest = f"at most {lengths.max()}"
        raise InputError("series", steps, longest, "give longer series")
    return RollingWindows(collection, prediction_length, series, origin[series, place])


def with_future(collection: Collection, prediction_length: int) -> Collection:
    """Return series that continue for ``prediction_length`` steps with missing values."""

    def longer(rows: Floats, value: float) -> Floats:
        ends = [(0, 0)] * (rows.ndim - 1) + [(0, prediction_length)]
        return np.pad(rows, ends, constant_values=value)

    entries = [
        entry
        | {
            "target": longer(entry["target"], np.nan),
            "past_feat_dynamic_real": longer(entry["past_feat_dynamic_real"], 0.0),
        }
        for entry in collection.entries
    ]
    return replace(collection, entries=entries)


def seasonal_error(values: Floats, origin: Ints, season: int) -> Floats:
    """Return the mean absolute seasonal difference up to some origins, as GluonTS defines it.

    If the history is shorter than a season, differences are those of neighbours.

    Args:
        values: (T, C), NaN where missing.
        origin: Steps (W,).
        season: Steps of a season.

    Returns:
        (W, C), NaN without any difference.
    """
    seasonal, neighbours = (
        mean_until(np.abs(differences(values, m)), origin + 1 - m) for m in (season, 1)
    )
    return np.where((origin + 1 >= season)[:, None], seasonal, neighbours)


def differences(values: Floats, season: int) -> Floats:
    """Return seasonal differences of values (T, C), (max(0, T - season), C)."""
    exact = values.astype(np.float64)
    return exact[season:] - exact[:-season]


def mean_until(values: Floats, count: Ints) -> Floats:
    """Return the mean of the first ``count`` (W,) values (T, C), without NaN.

    Returns:
        (W, C), NaN without any value.
    """
    valid = ~np.isnan(values)
    sums = [np.cumsum(np.where(valid, values, 0.0), axis=0), np.cumsum(valid, axis=0)]
    total, known = (np.concatenate([np.zeros((1, values.shape[1])), x]) for x in sums)
    count = count.clip(0, len(values))
    with np.errstate(invalid="ignore"):
        return total[count] / known[count]
