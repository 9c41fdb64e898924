"""The rows of a long table: their columns, their order, and their places in files."""

import difflib
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_datetime64_any_dtype

from paratime.errors import InputError
from paratime.forecast.data.calendar import base_frequency, period_frequency, quiet_periods
from paratime.forecast.data.labels import label_text
from paratime.forecast.data.stamps import (
    DAY,
    SECOND,
    guess_zone,
    in_days,
    zone_name,
)

OFFSET = re.compile(r"([T ]\d[\d:.,]*) ?(?:Z|[+-]\d\d(?::?\d\d)?)$")
"""A time of day, and the zone after it."""

INDEX = re.compile(r"Unnamed: \d+$|index$|level_\d+$")
"""A column that pandas wrote, not its user."""

NUMBER = re.compile(r"-?\d{1,9}")

DATE = re.compile(r"\d{4}-\d\d")

TIME = "an ISO 8601 time from 1678 to 2261"
SUMMER_TIME = "local times repeat or skip an hour when summer time changes: give UTC or an offset"

Ints = NDArray[np.int64]
Files = Sequence[tuple[str, int]]
"""Names of the files of a table, and their numbers of rows."""


@dataclass(frozen=True)
class Columns:
    """The roles of the columns of a long table, as arguments of ``read_table``."""

    item_id: str | None = "item_id"
    timestamp: str = "timestamp"
    target: str | Sequence[str] = "target"
    known: Sequence[str] = ()
    past: Sequence[str] = ()
    static_real: Sequence[str] = ()
    static_cat: Sequence[str] = ()

    @property
    def targets(self) -> list[str]:
        """The columns of the target."""
        return [self.target] if isinstance(self.target, str) else [*self.target]

    @property
    def text(self) -> list[str]:
        """The columns that are not numeric."""
        return [self.timestamp, *self.static_cat, *([self.item_id] if self.item_id else [])]

    @property
    def numbers(self) -> list[str]:
        """The numeric columns."""
        return [*self.targets, *self.known, *self.past, *self.static_real]

    @property
    def used(self) -> list[str]:
        """All columns that have a role."""
        return [*dict.fromkeys([*self.text, *self.numbers])]

    def unused(self, frame: pd.DataFrame) -> list[str]:
        """Return the columns of a table that have no role."""
        return [str(name) for name in frame.columns if name not in self.used]

    def resolve(self, sample: pd.DataFrame) -> "Columns":
        """Return the columns of a table that lacks some of the default names.

        Without ``item_id`` the table is one series; ``timestamp`` is the only column of times, and
        ``target`` the only one of numbers.

        Args:
            sample: Some rows of the table.
        """
        found = [*sample.columns, *sample.index.names]
        free = [x for x in sample.columns if x not in self.used and not INDEX.match(str(x))]
        dates = [x for x in free if _are_times(sample[x])]
        numbers = [x for x in free if x not in dates and _are_numbers(sample[x])]
        roles: dict[str, Any] = {}
        if isinstance(self.target, str) and "," in self.target and self.target not in found:
            return replace(self, target=[x.strip() for x in self.target.split(",")]).resolve(sample)
        for role, candidates in (("timestamp", dates), ("target", numbers)):
            lacks = getattr(self, role) == role and role not in found
            if lacks and len(candidates) == 1:
                roles[role] = candidates[0]
        if self.item_id == "item_id" and "item_id" not in found:
            roles["item_id"] = None
        return replace(self, **roles)

    def select(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """Return the columns that have a role; levels of the index count by their names.

        Raises:
            InputError: A column is missing, or has two roles.
        """
        wanted = self.used
        levels = [n for n in frame.index.names if n in wanted and n not in frame.columns]
        frame = frame.reset_index(level=levels) if levels else frame
        self.check([*frame.columns], name)
        return frame[wanted]

    def check(self, found: Sequence[Hashable], name: str) -> None:
        """Refuse a table that lacks a column, and columns that have two roles.

        Raises:
            InputError: One line with the column and the nearest names.
        """
        if not self.targets:
            raise InputError("target", "at least one column", "none", "name it")
        for column in [*self.text, *self.numbers]:
            if found.count(column) != 1:
                near = difflib.get_close_matches(column, map(str, found), 3, cutoff=0)
                got = "two of that name" if column in found else "none of that name"
                remedy = f"the nearest are {', '.join(map(repr, near))}"
                if len(found) == 1 and (mark := re.search("[;\t|]", str(found[0]))):
                    remedy = f"separate columns by commas instead of {mark[0]!r}"
                raise InputError(repr(column), f"a column of {name}", got, remedy)
            roles = self.numbers.count(column) + (column == self.timestamp)
            if column in self.numbers and roles > 1:
                raise InputError(
                    repr(column),
                    "only one of target, known, past, static",
                    "several",
                    "use it once",
                )


def _are_times(values: pd.Series) -> bool:
    """Return whether all values are times, or text that begins with a year and a month."""
    if isinstance(values.dtype, pd.PeriodDtype) or is_datetime64_any_dtype(values.dtype):
        return True
    known = values.dropna()
    text = known.map(lambda x: isinstance(x, str | date) and bool(DATE.match(str(x))))
    return bool(len(known) and text.all())


def _are_numbers(values: pd.Series) -> bool:
    known = values.dropna()
    return bool(len(known)) and bool(pd.to_numeric(known, errors="coerce").notna().all())


@dataclass(frozen=True)
class SortedRows:
    """Rows of a long table, sorted by series and then by time.

    Attributes:
        names: Names of the S series.
        begin: The first row of each, (S,).
        time: Timestamps without a zone, (N,).
        order: Their places in the table, (N,).
        files: The files of the table.
        zones: The time zone of each series, None for none.
        local: Whether timestamps are those of its clock, not UTC.
        counted: Whether they are numbers of steps, as seconds from 1970.
    """

    names: list[str]
    begin: Ints
    time: pd.DatetimeIndex
    order: Ints
    files: Files
    zones: list[str | None]
    local: bool = False
    counted: bool = False

    @cached_property
    def lengths(self) -> Ints:
        """Rows of each series, (S,)."""
        return np.diff(self.begin, append=len(self.time))

    @cached_property
    def first(self) -> Ints:
        """The first row of each row's series, (N,)."""
        return np.repeat(self.begin, self.lengths)

    @cached_property
    def follows(self) -> NDArray[np.bool_]:
        """Whether a row follows another of its series, (N - 1,)."""
        return self.first[1:] == self.first[:-1]

    def series(self, row: int) -> int:
        """Return the series of a row."""
        return int(np.searchsorted(self.begin, row, side="right")) - 1

    def part(self, series: int) -> slice:
        """Return the rows of a series."""
        return slice(self.begin[series], self.begin[series] + self.lengths[series])

    def where(self, row: int) -> str:
        """Describe the place of a row."""
        name, place = self.names[self.series(row)], table_row(self.files, int(self.order[row]))
        return f"series {name!r} at {self.shown(self.time[row])} ({place})"

    def shown(self, time: pd.Timestamp) -> str:
        """Return a timestamp as the table writes it."""
        return str(time.value // SECOND) if self.counted else format_time(time)


def table_row(files: Files, row: int) -> str:
    """Describe a row of the table by its file, counted from 1 after the header."""
    for name, count in files:
        if row < count:
            return f"row {row + 1} of {name}"
        row -= count
    raise IndexError(row)


def format_time(time: pd.Timestamp) -> str:
    """Return a timestamp as text, without the time if it is a date."""
    return str(time).removesuffix(" 00:00:00")


def sort_rows(
    frame: pd.DataFrame, columns: Columns, files: Files, freq: str | None = None
) -> SortedRows:
    """Sort the rows of a table by series, in order of appearance, and by time.

    Raises:
        InputError: A series or a time is missing, unreadable or repeated.
    """
    times = _times(frame[columns.timestamp], files, freq)
    if columns.item_id is None:
        codes, names = np.zeros(len(frame), dtype=np.int64), ["0"]
    else:
        codes, names = encode_labels(frame[columns.item_id], files)
    local = times.zoned and _by_local_clock(times, codes, freq)
    time = times.local if local else times.utc
    order = np.lexsort((time.asi8, codes))
    begin = np.flatnonzero(np.diff(codes[order], prepend=-1))
    zones = times.zones(np.split(order, begin[1:]))
    rows = SortedRows(names, begin, time[order], order, files, zones, local, times.counted)
    again = np.flatnonzero(rows.follows & (np.diff(rows.time.asi8) == 0))
    if len(again):
        first = table_row(files, int(order[again[0]]))
        name_it = ", or name the column of series as item_id" * (columns.item_id is None)
        raise InputError(
            columns.timestamp,
            expected="one row a time in a series",
            got=f"a second after {first}: {rows.where(int(again[0]) + 1)}",
            remedy=f"delete one{name_it}; {SUMMER_TIME}",
        )
    return rows


def encode_labels(values: pd.Series, files: Files) -> tuple[Ints, list[str]]:
    """Return a code for each row, and the text of each code.

    Raises:
        InputError: A row has no value.
    """
    codes, distinct = pd.factorize(values)
    text = np.array([*map(label_text, distinct), ""], dtype=object)  # the last if it is missing
    missing = (text == "")[codes]
    refuse(missing, values, partial(table_row, files), expected="a name", remedy="fill it in")
    as_text, names = pd.factorize(text[:-1])
    return as_text[codes], names.tolist()


@dataclass(frozen=True)
class _Times:
    """Timestamps of rows, in UTC and on the clock of their zone.

    Attributes:
        utc: Without a zone, (N,).
        local: Without a zone, (N,).
        zoned: Whether they have a zone.
        zone: Its name, None if only offsets are known.
        counted: Whether they are numbers of steps.
    """

    utc: pd.DatetimeIndex
    local: pd.DatetimeIndex
    zoned: bool
    zone: str | None = None
    counted: bool = False

    def zones(self, series: Sequence[Ints]) -> list[str | None]:
        """Return the zone of each series, given its rows."""
        if self.zone is not None or not self.zoned:
            return [self.zone] * len(series)
        return [guess_zone(self.utc[rows], self.local[rows]) for rows in series]


def _by_local_clock(times: _Times, codes: Ints, freq: str | None) -> bool:
    """Return whether steps are regular on the local clock, rather than in UTC.

    So are days and longer steps at one time of day, and parts of a day that summer time shifts.
    """
    days = freq is None or in_days(period_frequency(freq))
    utc, local = (
        len(pd.DataFrame({"series": codes, "time": x.asi8 % DAY}).drop_duplicates())
        for x in (times.utc, times.local)
    )
    return bool((days and local == codes.max() + 1) or 2 * local <= utc)


def _step_numbers(text: Sequence[str], freq: str | None) -> Ints | None:
    """Return timestamps that are the numbers of steps, None if they are dates.

    Years and dates in digits are dates; years only if steps may be months or longer.
    """
    if not all(NUMBER.fullmatch(x) for x in text):
        return None
    numbers = np.array([*map(int, text)], dtype=np.int64)
    longer = freq is None or base_frequency(period_frequency(freq))[1][0] in "MQY"
    for digits, first, last in ((4, 1678, 2261), (6, 167801, 226112), (8, 16780101, 22611231)):
        written = all(len(x) == digits for x in text) and (longer or digits > 4)
        if written and ((first <= numbers) & (numbers <= last)).all():
            return None
    return numbers


def _times(values: pd.Series, files: Files, freq: str | None) -> _Times:
    """Return the timestamps of rows."""
    where = partial(table_row, files)
    if isinstance(values.dtype, pd.PeriodDtype):
        with quiet_periods():
            values = values.dt.to_timestamp()
    codes, distinct = pd.factorize(values)
    refuse(codes < 0, values, where, expected="a time", remedy="fill it in")
    zone = None
    if isinstance(distinct, pd.DatetimeIndex):
        bad = ((distinct.year < 1678) | (distinct.year > 2261))[codes]
        refuse(bad, values, where, expected=TIME, remedy="correct it")
        local, zoned = distinct.tz_localize(None), np.array(distinct.tz is not None)
        utc = distinct.tz_convert(None) if zoned else local
        zone = zone_name(distinct.tz, distinct[-1].utcoffset()) if zoned else None
    elif (numbers := _step_numbers([label_text(x) for x in distinct], freq)) is not None:
        steps = pd.DatetimeIndex((numbers * SECOND)[codes])
        return _Times(steps, steps, False, counted=True)
    else:
        text = [str(x) for x in distinct]
        utc = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).tz_localize(None)
        bad = (utc.isna() | [not t[:4].isdecimal() for t in text])[codes]
        remedy = "write it like 2024-03-31 or 2024-03-31T13:30"
        refuse(bad, values, where, expected=TIME, remedy=remedy)
        zoned = np.array([OFFSET.search(t) is not None for t in text])
        bad = (zoned != zoned[0])[codes]
        expected = f"{'a' if zoned[0] else 'no'} zone as before"
        refuse(bad, values, where, expected=expected, remedy="write all alike")
        local = pd.to_datetime([OFFSET.sub(r"\1", t) for t in text], format="ISO8601")
    utc, local = (x.as_unit("ns")[codes] for x in (utc, local))
    return _Times(utc, local, bool(zoned.all()), zone)


def refuse(
    bad: NDArray[np.bool_],
    values: pd.Series,
    where: Callable[[int], str],
    *,
    expected: str,
    remedy: str,
) -> None:
    """Refuse the first bad value of a column, if any is bad.

    Raises:
        InputError: One line with the column, the place and the value.
    """
    if bad.any():
        row = int(bad.argmax())
        value = values.iloc[row]
        text = "none" if pd.isna(value) else repr(str(value))
        raise InputError(f"{values.name} in {where(row)}", expected, text, remedy)
