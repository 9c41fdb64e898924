"""Episodes as Dreamer stores them: one compressed archive of numpy arrays each.

All arrays have T + 1 rows, one an observation. Row t holds observation t, and the action and the
reward that led to it: those of row 0 mean nothing, and are written as zeros.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paratime.errors import InputError, one_line
from paratime.io.atomic import replacing
from paratime.io.files import find
from paratime.world.data.episode import Array, Episode, make_episode
from paratime.world.data.sources.base import Recording, Source

SUFFIX = ".npz"
FLAGS = ("is_first", "is_last", "is_terminal")
REQUIRED = (*FLAGS, "reward", "action")
IGNORED = ("discount", "logprob")
LOG = "log_"
ARGUMENTS = ("file", "allow_pickle")
"""What numpy calls its own arguments where it takes the arrays by name."""


@dataclass(frozen=True)
class Npz(Source):
    """Files in the layout of Dreamer, one episode a file.

    Each has ``is_first``, ``is_last``, ``is_terminal``, ``reward``, ``action`` (T + 1, A) or, of
    whole numbers, (T + 1,). All its other arrays are observations under their keys, except those
    whose keys begin with ``log_``.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders).
        discrete: Whether actions are one-hot, to be read as choices. Whole numbers always are.
        ignore: Keys of arrays that are no observations.
    """

    path: str
    discrete: bool = False
    ignore: tuple[str, ...] = IGNORED

    def read(self) -> Recording:
        """Return the episodes, in the order of the names of their files."""
        episodes: list[Episode] = []
        choices: int | None = None
        for path in find(self.path, (SUFFIX,)):
            arrays = self._load(path)
            _check(arrays, path)
            if self.discrete and not _whole(arrays["action"]):
                choices = _choices(arrays["action"], choices, path)
                arrays["action"] = arrays["action"].argmax(1)
            episodes.append(_episode(arrays, str(path)))
        return Recording(episodes, actions=choices)

    def _load(self, path: Path) -> dict[str, Array]:
        remedy = "write it again with numpy.savez"
        if not zipfile.is_zipfile(path):
            got = "something else, or a part of one"
            raise InputError(str(path), "a whole archive of numpy arrays", got, remedy)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files if self._reads(key)}
            if other := [key for key, x in arrays.items() if not isinstance(x, np.ndarray)]:
                raise ValueError(f"{other[0]} is no array")
            return arrays
        except Exception as error:  # flipped bytes raise many kinds
            got = one_line(error)
            raise InputError(str(path), "numpy arrays of numbers", got, remedy) from None

    def _reads(self, key: str) -> bool:
        return key not in self.ignore and not key.startswith(LOG)


def _episode(arrays: dict[str, Array], name: str) -> Episode:
    observation = {key: x for key, x in arrays.items() if key not in REQUIRED}
    action, reward = arrays["action"][1:], arrays["reward"][1:]
    return make_episode(name, observation, action, reward, bool(arrays["is_terminal"][-1]))


def _check(arrays: dict[str, Array], path: Path) -> None:
    """Refuse a file that lacks an array, has too few rows, or flags in the wrong ones."""
    for key in REQUIRED:
        if key not in arrays:
            got = f"only {', '.join(sorted(arrays)) or 'an empty archive'}"
            raise InputError(f"{key} of {path}", "an array of that name", got, "add it")
    rows = {key: len(x) if x.ndim else 0 for key, x in arrays.items()}
    if rows["action"] < 2:
        expected, got = "a row for each of two observations or more", str(rows["action"])
        raise InputError(f"action of {path}", expected, got, "drop the episode")
    for key, count in rows.items():
        if count != rows["action"]:
            expected = f"{rows['action']} rows as in action"
            remedy = "all arrays have a row for each observation"
            raise InputError(f"{key} of {path}", expected, str(count), remedy)
    for key in FLAGS:
        _check_flag(arrays[key].reshape(rows[key], -1)[:, 0].astype(bool), key, path)


def _check_flag(flag: Array, key: str, path: Path) -> None:
    """Refuse a flag that is not where it belongs; an episode that is cut short has no last row."""
    row = np.arange(len(flag))
    if key == "is_first":
        wrong, place = flag != (row == 0), "first"
    else:
        wrong, place = flag & (row < row[-1]), "last"
    if wrong.any():
        step = int(wrong.argmax())
        got, remedy = f"{bool(flag[step])} in row {step}", "write one whole episode a file"
        raise InputError(f"{key} of {path}", f"true in the {place} row alone", got, remedy)


def _whole(action: Array) -> bool:
    return action.dtype.kind in "iub" and action.size == len(action)


def _choices(action: Array, known: int | None, path: Path) -> int:
    """Return how many choices one-hot actions have; row 0 may hold anything."""
    what = f"action of {path}"
    if action.ndim != 2:
        got, remedy = f"shape {action.shape}", "choose discrete=False"
        raise InputError(what, "one-hot rows", got, remedy)
    one_hot = (np.sort(action[1:], axis=1) == np.eye(1, action.shape[1])[:, ::-1]).all(1)
    if not one_hot.all():
        row = int(np.argmin(one_hot)) + 1
        remedy = "choose discrete=False, or correct it"
        raise InputError(what, "one-hot rows", f"{action[row].tolist()} in row {row}", remedy)
    if known not in (None, action.shape[1]):
        expected, got = f"{known} choices as in files before", str(action.shape[1])
        raise InputError(what, expected, got, "read these files apart")
    return action.shape[1]


def write_npz(episodes: Sequence[Episode], folder: str | Path) -> None:
    """Write episodes to ``00000.npz``, ``00001.npz`` and so on, each whole or not at all.

    Args:
        episodes: What to write; discrete actions as whole numbers, (T + 1,).
        folder: Where to; made if it is not there. Files of the same names are replaced.

    Raises:
        InputError: Other episodes are there already, or a key would not be read again.
    """
    paths = [Path(folder) / f"{number:05d}{SUFFIX}" for number in range(len(episodes))]
    others = sorted({*Path(folder).glob(f"*{SUFFIX}")} - {*paths})
    if others:
        expected, remedy = "no other episodes there", "choose an empty folder"
        raise InputError(str(folder), expected, others[0].name, remedy)
    for episode in episodes:
        _check_keys(episode)
    for path, episode in zip(paths, episodes, strict=True):
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, **_arrays(episode))


def _check_keys(episode: Episode) -> None:
    for key in episode.observation:
        if key in (*REQUIRED, *IGNORED, *ARGUMENTS) or key.startswith(LOG):
            what, expected = f"observation of {episode.name}", "keys that Dreamer has no use for"
            raise InputError(what, expected, repr(key), "rename it")


def _arrays(episode: Episode) -> dict[str, Any]:
    action, reward = episode.action, episode.reward
    flags = np.zeros((len(FLAGS), len(episode) + 1), dtype=bool)
    flags[0, 0] = flags[1, -1] = True
    flags[2, -1] = episode.terminated
    led_to = {
        "action": np.concatenate([np.zeros_like(action[:1]), action]),
        "reward": np.concatenate([np.zeros_like(reward[:1]), reward]),
    }
    return episode.observation | led_to | dict(zip(FLAGS, flags, strict=True))
