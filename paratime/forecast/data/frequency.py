"""From timestamps to steps: which frequency rows have, and which step of it each row is.

The frequency is the most common step between neighbouring rows of a series, so that neither a gap
nor a stray row changes it; every row must then lie on its grid, and what lies between is a gap.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from paratime.errors import InputError
from paratime.forecast.data.calendar import check_frequency, quiet
from paratime.forecast.data.sources.rows import SUMMER_TIME, Ints, Rows

DAY = 86_400 * 10**9
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


@cache
def period_frequency(freq: str) -> str:
    """Return a frequency as pandas spells that of periods, whichever way it is given.

    Starts and ends are the same period (``MS`` and ``ME`` are ``M``), a year of quarters that
    starts in October ends in September, and old spellings such as ``H`` are taken.

    Raises:
        InputError: It is none, or calendar features are not known for it.
    """
    with quiet():
        try:
            offset = to_offset(freq)
        except ValueError:
            return check_frequency(freq)
        code, _, anchor = offset.rule_code.partition("-")
        if calendar := re.fullmatch(r"B?([MQY])([SE])", code):
            if anchor and calendar[2] == "S":
                anchor = MONTHS[MONTHS.index(anchor) - 1]
            code = calendar[1]
        count = "" if offset.n == 1 else offset.n
        return check_frequency(f"{count}{code}-{anchor}".removesuffix("-"))


def infer_frequency(rows: Rows) -> str:
    """Return the most common step between rows as the frequency of periods.

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
    """Tell months from steps of the same number of days, four weeks or more."""
    return bool(rest.any() or time.day.nunique() == 1 or time.is_month_end.all())


def _months(rows: Rows) -> str:
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
    """Return the most common of some numbers, the least of those that are equally so."""
    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[counts.argmax()])


@dataclass(frozen=True)
class Grid:
    """Where rows lie in time.

    Attributes:
        freq: Frequency of the periods.
        start: First period of each series, S.
        step: Step of its series that each row is, counted from 0, (N,).
    """

    freq: str
    start: list[pd.Period]
    step: Ints


def place(rows: Rows, freq: str | None) -> Grid:
    """Put rows on a grid of time, of the frequency that they have if none is given.

    A row is on the grid if it is as far from the beginning, or from the end, of its period as the
    other rows of its series; in months, quarters and years, business days count as well.

    Raises:
        InputError: A row is off the grid, series differ in frequency, or ``freq`` is another one.
    """
    wanted = infer_frequency(rows) if freq is None else period_frequency(freq)
    with quiet():
        periods = rows.time.to_period(wanted)
        start = list(periods[rows.begin])
    repeated = rows.follows & (np.diff(periods.asi8) < 1)
    on_grid = np.zeros(len(rows.begin), dtype=bool)
    for alignment in _alignments(rows.time, wanted):
        stray = alignment != alignment[rows.first]
        stray[1:] |= repeated
        on_grid |= ~np.logical_or.reduceat(stray, rows.begin)
        if on_grid.all():
            break
    else:
        raise _off_grid(rows, int(on_grid.argmin()), wanted)
    step = (periods.asi8 - periods.asi8[rows.first]) // periods.freq.n
    _check_steps(rows, step, wanted, freq)
    return Grid(wanted, start, step)


def _alignments(time: pd.DatetimeIndex, freq: str) -> Iterator[Ints]:
    """Yield how far timestamps are from the beginning and from the end of their periods.

    Of a multiple of a period, each numbers the multiples' phases apart.
    """
    base = freq.lstrip("0123456789")
    count = int(freq.removesuffix(base) or 1)
    with quiet():
        periods = time.to_period(base)
        begin, end = periods.start_time, (periods + 1).start_time

    def phased(position: Ints) -> Ints:
        if count == 1:
            return position
        return np.unique(position, return_inverse=True)[1] * count + periods.asi8 % count

    yield phased(time.asi8 - begin.asi8)
    yield phased(end.asi8 - time.asi8)
    if base[0] in "MQY":
        first, day, last = (t.to_numpy().astype("datetime64[D]") for t in (begin, time, end))
        yield phased(np.busday_count(first, day) * DAY + time.asi8 % DAY)
        yield phased(np.busday_count(day, last) * DAY - time.asi8 % DAY)


def _off_grid(rows: Rows, series: int, freq: str) -> InputError:
    part = rows.part(series)
    own = _regular(rows.time[part])
    if own is not None:
        return _mixed(rows, series, own, freq)
    found = [a[part] for a in _alignments(rows.time, freq)]
    strays = [np.flatnonzero(a != most_common(a)) for a in found]
    stray = min((s for s in strays if len(s)), key=len)[0]
    got = f"a row off that grid, {rows.where(part.start + int(stray))}"
    remedy = f"correct it, or give freq; {SUMMER_TIME}"
    return InputError("timestamp", f"steps of {freq}", got, remedy)


def _check_steps(rows: Rows, step: Ints, freq: str, given: str | None) -> None:
    """Refuse series that are regular in longer steps; where ``freq`` is given, only if all are."""
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


def _mixed(rows: Rows, series: int, own: str, freq: str) -> InputError:
    expected, got = f"steps of {freq} in all series", f"{own} in series {rows.names[series]!r}"
    remedy = "split the table by frequency, or give the finest as freq"
    return InputError("timestamp", expected, got, remedy)
