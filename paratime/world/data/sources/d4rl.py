"""Episodes in HDF5 as D4RL stores them: all rows in one array per key."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paratime.errors import InputError
from paratime.io.paths import expanded
from paratime.world.data.episode import Array, Episode, make_episode
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.minari import open_hdf5, own_rows
from paratime.world.data.sources.readings import (
    OF_ORDER,
    describe_ends,
    describe_last,
    terminations,
)

FLAGS = ("terminals", "timeouts")
ROWS = ("observations", "actions", "rewards", *FLAGS)
NEXT = "next_observations"


@dataclass(frozen=True)
class D4RL(Source):
    """A file in the layout of D4RL: the rows of all episodes, one episode after the other.

    Row t of ``observations`` (N, O), ``actions`` (N, A), ``rewards``, ``terminals`` and
    ``timeouts`` (N,) holds the observation at step t, the action taken, and what it led to. An
    episode ends where one of the last two is true, and where the file ends. Its last observation
    is in ``next_observations`` (N, O). Without these, the observation after its last action is
    absent: the reward and the end of this action are kept, and the observation is masked.

    An end with both flags is a truncation, unless another one has ``timeouts`` alone.

    Args:
        path: The file.
    """

    path: str

    def read(self) -> Recording:
        """Return the episodes, in the order of their rows."""
        path = Path(expanded(self.path))
        with open_hdf5(path) as file:
            keys = [key for key in (*ROWS, NEXT) if hasattr(file.get(key), "shape")]
            rows = {key: np.atleast_1d(own_rows(file[key])) for key in keys}
        _check_rows(rows, path)
        ended = rows["terminals"].astype(bool) | rows["timeouts"].astype(bool)
        ended[-1:] = True
        last = np.flatnonzero(ended)
        flags = [(bool(rows["terminals"][i]), bool(rows["timeouts"][i])) for i in last]
        begin, episodes = 0, list[Episode]()
        for end, terminated in zip((last + 1).tolist(), terminations(flags), strict=True):
            part = {key: x[begin:end] for key, x in rows.items()}
            begin = end
            episodes.append(_episode(part, f"episode {len(episodes)} of {path}", terminated))
        if not episodes:
            raise InputError(f"episodes of {path}", "at least one row", "none", "mend the file")
        return Recording(
            episodes,
            reading=(
                f"{OF_ORDER['taken']}; its reward and end belong to that action",
                describe_last(episodes, f"in {NEXT}"),
                describe_ends(flags, *FLAGS),
            ),
        )


def is_d4rl(path: str) -> bool:
    """Return whether an HDF5 file has the layout of D4RL: observations at its top level."""
    with open_hdf5(Path(expanded(path))) as file:
        return "observations" in file


def _check_rows(rows: dict[str, Array], path: Path) -> None:
    for key in ROWS:
        if key not in rows:
            raise InputError(
                f"{key} of {path}",
                expected="a dataset of that name",
                got=f"only {', '.join(rows) or 'others'}",
                remedy="add it",
            )
    count = len(rows["actions"])
    for key, x in rows.items():
        what, remedy = f"{key} of {path}", "mend the file"
        if len(x) != count or (key in FLAGS and x.ndim > 1):
            raise InputError(what, f"{count} rows as in actions", f"shape {x.shape}", remedy)
        if key in FLAGS and (x.dtype.kind not in "biuf" or (x != x.astype(bool)).any()):
            raise InputError(what, "zeros and ones", "others", remedy)
        if key == NEXT and x.shape != (shape := rows["observations"].shape):
            raise InputError(what, f"shape {shape}", str(x.shape), remedy)


def _episode(part: dict[str, Array], name: str, terminated: bool) -> Episode:
    observed = [part["observations"], *([part[NEXT][-1:]] if NEXT in part else [])]
    return make_episode(
        name,
        np.concatenate(observed),
        action=part["actions"],
        reward=part["rewards"],
        terminated=terminated,
        complete=NEXT in part,
    )
