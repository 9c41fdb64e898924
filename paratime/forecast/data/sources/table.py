"""Long tables, one row a step of a series, as series.

Rows may lie in any order: they are sorted, which loses nothing, since their timestamps tell.
Steps without a row are gaps: their target is missing. Covariates have a value at every step; only
those known ahead go on beyond the last observed target, in rows whose target is empty. Where there
are none known ahead, such rows are steps with a missing target.

Timestamps are ISO 8601, dates included. Periods have no time zone, so those with a zone or an
offset are converted to UTC, unless all of them are midnights: these are dates, and stay the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from paratime.errors import InputError
from paratime.forecast.data.calendar import quiet
from paratime.forecast.data.frequency import Grid, place
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.rows import (
    Columns,
    Files,
    Ints,
    Rows,
    encode,
    refuse,
    shown,
    sort_rows,
)

Floats = NDArray[np.float32]


def read_table(
    frame: pd.DataFrame,
    *,
    item_id: str | None = "item_id",
    timestamp: str = "timestamp",
    target: str | Sequence[str] = "target",
    known: Sequence[str] = (),
    past: Sequence[str] = (),
    static_real: Sequence[str] = (),
    static_cat: Sequence[str] = (),
    freq: str | None = None,
) -> Collection:
    """Read a long table: one row a step of a series, in any order.

    Args:
        frame: The table; its index counts as columns where it has their names.
        item_id: Column that names the series; None if the table is one series.
        timestamp: Column of times.
        target: Column to forecast, or columns of a multivariate target.
        known: Columns of covariates that are known ahead.
        past: Columns of covariates that are known up to the present only.
        static_real: Columns of numbers that are constant in a series.
        static_cat: Columns of categories that are constant in a series.
        freq: Frequency; by default, the most common step between rows. Series must agree in it;
            giving it makes those with longer steps series with gaps.

    Raises:
        InputError: The table is unusable; one line that says where. Rows are counted from 1.
    """
    columns = Columns(item_id, timestamp, target, known, past, static_real, static_cat)
    chosen = columns.select(frame, "the table")
    found = read_rows(chosen, columns, [("the table", len(chosen))], freq)
    return replace(found, unused=tuple(columns.unused(frame)))


def read_rows(frame: pd.DataFrame, columns: Columns, files: Files, freq: str | None) -> Collection:
    """Read a table that has the columns, made up of ``files`` (name and number of rows of each)."""
    if frame.empty:
        got = "a header only"
        raise InputError(files[0][0], "at least one row", got, "check that it was written whole")
    return _Table(frame, columns, sort_rows(frame, columns, files)).collection(freq)


@dataclass(frozen=True)
class _Table:
    """A table with its rows sorted."""

    frame: pd.DataFrame
    columns: Columns
    rows: Rows

    def collection(self, freq: str | None) -> Collection:
        """Return the series."""
        rows, grid, names = self.rows, place(self.rows, freq), self.columns
        steps = grid.step[rows.begin + rows.lengths - 1] + 1
        layout = _Layout(rows, grid, steps)
        target = np.stack([self.numbers(c) for c in names.targets])
        history = self.observed(grid, target) if names.known else steps
        known = layout.covariates(names.known, self.numbers, steps)
        past = layout.covariates(names.past, self.numbers, history)
        real = [self.real(c) for c in names.static_real]
        labels = {c: self.categories(c) for c in names.static_cat}
        target = layout.spread(target)[0 if isinstance(names.target, str) else slice(None)]
        entries = []
        for k, (name, begin) in enumerate(zip(rows.names, layout.begin, strict=True)):
            entries.append(
                {
                    "item_id": name,
                    "start": grid.start[k],
                    "target": target[..., begin : begin + history[k]],
                    "feat_dynamic_real": known[:, begin : begin + steps[k]],
                    "past_feat_dynamic_real": past[:, begin : begin + history[k]],
                    "feat_static_cat": np.array([c[k] for c, _ in labels.values()], np.int64),
                    "feat_static_real": np.array([r[k] for r in real], np.float32),
                }
            )
        categories = {label: found for label, (_, found) in labels.items()}
        return Collection(
            grid.freq,
            entries,
            known=tuple(names.known),
            past=tuple(names.past),
            static_real=tuple(names.static_real),
            categories=categories,
            channels=tuple(names.targets),
        )

    def observed(self, grid: Grid, target: Floats) -> Ints:
        """Return the steps of each series up to its last observed target, all if it has none."""
        there = np.where(np.isnan(target).all(0), -1, grid.step)
        last = np.maximum.reduceat(there, self.rows.begin)
        steps = np.maximum.reduceat(grid.step, self.rows.begin)
        return np.where(last < 0, steps, last) + 1

    def numbers(self, column: str) -> Floats:
        """Return a column of numbers in the order of the rows, NaN where missing."""
        values, where = self.frame[column].iloc[self.rows.order], self.rows.where
        if not is_numeric_dtype(values.dtype):
            values = values.astype(object)
        numbers = pd.to_numeric(values, errors="coerce")
        remedy = "correct it, or leave it empty"
        bad = (numbers.isna() & values.notna()).to_numpy()
        refuse(bad, values, where, "a number", remedy)
        with np.errstate(over="ignore"):
            floats = numbers.to_numpy(np.float64, na_value=np.nan).astype(np.float32)
        refuse(np.isinf(floats), values, where, "a finite float32", remedy)
        return floats

    def real(self, column: str) -> Floats:
        """Return the number of each series."""
        numbers = self.numbers(column)
        missing = np.isnan(numbers)
        values = self.frame[column].iloc[self.rows.order]
        refuse(missing, values, self.rows.where, "a number in every row", "fill it in")
        return self.constant(column, numbers)

    def categories(self, column: str) -> tuple[Ints, tuple[str, ...]]:
        """Return the code of each series, and the categories in the order of their codes."""
        codes, names = encode(self.frame[column], self.rows.files)
        categories, rank = np.unique(np.array(names, dtype=object), return_inverse=True)
        return self.constant(column, rank[codes][self.rows.order]), tuple(categories)

    def constant(self, column: str, values: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each series."""
        other = values != values[self.rows.first]
        found = self.frame[column].iloc[self.rows.order]
        first = str(found.iloc[self.rows.first[int(other.argmax())]])
        expected = f"{first!r} as before, a static column"
        refuse(other, found, self.rows.where, expected, "name it known or past, or correct it")
        return values[self.rows.begin]


