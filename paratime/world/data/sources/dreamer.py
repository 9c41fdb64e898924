"""Episodes as Dreamer stores them: one compressed archive of numpy arrays each.

All arrays have T + 1 rows, one per observation. Row t holds observation t, and the reward that led
to it. Its action has led to it, too, in archives of Dreamer's first and second versions, which is
what is written here; those of the third hold the action that was taken at it. The action of row 0,
or that of the last row, means nothing then, and is zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import ZipFile

import numpy as np

from paratime.errors import InputError, one_line
from paratime.io.atomic import replacing
from paratime.io.files import check_fits, find
from paratime.io.saved.archives import is_zip
from paratime.world.data.episode import Array, Episode, check_complete, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.readings import OF_ORDER, Order

SUFFIX = ".npz"
FLAGS = ("is_first", "is_last", "is_terminal")
REQUIRED = (*FLAGS, "reward", "action")
IGNORED = ("discount", "logprob")
LOG = "log_"
ARGUMENTS = ("file", "allow_pickle")
"""Names of numpy's own arguments in the call that takes the arrays by name."""


@dataclass(frozen=True)
class Npz(Source):
    """Files in the layout of Dreamer, one episode per file.

    Each has ``is_first``, ``is_last``, ``is_terminal``, ``reward``, ``action`` (T + 1, A) or, of
    whole numbers, (T + 1,). All its other arrays are observations under their keys, except those
    whose keys begin with ``log_``.

    Args:
        path: A file, a folder, or a pattern (``**`` descends into folders).
        discrete: Whether actions are one-hot, to be read as choices. Whole numbers always are.
        ignore: Keys of arrays that are no observations.
        order: Whether the action of a row led to its observation or was taken at it; by default
            the former, unless the last actions of all files are zero and the first ones are not.
    """

    path: str
    discrete: bool = False
    ignore: tuple[str, ...] = IGNORED
    order: Literal["auto", "led_to", "taken"] = "auto"

    def read(self) -> Recording:
        """Return the episodes, in the order of the names of their files."""
        episodes: list[Episode] = []
        choices: int | None = None
        files = [(path, self._checked(path)) for path in find(self.path, (SUFFIX,))]
        order, why = self._order([arrays["action"] for _, arrays in files])
        for path, arrays in files:
            steps = slice(1, None) if order == "led_to" else slice(-1)
            arrays["action"] = arrays["action"][steps]
            if self.discrete and not _is_choice(arrays["action"]):
                first = steps.start or 0
                choices = _choices(arrays["action"], choices, f"action of {path}", first)
                arrays["action"] = arrays["action"].argmax(1)
            episodes.append(_episode(arrays, str(path)))
        reading = (
            f"{OF_ORDER[order]}: {why}; its reward has led to it",
            f"{sum(x.terminated for x in episodes):,} of {len(episodes):,} episodes are terminated,"
            " by is_terminal",
        )
        return Recording(episodes, actions=choices, reading=reading)

    def _order(self, actions: Sequence[Array]) -> tuple[Order, str]:
        """Return where actions belong, and why."""
        if self.order != "auto":
            return self.order, "as chosen"
        first, last = (all(_is_blank(x[row]) for x in actions) for row in (0, -1))
        if first != last:
            where = "first" if first else "last"
            return "led_to" if first else "taken", f"the {where} action of every file is zero"
        both = "both" if first else "neither"
        return "led_to", f"{both} of the first and last actions are zero, so this is a guess"

    def _checked(self, path: Path) -> dict[str, Array]:
        arrays = self._load(path)
        _check(arrays, path)
        return arrays

    def _load(self, path: Path) -> dict[str, Array]:
        remedy = "write it again with numpy.savez"
        if not is_zip(path):
            raise InputError(
                str(path), "a whole archive of numpy arrays", "another file, or a part", remedy
            )
        try:
            with ZipFile(path) as parts:
                check_fits(path, sum(x.file_size for x in parts.infolist()))
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files if self._reads(key)}
            if other := [key for key, x in arrays.items() if not isinstance(x, np.ndarray)]:
                raise ValueError(f"{other[0]} is no array")
            return arrays
        except InputError:
            raise
        except Exception as error:  # flipped bytes raise many kinds
            raise InputError(
                str(path), "numpy arrays of numbers", one_line(error), remedy
            ) from None

    def _reads(self, key: str) -> bool:
        return key not in self.ignore and not key.startswith(LOG)


