"""Episodes as batches: end to end in windows that use every step, or whole and padded."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from paratime.errors import InputError
from paratime.training.samplers import EpochSampler
from paratime.world.data.episode import Array

Rows = dict[str, Array]
"""An episode as a model reads it, or a part of it."""


class PackedWindows(Dataset[dict[str, Tensor]]):
    """Windows of shuffled episodes that lie end to end, indexed by (seed, window, follows).

    The seed is that of the order; a window that follows goes on where the same place in the batch
    before it ended, which it says under ``follows``. Its ``place`` is the seed, and its first row.

    A window has ``length`` transitions, and so ``length + 1`` rows: the last row of a window is the
    first of the next. The last window of an order goes on with its first episodes.

    Args:
        episodes: Aligned episodes.
        length: Transitions of a window.

    Raises:
        InputError: There are no episodes, or the length is below 1.
    """

    def __init__(self, episodes: Sequence[Rows], length: int) -> None:
        if length < 1 or not episodes:
            got = f"{len(episodes)} episodes, windows of {length}"
            raise InputError("windows", "episodes, and at least one transition", got, "correct it")
        self._episodes, self._length = episodes, length
        self._rows = np.array([len(x["is_first"]) for x in episodes])
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return int(-(-self._rows.sum() // self._length))

    def __getitem__(self, index: tuple[int, int, bool]) -> dict[str, Tensor]:
        seed, window, follows = index
        order, ends = self._order(seed)
        first, needed = window * self._length, self._length + 1
        place, parts = int(np.searchsorted(ends, first, side="right")), []
        skip = first - int(ends[place]) + int(self._rows[order[place]])
        while needed > 0:
            episode = self._episodes[order[place % len(order)]]
            part = {key: x[skip : skip + needed] for key, x in episode.items()}
            parts.append(part)
            needed -= len(part["is_first"])
            place, skip = place + 1, 0
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        joined["mask"] = np.ones(self._length + 1, dtype=bool)
        known = {key: torch.from_numpy(x) for key, x in joined.items()}
        return known | {"follows": torch.tensor(follows), "place": torch.tensor([seed, first])}

    def _shuffled(self, seed: int) -> tuple[Array, Array]:
        order = np.random.default_rng(seed).permutation(len(self._episodes))
        return order, self._rows[order].cumsum()


class Shuffled(EpochSampler):
    """Each item once an epoch, with a seed for its windows; all is f(seed, epoch)."""

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        random = self.random()
        seed = int(random.integers(2**63))
        for item in random.permutation(len(self)):
            yield seed, int(item), False


class Whole(Dataset[dict[str, Tensor]]):
    """Whole episodes, indexed by their number, or as windows are.

    Args:
        episodes: Aligned episodes.
    """

    def __init__(self, episodes: Sequence[Rows]) -> None:
        self._episodes = episodes

    def __len__(self) -> int:
        return len(self._episodes)

    def __getitem__(self, index: int | tuple[int, int, bool]) -> dict[str, Tensor]:
        episode = self._episodes[index if isinstance(index, int) else index[1]]
        return {key: torch.from_numpy(x) for key, x in episode.items()}


def padded(episodes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return episodes side by side, zeros behind their ends, and ``mask``: where they are."""
    lengths = torch.tensor([len(x["is_first"]) for x in episodes])
    batch = {
        key: torch.nn.utils.rnn.pad_sequence([x[key] for x in episodes], batch_first=True)
        for key in episodes[0]
    }
    return batch | {"mask": torch.arange(int(lengths.max())) < lengths[:, None]}
