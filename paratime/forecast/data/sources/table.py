"""Long tables, one row a step of a series, as series.

Rows may be in any order: they are sorted by timestamp. Steps without a row are gaps: their target
is missing. Covariates have a value at every step; only those known ahead continue beyond the last
observed target, in rows whose target is empty. Without covariates known ahead, such rows are steps
with a missing target. A new item, whose target is empty in all rows, begins its forecast after the
last observed target of the other series, or else with its first row.

A table without a column ``item_id`` is one series. Where ``timestamp`` or ``target`` are missing
and no other name is given, they are the only column of times and the only one of numbers.

Steps are of any length from nanoseconds, or business days, weeks, months, quarters or years, at any
moment of these, such as the third Friday of a month. Two rows a month, and months of 4 and 5 weeks,
are refused: such steps can be numbered.

Timestamps are ISO 8601, dates included, or the numbers of steps, which have neither calendar nor
season; numbers like 1990 are years. Periods have no time zone, so times with a zone or an
offset count in UTC; but days and longer steps at one time of day count on the local clock.
Forecasts have the table's own timestamps, zone included. A zone without a name keeps its last
offset, unless its offsets are those of a known summer time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from paratime.errors import InputError
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.frequency import TimeGrid, place
from paratime.forecast.data.rows import (
    Columns,
    Files,
    Ints,
    SortedRows,
    encode_labels,
    refuse,
    sort_rows,
)
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.filling import Fill, check_fill, fill_gaps, instead_of
from paratime.forecast.data.windows import LARGEST
from paratime.io.files import (
    CSV,
    CSV_OPTIONS,
    PARQUET,
    csv_columns,
    find,
    reading_csv,
    reading_parquet,
)
from paratime.io.frames import as_pandas, read_texts

Floats = NDArray[np.float32]

SAMPLE = 100
"""Rows that tell the columns of times and of numbers."""

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A")
"""Missing numbers in CSV. Names may be ``NA``: they are missing only if they are empty."""


def read_table(
    frame: Any,
    *,
    item_id: str | None = "item_id",
    timestamp: str = "timestamp",
    target: str | Sequence[str] = "target",
    known: Sequence[str] = (),
    past: Sequence[str] = (),
    static_real: Sequence[str] = (),
    static_cat: Sequence[str] = (),
    freq: str | None = None,
    fill: Fill | None = None,
) -> Collection:
    """Read a long table: one row a step of a series, in any order.

    Args:
        frame: The table, of pandas, polars, pyarrow or any package with Arrow's interface; levels
            of pandas' index count as columns by their names.
        item_id: Column that names the series; None if the table is one series.
        timestamp: Column of times.
        target: Column to forecast, or columns of a multivariate target.
        known: Columns of covariates that are known ahead.
        past: Columns of covariates that are known only up to the present.
        static_real: Columns of values that are constant in a series.
        static_cat: Columns of categories that are constant in a series.
        freq: Frequency, the same for all series; by default, the most common step between rows.
            If it is given, series with longer steps are series with gaps.
        fill: What missing covariates become: ``forward`` for the last value before them,
            ``interpolate`` for a line between their neighbours (which looks ahead), or a number;
            by default they are refused. Missing targets stay missing.

    Raises:
        InputError: The table is unusable; one line with the place. Rows are counted from 1.
    """
    columns = Columns(
        item_id=item_id,
        timestamp=timestamp,
        target=target,
        known=known,
        past=past,
        static_real=static_real,
        static_cat=static_cat,
    )
    frame = as_pandas(frame)
    columns = columns.resolve(frame)
    chosen = columns.select(frame, "the table")
    found = read_rows(chosen, columns, [("the table", len(chosen))], freq, fill)
    return replace(found, unused=tuple(columns.unused(frame)))


def read_rows(
    frame: pd.DataFrame, columns: Columns, files: Files, freq: str | None, fill: Fill | None = None
) -> Collection:
    """Read a table with these columns, from ``files`` (name and number of rows of each)."""
    check_fill(fill)
    if frame.empty:
        raise InputError(
            files[0][0], "at least one row", "a header only", "check that it was written whole"
        )
    return _Table(frame, columns, sort_rows(frame, columns, files, freq), fill).collection(freq)


@dataclass(frozen=True)
class _Table:
    """A table with its rows sorted."""

    frame: pd.DataFrame
    columns: Columns
    rows: SortedRows
    fill: Fill | None = None

    def collection(self, freq: str | None) -> Collection:
        """Return the series."""
        rows, grid, names = self.rows, place(self.rows, freq), self.columns
        steps = grid.step[rows.begin + rows.lengths - 1] + 1
        layout = _Layout(rows, grid, steps, self.fill)
        target = np.stack([self.numbers(c, np.float64) for c in names.targets])
        history = self.observed(grid, target) if names.known else steps
        known = layout.covariates(names.known, self.numbers, steps)
        past = layout.covariates(names.past, self.numbers, history)
        real = [self.real(c) for c in names.static_real]
        labels = {c: self.categories(c) for c in names.static_cat}
        target = layout.spread(target)[0 if isinstance(names.target, str) else slice(None)]
        entries = [
            {
                "item_id": name,
                "start": grid.start[k],
                "stamps": grid.stamps[k],
                "target": target[..., begin : begin + history[k]],
                "feat_dynamic_real": known[:, begin : begin + steps[k]],
                "past_feat_dynamic_real": past[:, begin : begin + history[k]],
                "feat_static_cat": np.array([c[k] for c, _ in labels.values()], np.int64),
                "feat_static_real": np.array([r[k] for r in real], np.float32),
            }
            for k, (name, begin) in enumerate(zip(rows.names, layout.begin, strict=True))
        ]
        categories = {label: found for label, (_, found) in labels.items()}
        return Collection(
            grid.freq,
            entries,
            known=tuple(names.known),
            past=tuple(names.past),
            static_real=tuple(names.static_real),
            categories=categories,
            channels=tuple(names.targets),
            dated=not rows.counted,
        )

    def observed(self, grid: TimeGrid, target: NDArray[Any]) -> Ints:
        """Return the steps of each series up to its last observed target.

        A new item has none: its history, all missing, ends with the last one of the other series;
        it is empty if no row of the item follows.
        """
        rows, seen = self.rows, ~np.isnan(target).all(0)
        last = np.maximum.reduceat(np.where(seen, grid.step, -1), rows.begin)
        with quiet_periods():
            ordinals = pd.PeriodIndex(grid.start).asi8
            stride = pd.PeriodIndex(grid.start).freq.n
        now = np.max((ordinals + last * stride)[last >= 0], initial=ordinals.min() - 1)
        before = (now - ordinals) // stride  # the step of the last observation anywhere
        steps = np.maximum.reduceat(grid.step, rows.begin)
        new = np.where((before >= 0) & (before < steps), before, -1)
        return np.where(last < 0, new, last) + 1

    def numbers(self, column: str, dtype: type[np.floating[Any]] = np.float32) -> NDArray[Any]:
        """Return a column of numbers in the order of the rows, NaN where missing."""
        values, where = self.frame[column].iloc[self.rows.order], self.rows.where
        if not is_numeric_dtype(values.dtype):
            values = values.astype(object)
        numbers = pd.to_numeric(values, errors="coerce")
        remedy = "correct it, or leave it empty"
        bad = (numbers.isna() & values.notna()).to_numpy()
        refuse(bad, values, where, expected="a number", remedy=remedy)
        floats = numbers.to_numpy(np.float64, na_value=np.nan)
        large = np.abs(floats) > LARGEST
        refuse(large, values, where, expected="a finite float32", remedy=remedy)
        return floats.astype(dtype)

    def real(self, column: str) -> Floats:
        """Return the value of each series, checked to be present."""
        numbers = self.numbers(column)
        missing = np.isnan(numbers)
        values = self.frame[column].iloc[self.rows.order]
        what = "a number in every row"
        refuse(missing, values, self.rows.where, expected=what, remedy="fill it in")
        return self.constant(column, numbers)

    def categories(self, column: str) -> tuple[Ints, tuple[str, ...]]:
        """Return the code of each series, and the categories in the order of their codes."""
        codes, names = encode_labels(self.frame[column], self.rows.files)
        categories, rank = np.unique(np.array(names, dtype=object), return_inverse=True)
        return self.constant(column, rank[codes][self.rows.order]), tuple(categories)

    def constant(self, column: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each series, checked to be constant."""
        other = values != values[self.rows.first]
        found = self.frame[column].iloc[self.rows.order]
        first = str(found.iloc[self.rows.first[int(other.argmax())]])
        what, remedy = (
            f"{first!r} as before, a static column",
            "name it known or past, or correct it",
        )
        refuse(other, found, self.rows.where, expected=what, remedy=remedy)
        return values[self.rows.begin]


