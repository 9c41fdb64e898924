"""Minari's data sets in HDF5, read and written."""

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
from paratime.io.paths import expanded
from paratime.io.processes import read_on_trial
from paratime.world.data.environment import options_of, spec_json
from paratime.world.data.episode import (
    VECTOR,
    Array,
    Episode,
    Layout,
    check_complete,
    make_episode,
)
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.spaces import ActionCode, Description, known_space, observed

MINARI_VERSION = "0.5.0"
"""The oldest Minari that reads what is written here; newer ones read it as well."""

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

    The keys of nested observations are paths such as ``arm/position``; those of a tuple are
    ``_index_0``, ``_index_1`` and so on. An episode without a termination has been truncated.

    Args:
        path: The file ``main_data.hdf5``, or a folder with one such file in it or below.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order of their numbers."""
        path = _main_file(self.path)
        with open_hdf5(path) as file:
            metadata = _metadata(file, path)
            keys = _episode_keys(file, metadata, path)
            parsed = ("action_space", "observation_space", "env_spec")
            action, seen, environment = (_parse(metadata, key, path) for key in parsed)
            code, space = _action_code(action), known_space(seen)
            episodes = [_episode(file[key], f"{key} of {path}", code, space) for key in keys]
        choices = code.choices if code else None
        return Recording(episodes, environment.get("id"), choices, options=options_of(environment))


def _main_file(path: str) -> Path:
    root = Path(expanded(path))
    if not root.is_dir():
        return root
    found = [
        file
        for file in sorted(root.rglob(MAIN))
        if not any(part[0] == "." for part in file.relative_to(root).parts)
    ]
    if len(found) != 1:
        raise InputError(
            f"path {path}",
            expected=f"one {MAIN} in it or below",
            got=", ".join(str(p.relative_to(root)) for p in found[:3]) or "none",
            remedy="name its folder",
        )
    return found[0]


def _h5py() -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise InputError("h5py", "the package h5py", "none installed", "pip install h5py") from None


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read it.

    Raises:
        InputError: It does not exist, is something else, or a part of it cannot be read.
    """
    h5py = _h5py()
    if not path.is_file():
        raise InputError(
            f"path {path}",
            expected="an HDF5 file",
            got="none there",
            remedy=f"paths are taken from the working directory, {Path.cwd()}",
        )
    read_on_trial(path, "paratime.world.data.sources.hdf5", "visit_file")
    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(_check_link)
            yield file
    except InputError:
        raise
    except Exception as error:  # flipped bytes raise many kinds
        raise InputError(
            str(path), "a whole HDF5 file", one_line(error), "fetch or write it again"
        ) from None


def _check_link(name: str, link: Any) -> None:
    if isinstance(link, _h5py().ExternalLink):
        raise ValueError(f"{name} is in another file, {link.filename}")


def own_rows(node: Any) -> Array:
    """Return the rows of a dataset; refuse one whose rows lie in other files.

    Raises:
        ValueError: They do.
    """
    if node.is_virtual or node.external:
        raise ValueError(f"the rows of {node.name} are in another file")
    return np.asarray(node[()])


def _metadata(file: Any, path: Path) -> dict[str, Any]:
    """Return the metadata of a data set: next to the file since Minari 0.5, in it before."""
    path = path.with_name(METADATA)
    if not path.is_file():
        return dict(file.attrs)
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(str(path), "a JSON object", one_line(error), "mend or delete it") from None


