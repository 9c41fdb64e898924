"""Which source a path or a prefix means."""

from pathlib import Path

from paratime.errors import InputError
from paratime.world.data.sources.base import Source
from paratime.world.data.sources.d4rl import D4RL, is_d4rl
from paratime.world.data.sources.dreamer import Npz
from paratime.world.data.sources.gym import Gym
from paratime.world.data.sources.minari import Minari
from paratime.world.data.sources.table import LeRobot, Table

SOURCES = (D4RL, Gym, LeRobot, Minari, Npz, Table)
"""Sources that every command line may name without their modules."""

PREFIX = "gym:"


def trajectory_source(text: str) -> Source:
    """Return the source that a text means.

    Args:
        text: ``gym:ID``; a ``.hdf5`` file or a folder of Minari, or a file of D4RL; a ``.npz``
            file, or a folder or a pattern of them.

    Raises:
        InputError: It means none.
    """
    if text.startswith(PREFIX):
        return Gym(text.removeprefix(PREFIX))
    if text.endswith((".hdf5", ".h5")):
        return D4RL(text) if is_d4rl(text) else Minari(text)
    if Path(text).is_dir() and any(Path(text).rglob("*.hdf5")):
        return Minari(text)
    if text.endswith(".npz") or Path(text).is_dir():
        return Npz(text)
    raise InputError(
        "data", f"{PREFIX}ID, .hdf5, .npz or a folder", repr(text), "use --source Table for tables"
    )
