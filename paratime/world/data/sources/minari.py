"""Episodes in HDF5 as Minari stores them; its package is not needed."""

import importlib
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from paratime.errors import InputError, one_line
from paratime.io.atomic import replacing
from paratime.world.data.episode import VECTOR, Array, Episode, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.minari_metadata import describe, nested

MAIN = "main_data.hdf5"
METADATA = "metadata.json"
EPISODE = re.compile(r"episode_(\d+)")
DATASET = re.compile(r"[-\w]+-v\d+")
"""What Minari accepts as the name of a data set."""

JPEG = b"\xff\xd8\xff"
"""How every JPEG file begins."""


@dataclass(frozen=True)
class Minari(Source):
    """A Minari data set in HDF5.

    An observation of several parts, in groups within groups, has keys such as ``arm/position``;
    those of a tuple are ``_index_0``, ``_index_1`` and so on. An episode that does not say that it
    has terminated has been cut short.

    Args:
        path: The file ``main_data.hdf5``, or a folder with one such file in it or below.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order of their numbers."""
        path = _main_file(self.path)
        with open_hdf5(path) as file:
            groups = [(int(m[1]), key) for key in file if (m := EPISODE.fullmatch(key))]
            found = dict(groups)
            if not found:
                got, remedy = f"only {', '.join(file) or 'an empty file'}", "check the path"
                raise InputError(str(path), "groups episode_0 and so on", got, remedy)
            metadata = _metadata(file, path)
            total = metadata.get("total_episodes", len(found))
            if not total == len(found) == len(groups):
                expected, got = f"{total} episodes as the metadata says", str(len(groups))
                raise InputError(str(path), expected, got, "fetch or write it again")
            episodes = [
                _episode(file[found[number]], f"{found[number]} of {path}")
                for number in sorted(found)
            ]
        space, environment = (_parse(metadata, key, path) for key in ("action_space", "env_spec"))
        discrete = space.get("type") == "Discrete" and "n" in space
        choices = int(space["n"]) + int(space.get("start", 0)) if discrete else None
        return Recording(episodes, environment.get("id"), choices)


def _main_file(path: str) -> Path:
    root = Path(path)
    if not root.is_dir():
        return root
    found = [
        file
        for file in sorted(root.rglob(MAIN))
        if not any(part[0] == "." for part in file.relative_to(root).parts)
    ]
    if len(found) != 1:
        got = ", ".join(str(p.relative_to(root)) for p in found[:3]) or "none"
        raise InputError(f"path {path}", f"one {MAIN} in it or below", got, "name its folder")
    return found[0]


def _h5py() -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        expected, remedy = "the package h5py", "pip install h5py"
        raise InputError("h5py", expected, "none installed", remedy) from None


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read it.

    Raises:
        InputError: There is none, it is something else, or a part of it cannot be read.
    """
    h5py = _h5py()
    if not path.is_file():
        remedy = f"paths are taken from the working directory, {Path.cwd()}"
        raise InputError(f"path {path}", "an HDF5 file", "none there", remedy)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except InputError:
        raise
    except Exception as error:  # flipped bytes raise many kinds
        got, remedy = one_line(error), "fetch or write it again"
        raise InputError(str(path), "a whole HDF5 file", got, remedy) from None


def _metadata(file: Any, path: Path) -> dict[str, Any]:
    """Return what is said of all episodes: beside the file since Minari 0.5, in it before."""
    beside = path.with_name(METADATA)
    if not beside.is_file():
        return dict(file.attrs)
    try:
        return dict(json.loads(beside.read_text()))
    except (ValueError, TypeError) as error:
        got, remedy = one_line(error), "mend or delete it"
        raise InputError(str(beside), "a JSON object", got, remedy) from None


def _parse(metadata: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """Return what is written as JSON text within the metadata; nothing if there is none."""
    try:
        return dict(json.loads(metadata.get(key) or "{}"))
    except (ValueError, TypeError):
        got, remedy = repr(metadata[key])[:40], "mend it"
        raise InputError(f"{key} of {path}", "a JSON object as text", got, remedy) from None


def _episode(group: Any, name: str) -> Episode:
    for key in ("observations", "actions", "rewards", "terminations"):
        if key not in group:
            got = f"only {', '.join(group) or 'an empty group'}"
            raise InputError(f"{key} of {name}", "it in each episode", got, "add it")
    parts = _parts(group["observations"], name)
    actions, rewards, flags = (
        _array(group[key], f"{key} of {name}") for key in ("actions", "rewards", "terminations")
    )
    if not actions.size:
        raise InputError(f"actions of {name}", "at least one step", "none", "drop the episode")
    terminated = _last(flags, actions.shape[:1], f"terminations of {name}")
    seed = group.attrs.get("seed")
    info = {"seed": int(seed)} if isinstance(seed, np.integer) else {}
    return make_episode(name, parts, actions, rewards, terminated, info)


def _array(node: Any, what: str) -> Array:
    if not hasattr(node, "shape"):
        got, remedy = f"the parts {', '.join(node)}", "put them side by side"
        raise InputError(what, "one array", got, remedy)
    return np.asarray(node[()])


def _last(flags: Array, shape: tuple[int, ...], what: str) -> bool:
    """Return the last of an episode's flags, of which no other may be set."""
    if flags.shape != shape:
        expected, got = f"shape {shape}, one an action", str(flags.shape)
        raise InputError(what, expected, got, "mend the file")
    early = flags[:-1].astype(bool)
    if early.any():
        got = f"true at step {early.argmax()} of {len(flags)}"
        raise InputError(what, "true at the last step at most", got, "end the episode there")
    return bool(flags[-1:].any())


