"""Training windows: fixed-length cuts of a token stream, with resets where documents start."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from paratime.errors import InputError
from paratime.language.data.corpus.shards import Shards
from paratime.language.tokenizers.base import Tokenizer
from paratime.training.samplers import EpochSampler


class Windows(Dataset[dict[str, Tensor]]):
    """Windows of ``length`` inputs and their targets, indexed by their first position.

    Args:
        ids: The stream, (N,).
        tokenizer: Its tokenizer.
        length: Inputs a window.
        split: The split's name, for messages.

    Raises:
        InputError: The stream is shorter than one window.
    """

    def __init__(
        self, ids: NDArray[Any] | Shards, tokenizer: Tokenizer, length: int, split: str
    ) -> None:
        if len(ids) < 2:
            remedy = "give more text, or hold out a larger share"
            raise InputError(f"{split} split", "at least 2 tokens", str(len(ids)), remedy)
        if length < 1 or length >= len(ids):
            expected = f"1 to {len(ids) - 1}, the tokens of the {split} split less one"
            remedy = "shorten it, hold out more, or give more text"
            raise InputError("context_length", expected, str(length), remedy)
        self._ids, self._length, self._start = ids, length, tokenizer.start
        self._byte_counts = tokenizer.byte_counts

    def __len__(self) -> int:
        return len(self._ids) - self._length

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        stop = position + self._length + 1
        return self.item(self._ids[position:stop].astype(np.int64))

    def item(self, window: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the inputs, targets and resets of a window (length + 1,), and its bytes."""
        inputs, targets = torch.from_numpy(window[:-1]), torch.from_numpy(window[1:])
        return {
            "inputs": inputs,
            "targets": targets,
            "reset": inputs == self._start,
            "num_bytes": torch.tensor(int(self._byte_counts[window[1:]].sum())),
        }


class StreamedWindows(Dataset[dict[str, Tensor]]):
    """Windows of shuffled documents that lie end to end, indexed by (seed, window, follows).

    The seed is that of the order; a window that follows goes on where the same place in the batch
    before it ended, which it says under ``follows``. Its ``place`` is the seed, and its first
    token. The last token of a window is the first of the next.

    Args:
        windows: Windows of the same documents in their own order.
        ids: The documents, end to end, (N,).
        starts: Where each begins.
        length: Inputs a window.
    """

    def __init__(
        self, windows: Windows, ids: NDArray[Any] | Shards, starts: NDArray[Any], length: int
    ) -> None:
        self._windows, self._ids, self._length = windows, ids, length
        self._starts = np.asarray(starts, dtype=np.int64)
        self._sizes = np.diff(self._starts, append=len(ids))
        self._known: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return (len(self._ids) - 1) // self._length

    def __getitem__(self, index: tuple[int, int, bool]) -> dict[str, Tensor]:
        if isinstance(index, int):  # of Lightning's own order
            remedy = "leave it out, or give --data.mode packed"
            raise InputError("overfit_batches", "none in mode stream", "some", remedy)
        seed, window, follows = index
        order, ends = self._order(seed)
        first, needed = window * self._length, self._length + 1
        place, parts = int(np.searchsorted(ends, first, side="right")), []
        skip = first - int(ends[place]) + int(self._sizes[order[place]])
        while needed > 0:
            start = int(self._starts[order[place]])
            stop = start + int(self._sizes[order[place]])
            parts.append(self._ids[start + skip : min(stop, start + skip + needed)])
            needed -= len(parts[-1])
            place, skip = place + 1, 0
        item = self._windows.item(np.concatenate(parts).astype(np.int64))
        return item | {"follows": torch.tensor(follows), "place": torch.tensor([seed, first])}

    def _order(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the documents in the order of a seed, and where each ends."""
        if self._known is None or self._known[0] != seed:
            order = np.random.default_rng(seed).permutation(len(self._starts))
            self._known = seed, order, self._sizes[order].cumsum()
        return self._known[1:]


class ShuffledWindows(EpochSampler):
    """Positions that cover the stream once an epoch, in an order that is f(seed, epoch).

    The grid of windows is shifted by a random offset, so that a token is seen at other places of
    its window in other epochs.

    Args:
        windows: The windows to draw from.
        length: Inputs a window.
        seed: Seed of the order.
    """

    def __init__(self, windows: Windows, length: int, seed: int) -> None:
        super().__init__(max(1, len(windows) // length), seed)
        self._positions, self._length = len(windows), length

    def __iter__(self) -> Iterator[int]:
        (seed,) = np.random.SeedSequence([self._seed, self._epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed))
        slack = self._positions - 1 - (len(self) - 1) * self._length
        offset = int(torch.randint(slack + 1, (), generator=generator))
        for index in torch.randperm(len(self), generator=generator).tolist():
            yield offset + index * self._length
