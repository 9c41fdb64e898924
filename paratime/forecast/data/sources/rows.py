"""The rows of a long table: which columns they have, where they are, and how they are sorted."""

import difflib
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.errors import InputError

OFFSET = re.compile(r"([T ]\d[\d:.,]*) ?(?:Z|[+-]\d\d(?::?\d\d)?)$")
"""A time of day, and the zone behind it."""

TIME = "an ISO 8601 time from 1678 to 2261"
SUMMER_TIME = "local times repeat or skip an hour when summer time changes: give UTC or an offset"

Ints = NDArray[np.int64]
Files = Sequence[tuple[str, int]]
"""Name and number of rows of the files that make up a table."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a long table hold what; as ``read_table`` takes them."""

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
        """The columns that are not numbers."""
        return [self.timestamp, *self.static_cat, *([self.item_id] if self.item_id else [])]

    @property
    def numbers(self) -> list[str]:
        """The columns that are."""
        return [*self.targets, *self.known, *self.past, *self.static_real]

    @property
    def used(self) -> list[str]:
        """All of them."""
        return [*dict.fromkeys([*self.text, *self.numbers])]

    def unused(self, frame: pd.DataFrame) -> list[str]:
        """Return the columns of a table that are none of them."""
        return [str(name) for name in frame.columns if name not in self.used]

    def select(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """Return these columns; levels of the index count as columns where they have their names.

        Raises:
            InputError: The table lacks one of them, or they are given two roles.
        """
        wanted = self.used
        levels = [n for n in frame.index.names if n in wanted and n not in frame.columns]
        frame = frame.reset_index(level=levels) if levels else frame
        self.check([*frame.columns], name)
        return frame[wanted]

    def check(self, there: Sequence[Hashable], name: str) -> None:
        """Refuse a table that lacks one of them, and columns that are given two roles.

        Raises:
            InputError: One line that says which, with the columns of the nearest names.
        """
        if not self.targets:
            raise InputError("target", "at least one column", "none", "name it")
        for column in [*self.text, *self.numbers]:
            if there.count(column) != 1:
                near = difflib.get_close_matches(column, map(str, there), 3, cutoff=0)
                got = "two of that name" if column in there else "none of that name"
                remedy = f"the nearest are {', '.join(map(repr, near))}"
                if len(there) == 1 and (mark := re.search("[;\t|]", str(there[0]))):
                    remedy = f"separate columns by commas instead of {mark[0]!r}"
                raise InputError(repr(column), f"a column of {name}", got, remedy)
            if (
                column in self.numbers
                and self.numbers.count(column) + (column == self.timestamp) > 1
            ):
                expected = "only one of target, known, past and static"
                raise InputError(repr(column), expected, "several", "name it once")


@dataclass(frozen=True)
class Rows:
    """Rows of a long table, sorted by series and then by time.

    Attributes:
        names: Names of the S series.
        begin: The first row of each, (S,).
        time: Timestamps without a zone, (N,).
        order: Which row of the table each is, (N,).
        files: The files of the table.
    """

    names: list[str]
    begin: Ints
    time: pd.DatetimeIndex
    order: Ints
    files: Files

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
        """Return the series that a row belongs to."""
        return int(np.searchsorted(self.begin, row, side="right")) - 1

    def part(self, series: int) -> slice:
        """Return the rows of a series."""
        return slice(self.begin[series], self.begin[series] + self.lengths[series])

    def where(self, row: int) -> str:
        """Say where a row is."""
        name, place = self.names[self.series(row)], table_row(self.files, int(self.order[row]))
        return f"series {name!r} at {shown(self.time[row])} ({place})"


def table_row(files: Files, row: int) -> str:
    """Say which row of which file a row of the table is, counted from 1 below the header."""
    for name, count in files:
        if row < count:
            return f"row {row + 1} of {name}"
        row -= count
    raise IndexError(row)


def shown(time: pd.Timestamp) -> str:
    """Return a timestamp as text, a date where it is one."""
    return str(time).removesuffix(" 00:00:00")


def sort_rows(frame: pd.DataFrame, columns: Columns, files: Files) -> Rows:
    """Sort the rows of a table by series, in the order in which these appear, and by time.

    Raises:
        InputError: A series or a time is missing, unreadable, or there twice.
    """
    time = _times(frame[columns.timestamp], files)
    if columns.item_id is None:
        codes, names = np.zeros(len(frame), dtype=np.int64), ["0"]
    else:
        codes, names = encode(frame[columns.item_id], files)
    order = np.lexsort((time.asi8, codes))
    begin = np.flatnonzero(np.diff(codes[order], prepend=-1))
    rows = Rows(names, begin, time[order], order, files)
    again = np.flatnonzero(rows.follows & (np.diff(rows.time.asi8) == 0))
    if len(again):
        first = table_row(files, int(order[again[0]]))
        got = f"a second after {first}: {rows.where(int(again[0]) + 1)}"
        remedy = f"delete one; {SUMMER_TIME}"
        raise InputError(columns.timestamp, "one row a time in a series", got, remedy)
    return rows


def encode(values: pd.Series, files: Files) -> tuple[Ints, list[str]]:
    """Return a code for each row, and the text that each code stands for.

    Raises:
        InputError: A row has none.
    """
    codes, distinct = pd.factorize(values)
    refuse(codes < 0, values, partial(table_row, files), "a name", "fill it in")
    as_text, names = pd.factorize(np.array([str(x) for x in distinct], dtype=object))
    return as_text[codes], names.tolist()


def _times(values: pd.Series, files: Files) -> pd.DatetimeIndex:
    """Return timestamps without a zone."""
    where = partial(table_row, files)
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    codes, distinct = pd.factorize(values)
    refuse(codes < 0, values, where, "a time", "fill it in")
    if isinstance(distinct, pd.DatetimeIndex):
        bad = ((distinct.year < 1678) | (distinct.year > 2261))[codes]
        refuse(bad, values, where, TIME, "correct it")
        local, zoned = distinct.tz_localize(None), np.array(distinct.tz is not None)
        utc = distinct.tz_convert(None) if zoned else local
    else:
        text = [str(x) for x in distinct]
        utc = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True).tz_localize(None)
        bad = (utc.isna() | [not t[:4].isdecimal() for t in text])[codes]
        remedy = "write it like 2024-03-31 or 2024-03-31T13:30"
        refuse(bad, values, where, TIME, remedy)
        zoned = np.array([OFFSET.search(t) is not None for t in text])
        bad = (zoned != zoned[0])[codes]
        refuse(bad, values, where, f"{'a' if zoned[0] else 'no'} zone as before", "write all alike")
        local = pd.to_datetime([OFFSET.sub(r"\1", t) for t in text], format="ISO8601")
    dates = zoned.all() and (local == local.normalize()).all()
    return (local if dates else utc).as_unit("ns")[codes]


def refuse(
    bad: NDArray[np.bool_],
    values: pd.Series,
    where: Callable[[int], str],
    expected: str,
    remedy: str,
) -> None:
    """Refuse the first bad value of a column, where there is one.

    Raises:
        InputError: One line that names the column, the place and the value.
    """
    if bad.any():
        row = int(bad.argmax())
        got = "none" if pd.isna(values.iloc[row]) else repr(str(values.iloc[row]))
        raise InputError(f"{values.name} in {where(row)}", expected, got, remedy)