def _parts(node: Any, name: str, key: str = "") -> dict[str, Array]:
    """Return the arrays in groups within groups, by the path to each."""
    if hasattr(node, "shape"):
        return {key or VECTOR: _pixels(np.asarray(node[()]), f"{key or VECTOR} of {name}")}
    found: dict[str, Array] = {}
    for part in node:
        found |= _parts(node[part], name, f"{key}/{part}" if key else part)
    return found


def _pixels(rows: Array, what: str) -> Array:
    """Return images where each row is a JPEG file, as since Minari 0.5.3; any other array as is."""
    files = (rows.dtype == object and rows.ndim == 1) or (rows.dtype == np.uint8 and rows.ndim == 2)
    if not files or not len(rows) or any(bytes(x[:3]) != JPEG for x in rows):
        return rows
    try:
        image = importlib.import_module("PIL.Image")
        return np.stack([np.asarray(image.open(io.BytesIO(bytes(x)))) for x in rows])
    except ImportError:
        expected, remedy = "the package pillow for JPEG", "pip install pillow"
        raise InputError(what, expected, "none installed", remedy) from None
    except (ValueError, OSError) as error:
        raise InputError(what, "whole JPEG images of one size", str(error), "mend it") from None


def write_minari(recording: Recording, path: str | Path) -> None:
    """Write a Minari data set, whole or not at all: ``data/main_data.hdf5`` and its metadata.

    Images are stored as they are, without loss; Minari 0.5.3 alone expects JPEG and cannot read
    those.

    Args:
        recording: What to write. Seeds in the info of its episodes are kept.
        path: Its folder, whose name becomes its id, such as ``cartpole-v0``.

    Raises:
        InputError: Minari would not accept the name, or episodes differ.
    """
    h5py, root = _h5py(), Path(path)
    if not DATASET.fullmatch(root.name):
        expected = "a name of letters, digits, - and _ with a version"
        raise InputError(f"folder {path}", expected, repr(root.name), "write it like cartpole-v0")
    metadata = describe(recording, root.name)
    with replacing(root / "data" / METADATA) as beside, replacing(root / "data" / MAIN) as main:
        with h5py.File(main, "w") as file:
            file.attrs.update(metadata)
            for number, episode in enumerate(recording.episodes):
                _write(file.create_group(f"episode_{number}"), number, episode)
        size = round(main.stat().st_size / 1e6, 1)  # in MB
        beside.write_text(json.dumps(metadata | {"dataset_size": size}))


def _write(group: Any, number: int, episode: Episode) -> None:
    group.attrs.update(id=number, total_steps=len(episode))
    if "seed" in episode.info:
        group.attrs["seed"] = episode.info["seed"]
    ended = np.arange(len(episode)) == len(episode) - 1
    _put(group, "observations", nested(episode.observation))
    _put(group, "actions", episode.action)
    _put(group, "rewards", episode.reward)
    _put(group, "terminations", ended & episode.terminated)
    _put(group, "truncations", ended & (not episode.terminated))


def _put(group: Any, key: str, node: Any) -> None:
    if isinstance(node, dict):
        inner = group.create_group(key, track_order=True)  # in which a model sees them
        for name, part in node.items():
            _put(inner, name, part)
    else:
        group[key] = node
