"""Windows of a token stream, with resets at document starts."""

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
from paratime.training.batches.packing import PackedStream
from paratime.training.batches.permutation import shuffled
from paratime.training.batches.samplers import EpochSampler

BLANK = -1
"""A target that no score counts."""


def unscored(window: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a window none of whose targets is scored."""
    targets, num_bytes = window["targets"], window["num_bytes"]
    return window | {
        "targets": torch.full_like(targets, BLANK),
        "num_bytes": torch.zeros_like(num_bytes),
    }


class TokenWindows(Dataset[dict[str, Tensor]]):
    """Windows of ``length`` inputs and their targets, indexed by their first position.

    Args:
        ids: The stream, (N,).
        tokenizer: The tokenizer that made it.
        length: Inputs per window.
        split: The split's name, for messages.

    Raises:
        InputError: The stream is shorter than one window.
    """

    def __init__(
        self, ids: NDArray[Any] | Shards, tokenizer: Tokenizer, length: int, *, split: str
    ) -> None:
        if len(ids) < 2:
            raise InputError(
                f"{split} split",
                expected="at least 2 tokens",
                got=str(len(ids)),
                remedy="give more text, or hold out a larger share",
            )
        if length < 1 or length >= len(ids):
            raise InputError(
                "context_length",
                expected=f"1 to {len(ids) - 1}, the tokens of the {split} split less one",
                got=str(length),
                remedy="shorten it, hold out more, or give more text",
            )
        self._ids, self._length, self._start = ids, length, tokenizer.start
        self._byte_counts = tokenizer.byte_counts

    def __len__(self) -> int:
        return len(self._ids) - self._length

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        return self.item(self.read(position, position + self._length + 1))

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return some tokens, and the number of the text's bytes of each, (N, 2).

        Raises:
            InputError: A token is beyond the vocabulary, as in shards of another tokenizer.
        """
        ids = self._ids[start:stop].astype(np.int64)
        if (last := int(ids.max(initial=0))) >= len(self._byte_counts):
            raise InputError(
                "tokens",
                expected=f"ids below {len(self._byte_counts)}, the size of the vocabulary",
                got=str(last),
                remedy="name the tokenizer that made them, or write the corpus again",
            )
        counts = self._byte_counts[ids]
        if isinstance(self._ids, Shards):
            where, more = self._ids.corrections(start, stop).T
            counts[where] += more
        return np.stack([ids, counts], axis=1)

    def item_id(self, position: int) -> str:
        """Return which tokens of its split a window reads."""
        return f"tokens {position} to {position + self._length}"

    describe = item_id

    def item(self, window: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return inputs, targets, resets and number of bytes of a window (length + 1, 2)."""
        ids = torch.from_numpy(window[:, 0].copy())
        inputs, targets = ids[:-1], ids[1:]
        return {
            "inputs": inputs,
            "targets": targets,
            "reset": inputs == self._start,
            "num_bytes": torch.tensor(int(window[1:, 1].sum())),
        }


class StreamedWindows(PackedStream):
    """Windows over shuffled documents that lie end to end.

    Args:
        windows: Windows of the same documents in their own order.
        ids: The documents, end to end, (N,).
        starts: Where each begins.
        length: Inputs a window.
    """

    item_name = "document"

    def __init__(
        self, windows: TokenWindows, ids: NDArray[Any] | Shards, starts: NDArray[Any], length: int
    ) -> None:
        self._starts = np.asarray(starts, dtype=np.int64)
        super().__init__(np.diff(self._starts, append=len(ids)), length)
        self._windows, self._ids = windows, ids

    def __len__(self) -> int:
        return (len(self._ids) - 1) // self._length

    def read(self, item: int, steps: slice) -> NDArray[Any]:
        """Return some tokens of a document, and the bytes of each."""
        start = int(self._starts[item])
        return self._windows.read(start + steps.start, start + steps.stop)

    def join(self, parts: list[NDArray[Any]]) -> dict[str, Tensor]:
        """Return a window."""
        return self._windows.item(np.concatenate(parts))


class ShuffledWindows(EpochSampler):
    """Positions that cover the stream once an epoch, in an order that is f(seed, epoch).

    A random offset shifts the grid of windows, so that the place of a token in its window changes
    from epoch to epoch.

    Args:
        windows: The windows to draw from.
        length: Inputs a window.
        seed: Seed of the order.
    """

    def __init__(self, windows: TokenWindows, length: int, seed: int) -> None:
        super().__init__(max(1, len(windows) // length), seed)
        self._positions, self._length = len(windows), length

    def __iter__(self) -> Iterator[int]:
        (seed,) = np.random.SeedSequence([self._seed, self._epoch]).generate_state(1)
        generator = torch.Generator().manual_seed(int(seed))
        slack = self._positions - 1 - (len(self) - 1) * self._length
        offset = int(torch.randint(slack + 1, (), generator=generator))

        def order(count: int) -> Tensor:
            return torch.randperm(count, generator=generator)

        for index in shuffled(len(self), order, self.random()):
            yield offset + index * self._length
