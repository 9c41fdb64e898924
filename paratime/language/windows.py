"""Training windows: fixed-length cuts of a token stream, with resets where documents start."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from paratime.errors import InputError
from paratime.language.tokenizer import Tokenizer
from paratime.loader import EpochSampler


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

    def __init__(self, ids: NDArray[Any], tokenizer: Tokenizer, length: int, split: str) -> None:
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
        window: NDArray[np.int64] = self._ids[position:stop].astype(np.int64)
        inputs, targets = torch.from_numpy(window[:-1]), torch.from_numpy(window[1:])
        return {
            "inputs": inputs,
            "targets": targets,
            "reset": inputs == self._start,
            "num_bytes": torch.tensor(int(self._byte_counts[window[1:]].sum())),
        }


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
