"""Episodes in tables, one row per step."""

import difflib
import importlib
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.errors import InputError
from paratime.io.files import (
    CSV,
    CSV_OPTIONS,
    PARQUET,
    csv_columns,
    find,
    reading_csv,
    reading_parquet,
)
from paratime.io.paths import expanded
from paratime.world.data.episode import Episode, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.readings import (
    OF_ORDER,
    TRUNCATED,
    Order,
    describe_ends,
    describe_last,
    terminations,
)
from paratime.world.data.spec import value_names

Floats = NDArray[np.float64]


LastRow = Literal["auto", "step", "observation"]


@dataclass(frozen=True)
class Read:
    """An episode as it was read, and the flags of its end.

    Attributes:
        episode: Not yet known to have terminated.
        ends: Whether it has the flag of termination, and that of truncation.
        names: Of the values of its observation.
        action_names: Of the values of its action.
    """

    episode: Episode
    ends: tuple[bool, bool]
    names: tuple[str, ...]
    action_names: tuple[str, ...]


@dataclass(frozen=True)
class Table(Source):
    """Long tables in CSV (``.csv``, ``.csv.gz``) or Parquet, one row per step.

    Row t holds the observation at step t, the action taken at it, and the reward and the flags that
    this action led to. A cell may be a number or, in Parquet, a list of numbers.

    What follows the last action of an episode is in one of three places. With ``next_observation``,
    it is in the row of that action. In a table with one more row than actions, it is a last row of
    its own, whose action or reward is missing, or that follows a row with a flag. In a table with
    as many rows as actions it is absent: then the last reward and end are kept, and the observation
    after it is masked. With ``order`` led_to, the action and the reward of a row have led to its
    observation, and the first row of an episode has none.

    An episode has terminated if the flag ``terminal`` is set at its end, and ``truncated`` is not.
    Where all truncated episodes have both flags, these are truncations.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders).
        observation: Columns of the observation, which are put side by side.
        action: Columns of the action, likewise.
        episode: Column that names the episode. An episode is in one file.
        step: Column of numbers by which the rows of an episode are sorted; None if they are sorted.
        reward: Column of the reward; None stands for zeros.
        terminal: Column of the terminal flag; None if no episode terminates.
        discrete: Whether the action is a choice, a whole number from 0.
        truncated: Column of the flag of truncation. With a terminal flag, a column ``truncated``,
            ``truncation``, ``timeout`` or ``next.truncated`` is read by default.
        next_observation: Columns of the observation after the action, as many as of
            ``observation``.
        order: Whether the action of a row was taken at its observation, or led to it.
        last_row: Whether the last row is a step, or an observation alone; by default found out for
            each episode, and printed.
        relative: Columns of the observation, such as times, that are read as the difference from
            their first value in an episode.
    """

    path: str
    observation: tuple[str, ...]
    action: tuple[str, ...]
    episode: str = "episode"
    step: str | None = "step"
    reward: str | None = "reward"
    terminal: str | None = None
    discrete: bool = False
    truncated: str | None = None
    next_observation: tuple[str, ...] = ()
    order: Order = "taken"
    last_row: LastRow = "auto"
    relative: tuple[str, ...] = ()

    def read(self) -> Recording:
        """Return the episodes, in the order in which they appear."""
        self._check_options()
        places: dict[str, Path] = {}
        found: list[Read] = []
        for path in find(self.path, (*CSV, *PARQUET)):
            chosen = self._with_truncated(path)
            for name, rows in chosen._split(path):
                what = f"episode {name!r} of {path}"
                if name in places:
                    raise InputError(
                        what,
                        expected="rows in one file",
                        got=f"some in {places[name]} as well",
                        remedy="number episodes across files",
                    )
                places[name] = path
                found.append(chosen._episode(rows, what))
        if not found:
            raise InputError(f"path {self.path}", "rows", "none", "check that it was written whole")
        ended = terminations([x.ends for x in found])
        episodes = [replace(x.episode, terminated=end) for x, end in zip(found, ended, strict=True)]
        reading = self._reading(found, chosen.truncated)
        names, action_names = found[0].names, found[0].action_names
        return Recording(episodes, reading=reading, names=names, action_names=action_names)

    def _check_options(self) -> None:
        for what, columns in (("observation", self.observation), ("action", self.action)):
            if not columns:
                raise InputError(what, "at least one column", "none", "name it")
        if self.next_observation and len(self.next_observation) != len(self.observation):
            raise InputError(
                "next_observation",
                expected=f"{len(self.observation)} columns, as of the observation",
                got=str(len(self.next_observation)),
                remedy="name one for each, in the same order",
            )
        if other := sorted({*self.relative} - {*self.observation}):
            raise InputError("relative", "columns of the observation", other[0], "correct it")
        if self.next_observation and self.order == "led_to":
            raise InputError(
                "next_observation", "actions that were taken", "order led_to", "leave one of them"
            )

    def _with_truncated(self, path: Path) -> "Table":
        """Return this table with the column of truncation that a file has, if none was named."""
        if self.truncated is not None or self.terminal is None:
            return self
        used = (*self.observation, *self.action, self.reward, self.terminal)
        columns = _columns(path)
        names = [x for x in TRUNCATED if x in columns and x not in used]
        return replace(self, truncated=names[0]) if names else self

    def _reading(self, found: list[Read], truncated: str | None) -> tuple[str, ...]:
        ends, episodes = [x.ends for x in found], [x.episode for x in found]
        belongs = "its reward and end belong to that action"
        source = "in the row of the last action" if self.next_observation else "a row of its own"
        return (
            f"{OF_ORDER[self.order]}; {belongs}",
            describe_last(episodes, "its last row" if self.order == "led_to" else source),
            describe_ends(ends, self.terminal, truncated),
        )

    def _split(self, path: Path) -> list[tuple[str, pd.DataFrame]]:
        """Return the rows of each episode of a file."""
        optional = (self.step, self.reward, self.terminal, self.truncated)
        columns = (self.episode, *self.observation, *self.next_observation, *self.action)
        used = [*dict.fromkeys(x for x in (*columns, *optional) if x is not None)]
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

    def _episode(self, rows: pd.DataFrame, name: str) -> Read:
        rows, steps = self._sorted(rows, name)
        alone = self.order == "taken" and self._ends_alone(rows)
        if len(rows) < 2 and (alone or self.order == "led_to"):
            raise InputError(name, "at least two rows", "one", "drop the episode, or add a row")
        part = slice(1, None) if self.order == "led_to" else slice(len(rows) - alone)
        taken, at = rows[part], steps[part]
        actions = [_floats(taken[x], at, name) for x in self.action]
        action = np.hstack(actions)
        reward = np.zeros((len(taken), 1))
        if self.reward is not None:
            reward = _floats(taken[self.reward], at, name)
        parts = [_floats(rows[x], steps, name) for x in self.observation]
        pairs = zip(self.observation, parts, strict=True)
        begin = np.hstack([x[0] * (column in self.relative) for column, x in pairs])
        observed = [np.hstack(parts)]
        complete = alone or self.order == "led_to" or bool(self.next_observation)
        if self.next_observation and not alone:
            following = [_floats(rows[x][-1:], steps[-1:], name) for x in self.next_observation]
            observed.append(np.hstack(following))
        episode = make_episode(
            name,
            _joined(observed, f"{', '.join(self.next_observation)} of {name}") - begin,
            action=self._choices(action, at, name) if self.discrete else action,
            reward=reward,
            terminated=False,
            complete=complete,
        )
        flags = (self.terminal, self.truncated)
        ended = [x is not None and self._flagged(x, rows, steps, name, alone) for x in flags]
        names, action_names = _names(self.observation, parts), _names(self.action, actions)
        return Read(episode, (ended[0], ended[1]), names, action_names)

    def _ends_alone(self, rows: pd.DataFrame) -> bool:
        """Return whether the last row is an observation alone."""
        if self.last_row != "auto":
            return self.last_row == "observation"
        needed = (*self.action, *([self.reward] if self.reward is not None else []))
        if any(_missing(rows[x].iloc[-1]) for x in needed):
            return True
        flags = [x for x in (self.terminal, self.truncated) if x is not None]
        return len(rows) > 1 and any(_is_set(rows[x].iloc[-2]) for x in flags)

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

    def _flagged(
        self, column: str, rows: pd.DataFrame, steps: Sequence[Hashable], name: str, alone: bool
    ) -> bool:
        """Return whether a flag is set at the end: in the last row, or before one that is alone."""
        cells = rows[column]
        cells = cells[:-1] if _missing(cells.iloc[-1]) else cells
        flags = _floats(cells, steps[: len(cells)], name)[:, 0]
        last = 2 if alone else 1
        bad, early = ~np.isin(flags, (0, 1)), flags[: len(rows) - last] != 0
        where = "the last two rows" if alone else "the last row"
        for wrong, expected, remedy in (
            (bad, "true or false, 1 or 0", "correct it"),
            (early, f"true in {where} at most", "name what follows another episode"),
        ):
            if wrong.any():
                row = int(wrong.argmax())
                raise InputError(
                    f"{column} at step {steps[row]} of {name}",
                    expected=expected,
                    got=f"{flags[row]:g}",
                    remedy=remedy,
                )
        return bool(flags[len(rows) - last :].any())

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

    They are read like a ``Table``, from ``observation.state`` and ``action``, with ``next.reward``,
    ``next.done`` and ``next.truncated`` where these columns exist. Each frame is a step. The
    observation after the last one is in ``next.observation.state``, or else absent.

    Args:
        path: The folder of the data set, which has its tables in ``data``, or such a table.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order in which they appear."""
        inside = Path(expanded(self.path)) / "data"
        path = str(inside) if inside.is_dir() else self.path
        columns = _columns(find(path, PARQUET)[0])
        reward, done, following = (
            x if x in columns else None
            for x in ("next.reward", "next.done", "next.observation.state")
        )
        return Table(
            path,
            observation=("observation.state",),
            action=("action",),
            episode="episode_index",
            step="frame_index",
            reward=reward,
            terminal=done,
            next_observation=() if following is None else (following,),
            last_row="step",
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
    return csv_columns(path)


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
        raise InputError(
            place,
            expected="finite numbers",
            got=_shown(value),
            remedy="convert it to seconds" if _is_time(value) else "fill it in or correct it",
        )
    return floats


def _names(columns: Sequence[str], parts: list[Floats]) -> tuple[str, ...]:
    pairs = zip(columns, parts, strict=True)
    return tuple(name for column, x in pairs for name in value_names(column, x.shape[1]))


def _joined(parts: list[Floats], what: str) -> Floats:
    widths = [x.shape[1] for x in parts]
    if len({*widths}) > 1:
        raise InputError(what, f"{widths[0]} values as observed", str(widths[1]), "correct it")
    return np.concatenate(parts)


def _is_time(value: Any) -> bool:
    if not isinstance(value, str | date | np.datetime64):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts that are no dates
        return not pd.isna(pd.to_datetime(value, errors="coerce"))


def _missing(value: Any) -> bool:
    cells = np.asarray(pd.isna(value))
    return bool(cells.size and cells.all())


def _is_set(value: Any) -> bool:
    flag = pd.to_numeric(pd.Series(np.ravel(value)[:1]), errors="coerce").iloc[0]
    return not _missing(flag) and bool(flag)


def _shown(value: Any) -> str:
    return "none" if _missing(value) else " ".join(repr(value).split())[:40]
