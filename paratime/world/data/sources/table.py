"""Episodes in tables, one row per step."""

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

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table(Source):
    """Long tables in CSV (``.csv``, ``.csv.gz``) or Parquet, one row per step.

    Row t holds the observation at step t, the action taken then, and the reward and the terminal
    flag that it led to. The last row of an episode holds its last observation alone: no row has the
    result of its action, so its action and its reward are dropped, and may be missing. The episode
    has terminated if the flag is set in the second to last row, whose action led to the last
    observation, or in the last row, which describes this observation itself. A cell may be a number
    or, in Parquet, a list of numbers.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders).
        observation: Columns of the observation, which are put side by side.
        action: Columns of the action, likewise.
        episode: Column that names the episode. An episode is in one file.
        step: Column of numbers by which the rows of an episode are sorted; None if they are sorted.
        reward: Column of the reward; None stands for zeros.
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
                what = f"episode {name!r} of {path}"
                if name in places:
                    raise InputError(
                        what,
                        expected="rows in one file",
                        got=f"some in {places[name]} as well",
                        remedy="number episodes across files",
                    )
                places[name] = path
                episodes.append(self._episode(rows, what))
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
            raise InputError(
                f"{self.episode} in row {int(names.isna().argmax()) + 1} of {path}",
                expected="the name of an episode",
                got="none",
                remedy="fill it in",
            )
        return [*frame.groupby(names.astype(str), sort=False)]

    def _episode(self, rows: pd.DataFrame, name: str) -> Episode:
        rows, steps = self._sorted(rows, name)
        if len(rows) < 2:
            raise InputError(name, "at least two rows", "one", "drop the episode, or add a row")
        taken, before = rows[:-1], steps[:-1]
        action = np.hstack([_floats(taken[x], before, name) for x in self.action])
        reward = np.zeros((len(taken), 1))
        if self.reward is not None:
            reward = _floats(taken[self.reward], before, name)
        return make_episode(
            name,
            np.hstack([_floats(rows[x], steps, name) for x in self.observation]),
            action=self._choices(action, before, name) if self.discrete else action,
            reward=reward,
            terminated=self.terminal is not None and self._terminated(rows, steps, name),
        )

    def _sorted(self, rows: pd.DataFrame, name: str) -> tuple[pd.DataFrame, Sequence[Hashable]]:
        """Return rows in the order of their steps, and the names of these."""
        if self.step is None:
            return rows, range(len(rows))
        what, order = f"{self.step} of {name}", pd.to_numeric(rows[self.step], errors="coerce")
        bad = (order.isna() | rows[self.step].isna()).to_numpy()
        if bad.any():
            raise InputError(
                what,
                expected="a number in each row",
                got=_shown(rows[self.step].iloc[int(bad.argmax())]),
                remedy="correct it",
            )
        rows = rows.iloc[np.argsort(order.to_numpy(), kind="stable")]
        again = order.duplicated()
        if again.any():
            raise InputError(
                what, "one row a step", f"two of step {order[again].iloc[0]}", "delete one"
            )
        return rows, rows[self.step].tolist()

    def _terminated(self, rows: pd.DataFrame, steps: Sequence[Hashable], name: str) -> bool:
        cells = rows[self.terminal]
        cells = cells[:-1] if _missing(cells.iloc[-1]) else cells
        flags = _floats(cells, steps[: len(cells)], name)[:, 0]
        bad, early = ~np.isin(flags, (0, 1)), flags[: len(rows) - 2] != 0
        for wrong, expected, remedy in (
            (bad, "true or false, 1 or 0", "correct it"),
            (early, "true in the last two rows at most", "name what follows another episode"),
        ):
            if wrong.any():
                row = int(wrong.argmax())
                raise InputError(
                    f"{self.terminal} at step {steps[row]} of {name}",
                    expected=expected,
                    got=f"{flags[row]:g}",
                    remedy=remedy,
                )
        return bool(flags[len(rows) - 2 :].any())

    def _choices(self, action: Floats, steps: Sequence[Hashable], name: str) -> NDArray[np.int64]:
        columns, remedy = ", ".join(self.action), "number the choices, or choose discrete=False"
        if action.shape[1] != 1:
            raise InputError(
                f"{columns} of {name}", "one choice a step", f"{action.shape[1]} numbers", remedy
            )
        bad = (action[:, 0] % 1 != 0) | (action[:, 0] < 0)
        if bad.any():
            row = int(bad.argmax())
            raise InputError(
                f"{columns} at step {steps[row]} of {name}",
                expected="whole numbers from 0",
                got=f"{action[row, 0]:g}",
                remedy=remedy,
            )
        return action[:, 0].astype(np.int64)


@dataclass(frozen=True)
class LeRobot(Source):
    """The states and actions of a LeRobot data set, without its videos.

    They are read like a ``Table``, from ``observation.state`` and ``action``, with ``next.reward``
    and ``next.done`` where these columns exist.

    Args:
        path: The folder of the data set, which has its tables in ``data``, or such a table.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order in which they appear."""
        inside = Path(self.path) / "data"
        path = str(inside) if inside.is_dir() else self.path
        columns = _columns(find(path, PARQUET)[0])
        reward, done = (x if x in columns else None for x in ("next.reward", "next.done"))
        return Table(
            path,
            observation=("observation.state",),
            action=("action",),
            episode="episode_index",
            step="frame_index",
            reward=reward,
            terminal=done,
        ).read()


def _read(path: Path, used: list[str], episode: str) -> pd.DataFrame:
    """Return some columns of a table.

    Raises:
        InputError: The file is no table, or lacks one of them.
    """
    columns = _columns(path)
    for column in used:
        if columns.count(column) != 1:
            near = difflib.get_close_matches(column, columns, 3, cutoff=0)
            raise InputError(
                repr(column),
                expected=f"a column of {path}",
                got="two of that name" if column in columns else "none of that name",
                remedy=f"the nearest are {', '.join(map(repr, near))}",
            )
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


def _floats(cells: pd.Series, steps: Sequence[Hashable], name: str) -> Floats:
    """Return the values of a column, (T, values a cell)."""
    if cells.dtype.kind in "iufb" and np.isfinite(cells).all():
        return cells.to_numpy(np.float64)[:, None]
    places = [f"{cells.name} at step {step} of {name}" for step in steps]
    rows = [_cell(x, place) for x, place in zip(cells, places, strict=True)]
    for row, place in zip(rows, places, strict=True):
        if len(row) != len(rows[0]):
            raise InputError(
                place,
                expected=f"as many numbers as at step {steps[0]}, {len(rows[0])}",
                got=str(len(row)),
                remedy="correct it",
            )
    return np.stack(rows)


def _cell(value: Any, place: str) -> Floats:
    try:
        floats = np.ravel(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        floats = np.full(1, np.nan)
    if not floats.size or not np.isfinite(floats).all():
        raise InputError(place, "finite numbers", _shown(value), "fill it in or correct it")
    return floats


def _missing(value: Any) -> bool:
    return np.ndim(value) == 0 and bool(pd.isna(value))


def _shown(value: Any) -> str:
    return "none" if _missing(value) else " ".join(repr(value).split())[:40]