@dataclass(frozen=True)
class _Layout:
    """All steps of all series, end to end.

    Attributes:
        steps: Steps of each series, (S,).
        fill: What missing covariates become.
    """

    rows: SortedRows
    grid: TimeGrid
    steps: Ints
    fill: Fill | None = None

    @cached_property
    def begin(self) -> Ints:
        """The first step of each series."""
        return np.cumsum(self.steps) - self.steps

    @cached_property
    def at(self) -> Ints:
        """The step of each row."""
        return np.repeat(self.begin, self.rows.lengths) + self.grid.step

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of rows (n, N) as values of steps, NaN at steps without a row."""
        steps = np.full((len(values), self.steps.sum()), np.nan, dtype=values.dtype)
        steps[:, self.at] = values
        return steps

    def covariates(
        self, names: Sequence[str], numbers: Callable[[str], Floats], needed: Ints
    ) -> Floats:
        """Return covariates of steps, present at the first ``needed`` of a series."""
        table = (
            np.stack([numbers(c) for c in names])
            if names
            else np.zeros((0, len(self.at)), np.float32)
        )
        values = self.spread(table)
        if self.fill is not None:
            parts = np.split(values, self.begin[1:], axis=1)
            values = np.concatenate([fill_gaps(part, self.fill) for part in parts], axis=1)
        step = np.arange(values.shape[1]) - np.repeat(self.begin, self.steps)
        gaps = np.argwhere(np.isnan(values) & (step < np.repeat(needed, self.steps)))
        if len(gaps):
            column, step = gaps[0]
            place = f"{names[column]} in {self._where(step)}"
            raise InputError(
                place,
                "a value at every step",
                "none",
                f"fill it in, adding the row if there is none, or {instead_of(self.fill)}",
            )
        return values

    def _where(self, step: int) -> str:
        row = int(np.searchsorted(self.at, step))
        if self.at[row] == step:
            return self.rows.where(row)
        series = self.rows.series(row)
        with quiet_periods():
            time = (self.grid.start[series] + int(step - self.begin[series])).start_time
        return f"series {self.rows.names[series]!r} at {self.rows.shown(time)} (no row)"


@dataclass(frozen=True)
class Table(Source):
    """A long table in CSV (``.csv``, ``.csv.gz``) or Parquet; see ``read_table`` for its columns.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders); several files make
            one table.
        item_id: Column that names the series; None if the table is one series.
        timestamp: Column of times.
        target: Column to forecast, or columns of a multivariate target.
        known: Columns of covariates that are known ahead.
        past: Columns of covariates that are known only up to the present.
        static_real: Columns of values that are constant in a series.
        static_cat: Columns of categories that are constant in a series.
        freq: Frequency; by default, the most common step between rows.
        fill: What missing covariates become: ``forward``, ``interpolate`` or a number.
    """

    path: str
    item_id: str | None = "item_id"
    timestamp: str = "timestamp"
    target: str | tuple[str, ...] = "target"
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static_real: tuple[str, ...] = ()
    static_cat: tuple[str, ...] = ()
    freq: str | None = None
    fill: Fill | None = None

    def at(self, freq: str) -> Source:
        """Return the source with this frequency, unless it has one."""
        return replace(self, freq=self.freq or freq)

    def read(self) -> Collection:
        """Return the series, in order of appearance."""
        roles = {x.name: getattr(self, x.name) for x in fields(Columns)}
        columns = Columns(**roles)
        paths = find(self.path, (*CSV, *PARQUET))
        columns = columns.resolve(_sample(paths[0]))
        frame, files, unused = read_frames(paths, columns)
        return replace(read_rows(frame, columns, files, self.freq, self.fill), unused=unused)


def read_frames(paths: list[Path], columns: Columns) -> tuple[pd.DataFrame, Files, tuple[str, ...]]:
    """Read tables as one; return it with the rows of each file and the columns without a role.

    Raises:
        InputError: A file is not a table, or lacks a column.
    """
    whole = [
        _parquet(path) if path.name.endswith(PARQUET) else _csv(path, columns) for path in paths
    ]
    unused = dict.fromkeys(name for frame in whole for name in columns.unused(frame))
    frames = [columns.select(x, path.name) for path, x in zip(paths, whole, strict=True)]
    files = [(path.name, len(frame)) for path, frame in zip(paths, frames, strict=True)]
    return pd.concat(frames, ignore_index=True), files, tuple(unused)


def _sample(path: Path) -> pd.DataFrame:
    """Return some rows of a table."""
    if path.name.endswith(PARQUET):
        return _parquet(path)
    with reading_csv(path):
        return read_texts(pd.read_csv(path, nrows=SAMPLE, **CSV_OPTIONS))


def _csv(path: Path, columns: Columns) -> pd.DataFrame:
    missing = {column: [""] for column in columns.text}
    missing |= {column: [*MISSING] for column in columns.numbers}
    columns.check(csv_columns(path), path.name)
    with reading_csv(path):
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(columns.text, "str"),
            na_values=missing,
            keep_default_na=False,
            low_memory=False,
            float_precision="round_trip",
            **CSV_OPTIONS,
        )
    return read_texts(table)


def _parquet(path: Path) -> pd.DataFrame:
    with reading_parquet(path):
        return pd.read_parquet(path)
