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
from paratime.forecast.data.calendar import (
    MONTHS,
    NUMBER_THEM,
    base_frequency,
    period_frequency,
    quiet_periods,
)
from paratime.forecast.data.rows import SUMMER_TIME, Ints, SortedRows
from paratime.forecast.data.stamps import (
    ALIGNMENTS,
    DAY,
    NEVER,
    Stamps,
    alignments,
    choose_alignments,
    in_days,
    in_longest_month,
    in_months,
)

GAP = 1000
"""Steps without a row that any series may have; more if it has many rows, or several such gaps."""

UNUSUAL = 10
"""A gap that many times as long as the third longest of a series needs an explanation."""

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
    if step % DAY == 0 and not (time.dayofweek >= 5).any():
        over_a_weekend = np.diff(time.dayofweek)[rows.follows] < 0
        if over_a_weekend.any() and (count := _business_days(rows)):
            return period_frequency(f"{count}B")
    return period_frequency(to_offset(pd.Timedelta(step, "ns")).freqstr)


def _business_days(rows: SortedRows) -> int:
    """Return the most common step between rows in business days, 0 if others are no multiples."""
    day = rows.time.to_numpy().astype("datetime64[D]")
    steps = np.busday_count(day[:-1], day[1:])[rows.follows]
    count = most_common(steps)
    return count if count and not (steps % count).any() else 0


def _in_months(time: pd.DatetimeIndex, rest: Ints) -> bool:
    """Distinguish months from steps of a fixed number of days, four weeks or more."""
    return bool(rest.any() or time.day.nunique() == 1 or time.is_month_end.all())


def _months(rows: SortedRows) -> str:
    month = 12 * rows.time.year.to_numpy() + rows.time.month.to_numpy() - 1
    between = np.diff(month)[rows.follows]
    count = most_common(between[between > 0])
    at_end = rows.time.is_month_end.mean() > 0.5 or _in_last_week(rows.time)
    last = month if at_end else month - 1  # of the period
    if count % 12 == 0:
        return period_frequency(f"{count // 12}YE-{MONTHS[most_common(last % 12)]}")
    if count % 3 == 0:
        return period_frequency(f"{count // 3}QE-{('JAN', 'FEB', 'DEC')[most_common(last % 3)]}")
    return period_frequency(f"{count}ME")


def _in_last_week(time: pd.DatetimeIndex) -> bool:
    """Return whether all rows are the last of their day of the week in the month."""
    one_day = time.dayofweek.nunique() == 1 and time.day.nunique() > 1
    return bool(one_day and (time.day + 7 > time.days_in_month).all())


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
    if in_months(wanted):
        distances[0] = in_longest_month(distances[0], rows.time, rows.begin)
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
        Stamps(
            int(distances[k, series]),
            zone=zone,
            local=rows.local,
            counted=rows.counted,
            **ALIGNMENTS[k],
        )
        for series, (k, zone) in enumerate(zip(chosen.tolist(), rows.zones, strict=True))
    ]


def _off_grid(rows: SortedRows, series: int, freq: str) -> InputError:
    part = rows.part(series)
    if (other := _without_periods(rows.time[part])) is not None:
        return InputError(
            "timestamp",
            expected="periods of a pandas calendar, such as months or weeks",
            got=f"{other[0]} in series {rows.names[series]!r}",
            remedy=f"{NUMBER_THEM}, and give {other[1]} as season",
        )
    own = _regular(rows.time[part])
    if own is not None:
        return _mixed(rows, series, own, freq)
    found = _phased(rows.time[part], freq)
    strays = [np.flatnonzero(a != most_common(a)) for a in found]
    stray = min((s for s in strays if len(s)), key=len)[0]
    where = rows.where(part.start + int(stray))
    hint = f"for other calendars, {NUMBER_THEM}" if in_days(freq) else SUMMER_TIME
    return InputError(
        "timestamp",
        expected=f"steps of {freq}",
        got=f"a row off that grid, {where}",
        remedy=f"correct it, or give freq; {hint}",
    )


def _without_periods(time: pd.DatetimeIndex) -> tuple[str, int] | None:
    """Return a known kind of steps that no periods have, and the steps of its year."""
    steps, days = np.diff(time.asi8), np.where(time.is_month_end, 31, time.day)
    if len(time) < 4 or steps.min() < 5 * DAY:
        return None
    distinct, counts = np.unique(days, return_counts=True)
    if len(distinct) == 2 and 3 * counts.min() >= len(time):
        return "two rows a month", 24
    weeks, rest = np.divmod(steps, 7 * DAY)
    if not rest.any() and set(weeks) <= {4, 5, 6} and 4.2 < weeks.mean() < 4.6:
        return "months of 4 and 5 weeks", 12
    return None


def _phased(time: pd.DatetimeIndex, freq: str) -> list[Ints]:
    """Return the alignments; for a multiple of a period, each phase has values of its own."""
    count, base = base_frequency(freq)
    with quiet_periods():
        phase = time.to_period(base).asi8 % count
    distances = alignments(time, freq)
    return [np.unique(d, return_inverse=True)[1] * count + phase for d in distances]


def _check_gaps(rows: SortedRows, step: Ints, freq: str) -> None:
    """Refuse a gap that only a mistyped date explains: it would take up memory and mean nothing.

    Up to ``GAP`` steps it may be any, else three steps a row, or ``UNUSUAL`` times the third
    longest gap. An unusual one is refused, however short, if the year of one row explains it.
    """
    gap = np.diff(step) * rows.follows
    longest = np.repeat(np.maximum.reduceat(np.append(0, gap), rows.begin), rows.lengths)[1:]
    for row in np.flatnonzero((gap > GAP) | ((gap > UNUSUAL) & (gap == longest))).tolist():
        part = rows.part(rows.series(row))
        others = np.sort(gap[part.start : part.stop - 1])[-3:]
        third = others[0] if len(others) == 3 else GAP
        late = 2 * (row + 1 - part.start) >= part.stop - part.start
        stray, other = (row + 1, row) if late else (row, row + 1)
        far = gap[row] > max(GAP, 3 * (part.stop - part.start), UNUSUAL * third)
        if far or (gap[row] > UNUSUAL * third and _fits_another_year(rows, part, row, late, freq)):
            raise InputError(
                "timestamp",
                expected=f"a row of {freq} nearer to {rows.shown(rows.time[other])}",
                got=f"{gap[row]:,} steps away, {rows.where(stray)}",
                remedy="correct it; if the gap is real, begin another series after it",
            )


def _fits_another_year(rows: SortedRows, part: slice, row: int, late: bool, freq: str) -> bool:
    """Return whether a row alone at an end of a series, in another year, is a neighbour of others.

    The end of a real gap is a step that the other rows lack, next to one that they have, only by
    chance; and a year is always next to the others.

    Args:
        rows: The rows.
        part: Those of the series.
        row: The row before the gap.
        late: Whether the end is the one after the gap, or else the one before it.
        freq: Frequency.
    """
    halves = rows.time[part.start : row + 1], rows.time[row + 1 : part.stop]
    rest, end = halves if late else halves[::-1]
    if rows.counted or len(end) > 1:
        return False
    step = base_frequency(freq)[0]
    with quiet_periods():
        known = rest.to_period(freq).asi8
        years = range(rest[0].year - 1, rest[-1].year + 2)
        moved = [(end[0] + pd.DateOffset(year=year)).to_period(freq).ordinal for year in years]
    if "Y" in freq:
        moved = [x for x in moved if known[0] < x < known[-1]]
    free = np.setdiff1d(moved, known)
    return bool(np.isin([free - step, free + step], known).any())


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
