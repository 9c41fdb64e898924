"""Episodes in tables, one row a step."""

import difflib
import importlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.errors import InputError
from paratime.io.files import CSV, CSV_OPTIONS, PARQUET, find, reading_csv, reading_parquet
from paratime.world.data.episode import Episode, make_episode
from paratime.world.data.sources.base import Recording, Source

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Table(Source):
    """Long tables in CSV (``.csv``, ``.csv.gz``) or Parquet, one row a step.

    Row t holds what was observed at step t, the action taken then, and the reward and the terminal
    flag that came of it. The last row of an episode gives its last observation alone: what its
    action led to is in no row, so that its action and its reward are dropped, and may be missing.
    The episode has terminated if the flag is set in the row before the last, whose action led to
    the last observation, or in the last row, where it says the same of this observation itself.
    A cell may be a number or, in Parquet, a list of numbers.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders).
        observation: Columns of the observation, which are put side by side.
        action: Columns of the action, likewise.
        episode: Column that names the episode. An episode is in one file.
        step: Column of numbers, by which the rows of an episode are sorted; None if they are so.
        reward: Column of the reward; None if there is none, which counts as zero.
        terminal: Column of the terminal flag; None if no episode terminates.
        discrete: Whether the action is a choice, a whole number from 0.
    """

    path: str
    observation: tuple[str, ...]
    action: tuple[str, ...]
    episode: str = "episode"
    step: str | None = "step"
    reward: str | None = "reward"
    terminal: str | None = None
    discrete: bool = False

    def read(self) -> Recording:
        """Return the episodes, in the order in which they appear."""
        for what, columns in (("observation", self.observation), ("action", self.action)):
            if not columns:
                raise InputError(what, "at least one column", "none", "name it")
        places: dict[str, Path] = {}
        episodes: list[Episode] = []
        for path in find(self.path, (*CSV, *PARQUET)):
            for name, rows in self._split(path):
                if name in places:
                    expected, got = "rows in one file", f"some in {places[name]} as well"
                    remedy = "number episodes across files"
                    raise InputError(f"episode {name!r} of {path}", expected, got, remedy)
                places[name] = path
                episodes.append(self._episode(rows, f"episode {name!r} of {path}"))
        if not episodes:
            raise InputError(f"path {self.path}", "rows", "none", "check that it was written whole")
        return Recording(episodes)

    def _split(self, path: Path) -> list[tuple[str, pd.DataFrame]]:
        """Return the rows of each episode of a file."""
        optional = (x for x in (self.step, self.reward, self.terminal) if x is not None)
        used = [*dict.fromkeys((self.episode, *self.observation, *self.action, *optional))]
        frame = _read(path, used, self.episode)
        names = frame[self.episode]
        if names.isna().any():
            row = int(names.isna().argmax()) + 1
            what = f"{self.episode} in row {row} of {path}"
            raise InputError(what, "the name of an episode", "none", "fill it in")
        return [*frame.groupby(names.astype(str), sort=False)]

    def _episode(self, rows: pd.DataFrame, name: str) -> Episode:
        rows, steps = self._sorted(rows, name)
        if len(rows) < 2:
            remedy = "drop the episode, or add a row for its last observation"
            raise InputError(name, "at least two rows", "one", remedy)
        taken, before = rows[:-1], steps[:-1]
        observation = np.hstack([_numbers(rows[x], steps, name) for x in self.observation])
        action = np.hstack([_numbers(taken[x], before, name) for x in self.action])
        reward = np.zeros((len(taken), 1))
        if self.reward is not None:
            reward = _numbers(taken[self.reward], before, name)
        terminated = self.terminal is not None and self._ended(rows, steps, name)
        chosen = self._choices(action, before, name) if self.discrete else action
        return make_episode(name, observation, chosen, reward, terminated)

    def _sorted(self, rows: pd.DataFrame, name: str) -> tuple[pd.DataFrame, Sequence[Hashable]]:
        """Return rows in the order of their steps, and what to call each of these."""
        if self.step is None:
            return rows, range(len(rows))
        order = pd.to_numeric(rows[self.step], errors="coerce")
        bad = (order.isna() | rows[self.step].isna()).to_numpy()
        if bad.any():
            got = _shown(rows[self.step].iloc[int(bad.argmax())])
            raise InputError(f"{self.step} of {name}", "a number in each row", got, "correct it")
        rows = rows.iloc[np.argsort(order.to_numpy(), kind="stable")]
        again = order.duplicated()
        if again.any():
            got = f"two of step {order[again].iloc[0]}"
            raise InputError(f"{self.step} of {name}", "one row a step", got, "delete one")
        return rows, rows[self.step].tolist()

    def _ended(self, rows: pd.DataFrame, steps: Sequence[Hashable], name: str) -> bool:
        cells = rows[self.terminal]
        cells = cells[:-1] if _missing(cells.iloc[-1]) else cells
        flags = _numbers(cells, steps[: len(cells)], name)[:, 0]
        bad, early = ~np.isin(flags, (0, 1)), flags[: len(rows) - 2] != 0
        for wrong, expected, remedy in (
            (bad, "true or false, 1 or 0", "correct it"),
            (early, "true in the last two rows at most", "name what follows another episode"),
        ):
            if wrong.any():
                row = int(wrong.argmax())
                place = f"{self.terminal} at step {steps[row]} of {name}"
                raise InputError(place, expected, f"{flags[row]:g}", remedy)
        return bool(flags[len(rows) - 2 :].any())

    def _choices(self, action: Numbers, steps: Sequence[Hashable], name: str) -> NDArray[np.int64]:
        columns, remedy = ", ".join(self.action), "number the choices, or choose discrete=False"
        if action.shape[1] != 1:
            got = f"{action.shape[1]} numbers"
            raise InputError(f"{columns} of {name}", "one choice a step", got, remedy)
        bad = (action[:, 0] % 1 != 0) | (action[:, 0] < 0)
        if bad.any():
            row = int(bad.argmax())
            place = f"{columns} at step {steps[row]} of {name}"
            raise InputError(place, "whole numbers from 0", f"{action[row, 0]:g}", remedy)
        return action[:, 0].astype(np.int64)


