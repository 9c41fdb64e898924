"""From timestamps to steps: the frequency of rows, and the step that each row is.

The frequency is the most common step between neighbouring rows of a series, so neither a gap nor
a stray row changes it. Every row must lie on its grid; steps without a row are gaps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from paratime.errors import InputError
from paratime.forecast.data.calendar import MONTHS, period_frequency, quiet_periods
from paratime.forecast.data.rows import SUMMER_TIME, Ints, SortedRows
from paratime.forecast.data.stamps import (
    ALIGNMENTS,
    DAY,
    NEVER,
    Stamps,
    alignments,
    base_frequency,
    choose_alignments,
)

GAP = 1000
"""Steps without a row that any series may have; more if it has many rows, or several such gaps."""

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def infer_frequency(rows: SortedRows) -> str:
    """Return the most common step between rows, as a frequency of periods.

    Raises:
        InputError: No series has two rows.
    """
    time, steps = rows.time, np.diff(rows.time.asi8)[rows.follows]
    if not steps.size:
        raise InputError("freq", "a series of at least two rows", "none", "give freq")
    step = most_common(steps)
    if step >= 28 * DAY and _in_months(time, steps % step):
        return _months(rows)
    if step % (7 * DAY) == 0:
        day = WEEKDAYS[most_common(time.dayofweek.to_numpy())]
        return period_frequency(f"{step // (7 * DAY)}W-{day}")
    if step == DAY and not (time.dayofweek >= 5).any():
        over_a_weekend = np.diff(time.dayofweek)[rows.follows] < 0
        return period_frequency("B" if over_a_weekend.any() else "D")
    return period_frequency(to_offset(pd.Timedelta(step, "ns")).freqstr)


def _in_months(time: pd.DatetimeIndex, rest: Ints) -> bool:
    """Distinguish months from steps of a fixed number of days, four weeks or more."""
    return bool(rest.any() or time.day.nunique() == 1 or time.is_month_end.all())


def _months(rows: SortedRows) -> str:
    month = 12 * rows.time.year.to_numpy() + rows.time.month.to_numpy() - 1
    between = np.diff(month)[rows.follows]
    count = most_common(between[between > 0])
    last = month if rows.time.is_month_end.mean() > 0.5 else month - 1  # of the period
    if count % 12 == 0:
        return period_frequency(f"{count // 12}YE-{MONTHS[most_common(last % 12)]}")
    if count % 3 == 0:
        return period_frequency(f"{count // 3}QE-{('JAN', 'FEB', 'DEC')[most_common(last % 3)]}")
    return period_frequency(f"{count}ME")


def most_common(values: NDArray[Any]) -> int:
    """Return the most common value, the least one if several are."""
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[counts.argmax()])


@dataclass(frozen=True)
class TimeGrid:
    """The steps of rows on a regular grid of time.

    Attributes:
        freq: Frequency of the periods.
        start: First period of each series, S.
        step: Step of each row in its series, from 0, (N,).
        stamps: The timestamps of each series, S.
    """

    freq: str
    start: list[pd.Period]
    step: Ints
    stamps: list[Stamps]


def place(rows: SortedRows, freq: str | None) -> TimeGrid:
    """Put rows on a grid of time, of their own frequency if none is given.

    A row is on the grid if its distance from the beginning, or from the end, of its period is that
    of the other rows of its series; in months, quarters and years, business days count as well.

    Raises:
        InputError: A row is off the grid, series differ in frequency, or ``freq`` does not fit.
    """
    wanted = infer_frequency(rows) if freq is None else period_frequency(freq)
    with quiet_periods():
        periods = rows.time.to_period(wanted)
        start = list(periods[rows.begin])
    distances = alignments(rows.time, wanted)
    phase = periods.asi8 % periods.freq.n
    stray = (distances != distances[:, rows.first]) | (distances == NEVER)
    stray |= phase != phase[rows.first]
    stray[:, 1:] |= rows.follows & (np.diff(periods.asi8) < 1)
    fits = ~np.logical_or.reduceat(stray, rows.begin, axis=1)
    if not fits.any(axis=0).all():
        raise _off_grid(rows, int(fits.any(axis=0).argmin()), wanted)
    step = (periods.asi8 - periods.asi8[rows.first]) // periods.freq.n
    _check_steps(rows, step, wanted, freq)
    _check_gaps(rows, step, wanted)
    return TimeGrid(wanted, start, step, _stamps(rows, distances[:, rows.begin], fits))


def _stamps(rows: SortedRows, distances: Ints, fits: NDArray[np.bool_]) -> list[Stamps]:
    chosen = choose_alignments(distances, fits)
    return [
        Stamps(int(distances[k, series]), *ALIGNMENTS[k], zone, rows.local, rows.counted)
        for series, (k, zone) in enumerate(zip(chosen.tolist(), rows.zones, strict=True))
    ]


def _off_grid(rows: SortedRows, series: int, freq: str) -> InputError:
    part = rows.part(series)
    own = _regular(rows.time[part])
    if own is not None:
        return _mixed(rows, series, own, freq)
    found = _phased(rows.time[part], freq)
    strays = [np.flatnonzero(a != most_common(a)) for a in found]
    stray = min((s for s in strays if len(s)), key=len)[0]
    where = rows.where(part.start + int(stray))
    return InputError(
        "timestamp",
        expected=f"steps of {freq}",
        got=f"a row off that grid, {where}",
        remedy=f"correct it, or give freq; {SUMMER_TIME}",
    )


def _phased(time: pd.DatetimeIndex, freq: str) -> list[Ints]:
    """Return the alignments; for a multiple of a period, each phase has values of its own."""
    count, base = base_frequency(freq)
    with quiet_periods():
        phase = time.to_period(base).asi8 % count
    distances = alignments(time, freq)
    return [np.unique(d, return_inverse=True)[1] * count + phase for d in distances]


def _check_gaps(rows: SortedRows, step: Ints, freq: str) -> None:
    """Refuse a gap that only a mistyped date explains: it would take up memory and mean nothing.

    Up to ``GAP`` steps it may be any, else three steps a row, or ten times the third longest gap.
    """
    gap = np.diff(step) * rows.follows
    for row in np.flatnonzero(gap > GAP).tolist():
        part = rows.part(rows.series(row))
        others = np.sort(gap[part.start : part.stop - 1])[-3:]
        third = others[0] if len(others) == 3 else GAP
        if gap[row] > max(GAP, 3 * (part.stop - part.start), 10 * third):
            late = 2 * (row + 1 - part.start) >= part.stop - part.start
            stray, other = (row + 1, row) if late else (row, row + 1)
            raise InputError(
                "timestamp",
                expected=f"a row of {freq} nearer to {rows.shown(rows.time[other])}",
                got=f"{gap[row]:,} steps away, {rows.where(stray)}",
                remedy="correct it; if the gap is real, begin another series after it",
            )


def _check_steps(rows: SortedRows, step: Ints, freq: str, given: str | None) -> None:
    """Refuse series that are regular in longer steps; if ``freq`` is given, only if all are."""
    between = np.diff(step, prepend=0)
    between[rows.begin] = np.iinfo(between.dtype).max
    longer = (np.minimum.reduceat(between, rows.begin) > 1) & (rows.lengths > 2)
    if given is not None and not (longer | (rows.lengths < 3)).all():
        return
    for series in np.flatnonzero(longer).tolist():
        own = _regular(rows.time[rows.part(series)])
        if own is not None:
            raise _mixed(rows, series, own, freq)


def _regular(time: pd.DatetimeIndex) -> str | None:
    """Return the frequency of a series without gaps."""
    return pd.infer_freq(time) if len(time) > 2 else None


def _mixed(rows: SortedRows, series: int, own: str, freq: str) -> InputError:
    return InputError(
        "timestamp",
        expected=f"steps of {freq} in all series",
        got=f"{own} in series {rows.names[series]!r}",
        remedy="split the table by frequency, or give the finest as freq",
    )
