"""Training windows over documents or episodes that lie end to end."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset


class PackedStream(Dataset[dict[str, Tensor]], ABC):
    """Windows over shuffled items that lie end to end, indexed by (seed, window, follows).

    The seed selects the order of the items. A window that ``follows`` continues where the same row
    of the previous batch ended. Its ``place`` is the seed, and its first step. The last step of a
    window is the first of the next; the last window continues with the first items of the order.

    Args:
        sizes: Steps of each item, (N,).
        length: Steps from the start of a window to the start of the next.
    """

    item_name: ClassVar[str]
    """What lies end to end, in one word."""

    def __init__(self, sizes: ArrayLike, length: int) -> None:
        self._sizes, self._length = np.asarray(sizes, dtype=np.int64), length
        self._known: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of windows of an epoch."""

    @abstractmethod
    def read(self, item: int, steps: slice) -> Any:
        """Return some steps of an item."""

    @abstractmethod
    def join(self, parts: list[Any]) -> dict[str, Tensor]:
        """Return a window of ``length + 1`` steps from its parts."""

    def __getitem__(self, index: tuple[int, int, bool]) -> dict[str, Tensor]:
        seed, window, follows = index
        first = window * self._length
        parts = [self.read(item, steps) for item, steps in self._spans(seed, first)]
        about = {"follows": torch.tensor(follows), "place": torch.tensor([seed, first])}
        return self.join(parts) | about

    def describe(self, index: tuple[int, int, bool]) -> str:
        """Return which steps of which items a window reads."""
        spans = [*self._spans(index[0], index[1] * self._length)]
        named = [f"{self.item_name} {i} steps {x.start} to {x.stop - 1}" for i, x in spans]
        return " + ".join(named if len(named) < 3 else [named[0], "...", named[-1]])

    def _spans(self, seed: int, first: int) -> Iterator[tuple[int, slice]]:
        """Yield the items of a window, and which of their steps are in it."""
        order, ends = self._order(seed)
        needed, place = self._length + 1, int(np.searchsorted(ends, first, side="right"))
        start = first - int(ends[place]) + int(self._sizes[order[place]])
        while needed > 0:
            item = int(order[place % len(order)])
            stop = min(int(self._sizes[item]), start + needed)
            yield item, slice(start, stop)
            needed -= stop - start
            place, start = place + 1, 0

    def _order(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the items in the order of a seed, and where each ends."""
        if self._known is None or self._known[0] != seed:
            order = np.random.default_rng(seed).permutation(len(self._sizes))
            self._known = seed, order, self._sizes[order].cumsum()
        return self._known[1:]
