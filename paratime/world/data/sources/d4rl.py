"""Episodes in HDF5 as D4RL stores them: all rows below each other."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paratime.errors import InputError
from paratime.world.data.episode import Array, Episode, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.minari import open_hdf5

FLAGS = ("terminals", "timeouts")
ROWS = ("observations", "actions", "rewards", *FLAGS)
NEXT = "next_observations"


@dataclass(frozen=True)
class D4RL(Source):
    """A file in the layout of D4RL: all episodes one below the other.

    Row t of ``observations`` (N, O), ``actions`` (N, A), ``rewards``, ``terminals`` and
    ``timeouts`` (N,) holds what was observed at step t, what was done, and what came of it. An
    episode ends where one of the last two is true, and where the file does. Its last observation
    is in ``next_observations`` (N, O). Without these, what its last action led to is not known:
    the action is dropped with its reward and flag, the episode counts as cut short, and one that
    has no other action is skipped.

    Args:
        path: The file.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order of their rows."""
        path = Path(self.path)
        with open_hdf5(path) as file:
            there = [key for key in (*ROWS, NEXT) if hasattr(file.get(key), "shape")]
            rows = {key: np.atleast_1d(file[key][()]) for key in there}
        _check_rows(rows, path)
        ended = rows["terminals"].astype(bool) | rows["timeouts"].astype(bool)
        ended[-1:] = True
        begin, episodes = 0, list[Episode]()
        for end in (np.flatnonzero(ended) + 1).tolist():
            part = {key: x[begin:end] for key, x in rows.items()}
            begin = end
            if NEXT in rows or len(part["actions"]) > 1:
                episodes.append(_cut(part, f"episode {len(episodes)} of {path}"))
        if not episodes:
            got, remedy = f"{len(ended)} of one row each", "add next_observations"
            raise InputError(f"episodes of {path}", "one of two rows or more", got, remedy)
        return Recording(episodes)


def is_flat(path: str) -> bool:
    """Return whether an HDF5 file is laid out as D4RL's are: observations beside each other."""
    with open_hdf5(Path(path)) as file:
        return "observations" in file


def _check_rows(rows: dict[str, Array], path: Path) -> None:
    for key in ROWS:
        if key not in rows:
            got = f"only {', '.join(rows) or 'others'}"
            raise InputError(f"{key} of {path}", "a dataset of that name", got, "add it")
    count = len(rows["actions"])
    for key, x in rows.items():
        if len(x) != count or (key in FLAGS and x.ndim > 1):
            expected, got = f"{count} rows as in actions", f"shape {x.shape}"
            raise InputError(f"{key} of {path}", expected, got, "mend the file")
        if key in FLAGS and (x.dtype.kind not in "biuf" or (x != x.astype(bool)).any()):
            raise InputError(f"{key} of {path}", "zeros and ones", "others", "mend the file")
    if NEXT in rows and rows[NEXT].shape != rows["observations"].shape:
        expected, got = f"shape {rows['observations'].shape}", str(rows[NEXT].shape)
        raise InputError(f"{NEXT} of {path}", expected, got, "mend the file")


def _cut(part: dict[str, Array], name: str) -> Episode:
    observed, action, reward = part["observations"], part["actions"], part["rewards"]
    if NEXT not in part:
        return make_episode(name, observed, action[:-1], reward[:-1], False)
    observed = np.concatenate([observed, part[NEXT][-1:]])
    return make_episode(name, observed, action, reward, bool(part["terminals"][-1]))
