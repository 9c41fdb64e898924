"""Which source a path or a prefix means."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from paratime.errors import InputError
from paratime.io.files import CSV, PARQUET
from paratime.io.paths import expanded
from paratime.world.data.sources.base import Source
from paratime.world.data.sources.d4rl import D4RL, is_d4rl
from paratime.world.data.sources.dreamer import Npz
from paratime.world.data.sources.gym import Gym
from paratime.world.data.sources.minari import Minari
from paratime.world.data.sources.table import LeRobot, Table

SOURCES = (D4RL, Gym, LeRobot, Minari, Npz, Table)
"""Sources that every command line may name without their modules."""

PREFIX = "gym:"


def trajectory_source(text: str, known: Mapping[str, Any] | None = None) -> Source:
    """Return the source that a text means.

    Args:
        text: ``gym:ID``; a ``.hdf5`` file or a folder of Minari, or a file of D4RL; a ``.npz``
            file, or a folder or a pattern of them; a folder of LeRobot; a table like those that a
            model was trained on.
        known: Name and options of the source that a model was trained on, which hold for data of
            the same kind.

    Raises:
        InputError: It means none.
    """
    text = expanded(text)
    kind = next((x for x in SOURCES if known and x.__name__ == known["name"]), None)
    if kind in (Table, LeRobot) and _is_table(text):
        return _with_options(kind, known, text)
    source = _named(text)
    return _with_options(kind, known, text) if type(source) is kind is not Gym else source


def _with_options(kind: Any, known: Mapping[str, Any] | None, path: str) -> Source:
    """Return a source with known options and another path."""
    given = (known or {}).get("options", {})
    options = {x.name: given[x.name] for x in fields(kind) if x.name in given} | {"path": path}
    made: Source = kind(**{k: tuple(x) if isinstance(x, list) else x for k, x in options.items()})
    return made


def _is_table(text: str) -> bool:
    """Return whether a text means tables: files, or a folder without any other episodes."""
    path, suffixes = Path(text), (*CSV, *PARQUET)
    if text.endswith(suffixes):
        return True
    names = [x.name for x in path.rglob("*")] if path.is_dir() else []
    return any(x.endswith(suffixes) for x in names) and not any(
        x.endswith((".npz", ".hdf5")) for x in names
    )


def _named(text: str) -> Source:
    if text.startswith(PREFIX):
        return Gym(text.removeprefix(PREFIX))
    if text.endswith((".hdf5", ".h5")):
        return D4RL(text) if is_d4rl(text) else Minari(text)
    if Path(text).is_dir() and any(Path(text).rglob("*.hdf5")):
        return Minari(text)
    if (Path(text) / "meta" / "info.json").is_file():
        return LeRobot(text)
    if text.endswith(".npz") or Path(text).is_dir():
        return Npz(text)
    raise InputError(
        "data",
        expected=f"{PREFIX}ID, .hdf5, .npz or a folder",
        got=repr(text),
        remedy="use --source Table for tables, with --source.path, and its columns as"
        " --source.observation and --source.action",
    )
