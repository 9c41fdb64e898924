"""States of many series in stacked tensors: one row a series, and room that doubles."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.model.network import ForecastNetwork, Memory

FIELDS = ("recent", "loc", "scale", "age", "features")


class Slots:
    """Named tables with a row for each series.

    Args:
        first: The row (1, ...) of each table that a new series begins with.
    """

    def __init__(self, first: dict[str, Tensor]) -> None:
        self._first = first
        self.tables = {name: row[:0] for name, row in first.items()}
        self.count = 0

    def add(self) -> int:
        """Take a new row, and return its number."""
        room = len(next(iter(self.tables.values())))
        if self.count == room:
            for name, row in self._first.items():
                more = row.expand(max(1, room), *row.shape[1:])
                self.tables[name] = torch.cat([self.tables[name], more])
        self.count += 1
        return self.count - 1

    def get(self, rows: Tensor) -> dict[str, Tensor]:
        """Return some rows (N,) of all tables."""
        return {name: table.index_select(0, rows) for name, table in self.tables.items()}

    def put(self, rows: Tensor, values: dict[str, Tensor]) -> None:
        """Write some rows (N,) of some tables."""
        for name, value in values.items():
            self.tables[name].index_copy_(0, rows, value)

    def content(self) -> dict[str, Tensor]:
        """Return the rows that are taken, without the storage of the rest."""
        return {name: table[: self.count].clone() for name, table in self.tables.items()}

    def fill(self, content: dict[str, Tensor]) -> None:
        """Take what ``content`` returned."""
        self.tables = content
        self.count = len(next(iter(content.values())))


def blank(network: ForecastNetwork) -> Memory:
    """Return the memory of one series before its first step, with a state of the right shapes.

    Raises:
        InputError: The state grows with time.
    """
    x = network.skip.new_zeros(1, network.encoder.width)
    _, state = network.encoder.step(x)
    _, later = network.encoder.step(x, state)
    if [part.shape for part in _parts(state)] != [part.shape for part in _parts(later)]:
        remedy = "train with a window, such as --model.encoder.mixer.window 256"
        raise InputError("encoder", "a state of constant size to stream", "one that grows", remedy)
    return replace(network.start(1), state=_like(state, map(torch.zeros_like, _parts(state))))


def table_rows(memory: Memory) -> dict[str, Tensor]:
    """Return a memory as rows of tables."""
    named = {f"state.{i}": part for i, part in enumerate(_parts(memory.state))}
    return {name: getattr(memory, name) for name in FIELDS} | named


def memory_of(rows: dict[str, Tensor], like: Any) -> Memory:
    """Return rows as a memory, whose state is laid out as another one."""
    parts = (rows[f"state.{i}"] for i in range(sum(1 for _ in _parts(like))))
    return Memory(**{name: rows[name] for name in FIELDS}, state=_like(like, parts))


def _parts(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
        return
    for part in state:
        yield from _parts(part)


def _like(state: Any, parts: Iterator[Tensor]) -> Any:
    if isinstance(state, Tensor):
        return next(parts)
    return tuple(_like(part, parts) for part in state)