@dataclass(frozen=True)
class LeRobot(Source):
    """The states and actions of a LeRobot data set, without its videos.

    They are read as ``Table`` says, from ``observation.state`` and ``action``, with
    ``next.reward`` and ``next.done`` where these columns are there.

    Args:
        path: The folder of the data set, which has its tables in ``data``, or such a table.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order in which they appear."""
        inside = Path(self.path) / "data"
        path = str(inside) if inside.is_dir() else self.path
        there = _columns(find(path, PARQUET)[0])
        reward, done = (x if x in there else None for x in ("next.reward", "next.done"))
        state, action = ("observation.state",), ("action",)
        table = Table(path, state, action, "episode_index", "frame_index", reward, done)
        return table.read()


def _read(path: Path, used: list[str], episode: str) -> pd.DataFrame:
    """Return some columns of a table.

    Raises:
        InputError: The file is no table, or lacks one of them.
    """
    there = _columns(path)
    for column in used:
        if there.count(column) != 1:
            near = difflib.get_close_matches(column, there, 3, cutoff=0)
            remedy = f"the nearest are {', '.join(map(repr, near))}"
            got = "two of that name" if column in there else "none of that name"
            raise InputError(repr(column), f"a column of {path}", got, remedy)
    if path.name.endswith(PARQUET):
        return _parquet(path, lambda x: x.read(columns=used).to_pandas(ignore_metadata=True))
    return _csv(path, dtype={episode: "str"}, low_memory=False)[used]


def _columns(path: Path) -> list[str]:
    if path.name.endswith(PARQUET):
        return _parquet(path, lambda x: [*x.schema_arrow.names])
    return [*map(str, _csv(path, nrows=0).columns)]


def _parquet(path: Path, read: Callable[[Any], Any]) -> Any:
    with (
        reading_parquet(path),
        importlib.import_module("pyarrow.parquet").ParquetFile(path) as file,
    ):
        return read(file)


def _csv(path: Path, **options: Any) -> pd.DataFrame:
    with reading_csv(path):
        return pd.read_csv(path, **CSV_OPTIONS, **options)


def _numbers(cells: pd.Series, steps: Sequence[Hashable], name: str) -> Numbers:
    """Return the numbers or the lists of numbers of a column, (T, how many a cell)."""
    if cells.dtype.kind in "iufb" and np.isfinite(cells).all():
        return cells.to_numpy(np.float64)[:, None]
    places = [f"{cells.name} at step {step} of {name}" for step in steps]
    rows = [_cell(x, place) for x, place in zip(cells, places, strict=True)]
    for row, place in zip(rows, places, strict=True):
        if len(row) != len(rows[0]):
            expected = f"as many numbers as at step {steps[0]}, {len(rows[0])}"
            raise InputError(place, expected, str(len(row)), "correct it")
    return np.stack(rows)


def _cell(value: Any, place: str) -> Numbers:
    try:
        numbers = np.ravel(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan)
    if not numbers.size or not np.isfinite(numbers).all():
        raise InputError(place, "finite numbers", _shown(value), "fill it in or correct it")
    return numbers


def _missing(value: Any) -> bool:
    return np.ndim(value) == 0 and bool(pd.isna(value))


def _shown(value: Any) -> str:
    return "none" if _missing(value) else " ".join(repr(value).split())[:40]
