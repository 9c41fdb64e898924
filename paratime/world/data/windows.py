"""Episodes as batches: end to end in windows that use every step, or whole and padded."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from paratime.errors import InputError
from paratime.training.batches.packing import PackedStream
from paratime.world.data.episode import Array

Rows = dict[str, Array]
"""An episode as a model reads it, or a part of it."""


class PackedWindows(PackedStream):
    """Windows over shuffled episodes that lie end to end.

    A window has ``length`` transitions, and so ``length + 1`` rows.

    Args:
        episodes: Aligned episodes.
        length: Transitions of a window.

    Raises:
        InputError: There are no episodes, or the length is below 1.
    """

    item_name = "episode"

    def __init__(self, episodes: Sequence[Rows], length: int) -> None:
        if length < 1 or not episodes:
            raise InputError(
                "windows",
                expected="episodes, and at least one transition",
                got=f"{len(episodes)} episodes, windows of {length}",
                remedy="correct it",
            )
        super().__init__([len(x["is_first"]) for x in episodes], length)
        self._episodes = episodes

    def __len__(self) -> int:
        return int(-(-self._sizes.sum() // self._length))

    def read(self, item: int, steps: slice) -> Rows:
        """Return some rows of an episode."""
        return {key: x[steps] for key, x in self._episodes[item].items()}

    def join(self, parts: list[Rows]) -> dict[str, Tensor]:
        """Return a window, all of whose rows are valid."""
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        joined["mask"] = np.ones(self._length + 1, dtype=bool)
        return {key: torch.from_numpy(x) for key, x in joined.items()}


class Whole(Dataset[dict[str, Tensor]]):
    """Whole episodes, indexed by number, or as the windows of a ``PackedStream``.

    Args:
        episodes: Aligned episodes.
        names: Of the episodes; their numbers if there are none.
    """

    def __init__(self, episodes: Sequence[Rows], names: Sequence[str] | None = None) -> None:
        self._episodes = episodes
        self._names = [*map(str, range(len(episodes)))] if names is None else names

    def __len__(self) -> int:
        return len(self._episodes)

    def item_id(self, index: int | tuple[int, int, bool]) -> str:
        """Return the name of an episode."""
        return self._names[index if isinstance(index, int) else index[1]]

    def describe(self, index: int | tuple[int, int, bool]) -> str:
        """Return which episode an index means."""
        return f"episode {self.item_id(index)!r}"

    def __getitem__(self, index: int | tuple[int, int, bool]) -> dict[str, Tensor]:
        episode = self._episodes[index if isinstance(index, int) else index[1]]
        return {key: torch.from_numpy(x) for key, x in episode.items()}


def masked(episode: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return an episode none of whose rows is valid."""
    return episode | {"mask": torch.zeros(len(episode["is_first"]), dtype=torch.bool)}


def padded(episodes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return a batch of episodes, zeros after their ends, and ``mask``: which rows are valid."""
    whole = [{"mask": torch.ones(len(x["is_first"]), dtype=torch.bool)} | x for x in episodes]
    return {
        key: torch.nn.utils.rnn.pad_sequence([x[key] for x in whole], batch_first=True)
        for key in whole[0]
    }