def _episode(arrays: dict[str, Array], name: str) -> Episode:
    return make_episode(
        name,
        {key: x for key, x in arrays.items() if key not in REQUIRED},
        action=arrays["action"],
        reward=arrays["reward"][1:],
        terminated=bool(arrays["is_terminal"][-1]),
    )


def _check(arrays: dict[str, Array], path: Path) -> None:
    """Refuse a file that lacks an array, has too few rows, or flags in the wrong ones."""
    for key in REQUIRED:
        if key not in arrays:
            raise InputError(
                f"{key} of {path}",
                expected="an array of that name",
                got=f"only {', '.join(sorted(arrays)) or 'an empty archive'}",
                remedy="add it",
            )
    rows = {key: len(x) if x.ndim else 0 for key, x in arrays.items()}
    if (length := rows["action"]) < 2:
        raise InputError(
            f"action of {path}", "rows of two observations or more", str(length), "drop the episode"
        )
    for key, count in rows.items():
        if count != length:
            raise InputError(
                f"{key} of {path}", f"{length} rows as in action", str(count), "all need as many"
            )
    for key in FLAGS:
        flag = arrays[key].reshape(length, -1)[:, 0].astype(bool)
        _check_flag(flag, first=key == "is_first", what=f"{key} of {path}")


def _check_flag(flag: Array, first: bool, what: str) -> None:
    """Refuse a flag in another row than its own; a truncated episode may lack that of the last."""
    row = np.arange(len(flag))
    wrong = flag != (row == 0) if first else flag & (row < row[-1])
    if wrong.any():
        step = int(wrong.argmax())
        raise InputError(
            what,
            expected=f"true in the {'first' if first else 'last'} row alone",
            got=f"{bool(flag[step])} in row {step}",
            remedy="write one whole episode a file",
        )


def _is_blank(action: Array) -> bool:
    """Return whether an action is zero, or no number at all."""
    return action.dtype.kind in "biuf" and not np.nan_to_num(action).any()


def _is_choice(action: Array) -> bool:
    return action.dtype.kind in "iub" and action.size == len(action)


def _choices(action: Array, known: int | None, what: str, first: int) -> int:
    """Return the number of choices of one-hot actions, the first of which is in some row."""
    remedy = "choose discrete=False, or correct it"
    if action.ndim != 2:
        raise InputError(what, "one-hot rows", f"shape {action.shape}", remedy)
    one_hot = (np.sort(action, axis=1) == np.eye(1, action.shape[1])[:, ::-1]).all(1)
    if not one_hot.all():
        row = int(np.argmin(one_hot))
        raise InputError(
            what,
            expected="one-hot rows",
            got=f"{action[row].tolist()} in row {row + first}",
            remedy=remedy,
        )
    if known not in (None, action.shape[1]):
        raise InputError(
            what, f"{known} choices as in files before", str(action.shape[1]), "read them apart"
        )
    return action.shape[1]


def write_npz(episodes: Sequence[Episode], folder: str | Path) -> None:
    """Write episodes to ``00000.npz``, ``00001.npz`` and so on, each whole or not at all.

    Args:
        episodes: What to write; discrete actions as whole numbers, (T + 1,).
        folder: Where to; it is made if it does not exist. Files of the same names are replaced.

    Raises:
        InputError: The folder holds other episodes, or a key would not be read again.
    """
    paths = [Path(folder) / f"{number:05d}{SUFFIX}" for number in range(len(episodes))]
    others = sorted({*Path(folder).glob(f"*{SUFFIX}")} - {*paths})
    if others:
        raise InputError(
            str(folder), "no other episodes there", others[0].name, "choose an empty folder"
        )
    check_complete(episodes)
    for episode in episodes:
        check_keys(episode.observation, episode.name)
    for path, episode in zip(paths, episodes, strict=True):
        with replacing(path) as draft, draft.open("wb") as file:
            np.savez_compressed(file, **_arrays(episode))


def check_keys(keys: Iterable[str], what: str) -> None:
    """Refuse keys of observations that would not be read again.

    Args:
        keys: The keys.
        what: What is observed, for the message.

    Raises:
        InputError: A key that the layout or numpy needs for itself.
    """
    for key in keys:
        if key in (*REQUIRED, *IGNORED, *ARGUMENTS) or key.startswith(LOG):
            raise InputError(
                f"observation of {what}",
                expected="keys that are not reserved",
                got=repr(key),
                remedy="rename it, or write minari",
            )


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