@dataclass(frozen=True)
class _Layout:
    """All steps of all series, end to end.

    Attributes:
        steps: Steps of each series, (S,).
    """

    rows: Rows
    grid: Grid
    steps: Ints

    @cached_property
    def begin(self) -> Ints:
        """The first step of each series."""
        return np.cumsum(self.steps) - self.steps

    @cached_property
    def at(self) -> Ints:
        """The step of each row."""
        return np.repeat(self.begin, self.rows.lengths) + self.grid.step

    def spread(self, values: Floats) -> Floats:
        """Return values of rows (n, N) as values of steps, NaN where there is no row."""
        steps = np.full((len(values), self.steps.sum()), np.nan, dtype=np.float32)
        steps[:, self.at] = values
        return steps

    def covariates(
        self, names: Sequence[str], numbers: Callable[[str], Floats], needed: Ints
    ) -> Floats:
        """Return covariates of steps; the first steps of each series, ``needed``, have a value."""
        table = (
            np.stack([numbers(c) for c in names])
            if names
            else np.zeros((0, len(self.at)), np.float32)
        )
        values = self.spread(table)
        step = np.arange(values.shape[1]) - np.repeat(self.begin, self.steps)
        gaps = np.argwhere(np.isnan(values) & (step < np.repeat(needed, self.steps)))
        if len(gaps):
            column, step = gaps[0]
            remedy = "fill it in, adding the row if there is none"
            what = f"{names[column]} in {self._where(step)}"
            raise InputError(what, "a value at every step", "none", remedy)
        return values

    def _where(self, step: int) -> str:
        row = int(np.searchsorted(self.at, step))
        if self.at[row] == step:
            return self.rows.where(row)
        series = self.rows.series(row)
        with quiet():
            time = (self.grid.start[series] + int(step - self.begin[series])).start_time
        return f"series {self.rows.names[series]!r} at {shown(time)} (no row)"