def _parse(metadata: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """Return an object that the metadata holds as JSON text, empty if it does not."""
    try:
        return dict(json.loads(metadata.get(key) or "{}"))
    except (ValueError, TypeError):
        raise InputError(
            f"{key} of {path}", "a JSON object as text", repr(metadata[key])[:40], "mend it"
        ) from None


def _episode_keys(file: Any, metadata: dict[str, Any], path: Path) -> list[str]:
    """Return the names of the episodes' groups, in the order of their numbers."""
    groups = [(int(match[1]), key) for key in file if (match := EPISODE.fullmatch(key))]
    found = dict(groups)
    if not found:
        raise InputError(
            str(path),
            expected="groups episode_0 and so on",
            got=f"only {', '.join(file) or 'an empty file'}",
            remedy="check the path",
        )
    total = metadata.get("total_episodes", len(found))
    if not total == len(found) == len(groups):
        raise InputError(
            str(path), f"{total} episodes as the metadata says", str(len(groups)), "fetch it again"
        )
    return [found[number] for number in sorted(found)]


def _action_code(space: dict[str, Any]) -> ActionCode | None:
    """Return how actions of a described space become vectors, None if they are as they are."""
    if known_space(space) is None:
        return None
    code = ActionCode(space)
    return None if code.plain and code.choices is None else code


def _episode(group: Any, name: str, code: ActionCode | None, space: Description | None) -> Episode:
    for key in ("observations", "actions", "rewards", "terminations"):
        if key not in group:
            raise InputError(
                f"{key} of {name}",
                expected="it in each episode",
                got=f"only {', '.join(group) or 'an empty group'}",
                remedy="add it",
            )
    parts = _parts(group["observations"], name)
    rewards, flags = (_array(group[key], f"{key} of {name}") for key in ("rewards", "terminations"))
    actions = _actions(group["actions"], f"actions of {name}", code)
    if space is not None:
        parts = observed(space, parts)
    if not actions.size:
        raise InputError(f"actions of {name}", "at least one step", "none", "drop the episode")
    terminated = _last(flags, actions.shape[:1], f"terminations of {name}")
    seed = group.attrs.get("seed")
    info = {"seed": int(seed)} if isinstance(seed, np.integer) else {}
    return make_episode(name, parts, actions, reward=rewards, terminated=terminated, info=info)


def _actions(node: Any, what: str, code: ActionCode | None) -> Array:
    """Return actions as indices or vectors."""
    if code is None:
        return _array(node, what)
    rows = {VECTOR: _array(node, what)} if hasattr(node, "shape") else _parts(node, what)
    if not all(x.size for x in rows.values()):
        raise InputError(what, "at least one step", "none", "drop the episode")
    try:
        return code.encode(rows)
    except (KeyError, IndexError, ValueError) as error:
        raise InputError(
            what, "actions of its action space", one_line(error), "mend the file"
        ) from None


def _array(node: Any, what: str) -> Array:
    if not hasattr(node, "shape"):
        raise InputError(what, "one array", f"the parts {', '.join(node)}", "put them side by side")
    return own_rows(node)


def _last(flags: Array, shape: tuple[int, ...], what: str) -> bool:
    """Return the last of an episode's flags; no other one may be set."""
    if flags.shape != shape:
        raise InputError(what, f"shape {shape}, one an action", str(flags.shape), "mend the file")
    early = flags[:-1].astype(bool)
    if early.any():
        raise InputError(
            what,
            expected="true at the last step at most",
            got=f"true at step {early.argmax()} of {len(flags)}",
            remedy="end the episode there",
        )
    return bool(flags[-1:].any())


def _parts(node: Any, name: str, key: str = "") -> dict[str, Array]:
    """Return the arrays in nested groups, by the path to each."""
    if hasattr(node, "shape"):
        return {key or VECTOR: _pixels(own_rows(node), f"{key or VECTOR} of {name}")}
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
        raise InputError(
            what, "the package pillow for JPEG", "none installed", "pip install pillow"
        ) from None
    except (ValueError, OSError) as error:
        raise InputError(what, "whole JPEG images of one size", str(error), "mend it") from None


def check_name(path: str | Path) -> None:
    """Refuse a folder whose name Minari would not accept for a data set."""
    if not DATASET.fullmatch(Path(path).name):
        raise InputError(
            f"folder {path}",
            expected="a name of letters, digits, - and _ with a version",
            got=repr(Path(path).name),
            remedy="write it like cartpole-v0",
        )


def write_minari(recording: Recording, path: str | Path) -> None:
    """Write a Minari data set, whole or not at all: ``data/main_data.hdf5`` and its metadata.

    Images are stored without loss, as they are; only Minari 0.5.3 expects JPEG and cannot read
    them.

    Args:
        recording: What to write. Seeds in the info of its episodes are kept.
        path: Its folder, whose name becomes its id, such as ``cartpole-v0``.

    Raises:
        InputError: Minari would not accept the name or the environment, or episodes differ.
    """
    h5py, root = _h5py(), Path(path)
    check_name(root)
    metadata = _describe(recording, root.name)
    folder = root / "data"
    with replacing(folder / METADATA) as text, replacing(folder / MAIN) as main:
        with h5py.File(main, "w") as file:
            file.attrs.update(metadata)
            for number, episode in enumerate(recording.episodes):
                _write(file.create_group(f"episode_{number}"), number, episode)
        size = round(main.stat().st_size / 1e6, 1)  # in MB
        text.write_text(json.dumps(metadata | {"dataset_size": size}))


def _describe(recording: Recording, name: str) -> dict[str, Any]:
    """Return the metadata of a recording: its spaces, its environment and its sizes."""
    check_complete(recording.episodes)
    layout, first = Layout.of(recording.episodes, recording.actions), recording.episodes[0]
    discrete = {"type": "Discrete", "dtype": "int64", "start": 0, "n": layout.action}
    action = discrete if layout.discrete else _space(first.action)
    environment = recording.environment
    return {
        "dataset_id": name,
        "minari_version": MINARI_VERSION,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "total_episodes": len(recording.episodes),
        "total_steps": sum(map(len, recording.episodes)),
        "observation_space": json.dumps(_space(_nested(first.observation))),
        "action_space": json.dumps(action),
    } | ({} if environment is None else {"env_spec": spec_json(environment, recording.options)})


def _nested(parts: dict[str, Array]) -> Any:
    """Return an observation's parts in nested dicts; a single array as it is."""
    if [*parts] == [VECTOR]:
        return parts[VECTOR]
    tree: dict[str, Any] = {}
    for key, x in parts.items():
        *groups, leaf = key.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = x
    return tree


def _space(node: Any) -> dict[str, Any]:
    """Return the space of arrays (T, ...) or dicts of them, as Minari writes it."""
    if isinstance(node, dict):
        return {"type": "Dict", "subspaces": {key: _space(x) for key, x in node.items()}}
    shape = node.shape[1:]
    low, high = (0, 255) if node.dtype == np.uint8 else (-np.inf, np.inf)
    bounds = {"low": np.full(shape, low).tolist(), "high": np.full(shape, high).tolist()}
    return {"type": "Box", "dtype": str(node.dtype), "shape": [*shape]} | bounds


def _write(group: Any, number: int, episode: Episode) -> None:
    group.attrs.update(id=number, total_steps=len(episode))
    if "seed" in episode.info:
        group.attrs["seed"] = episode.info["seed"]
    ended = np.arange(len(episode)) == len(episode) - 1
    _put(group, "observations", _nested(episode.observation))
    _put(group, "actions", episode.action)
    _put(group, "rewards", episode.reward)
    _put(group, "terminations", ended & episode.terminated)
    _put(group, "truncations", ended & (not episode.terminated))


def _put(group: Any, key: str, node: Any) -> None:
    if isinstance(node, dict):
        inner = group.create_group(key, track_order=True)  # the order of the model's inputs
        for name, part in node.items():
            _put(inner, name, part)
    else:
        group[key] = node
