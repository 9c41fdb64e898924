"""Orders of training data that are functions of seed and epoch, and loading that resumes."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from paratime.errors import InputError

KNOWN = 2**22
"""Most items whose order is kept in memory, 32 MiB."""

ROUNDS, CHUNK = 6, 2**14
"""Of the order of more items, and how many of them are at hand."""


class EpochSampler(Sampler[Any]):
    """A sampler whose order is a function of seed and epoch, so that runs can be resumed.

    Args:
        count: Number of items.
        seed: Seed of the order.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self._epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def random(self) -> np.random.Generator:
        """Return the random generator of the epoch, in its initial state."""
        return np.random.default_rng([self._seed, self._epoch])


class ShuffledSampler(EpochSampler):
    """Each window of a ``PackedStream`` once an epoch, in random order: (seed, window, False)."""

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        random = self.random()
        seed = int(random.integers(2**63))
        for window in shuffled(len(self), random.permutation, random):
            yield seed, window, False


def shuffled(
    count: int, order: Callable[[int], Any], random: np.random.Generator, known: int = KNOWN
) -> Iterator[int]:
    """Yield the numbers below ``count`` once each in random order, in memory that has a bound.

    Up to ``known`` numbers, the order is the given one. Above, it is a Feistel network of
    ``ROUNDS`` rounds (Luby and Rackoff, 1988, doi 10.1137/0217022) on pairs of digits to the base
    of about the root of ``count``, where numbers from ``count`` on are encrypted until they lie
    below (Black and Rogaway, 2002, doi 10.1007/3-540-45760-7_9).

    Args:
        count: How many numbers.
        order: Returns an order of so many numbers as an array or tensor.
        random: Draws the keys of the network.
        known: Most numbers whose order is kept.
    """
    if count <= known:
        whole = order(count)
        for first in range(0, count, CHUNK):
            yield from whole[first : first + CHUNK].tolist()
        return
    base, keys = np.uint64(math.isqrt(count - 1) + 1), random.integers(2**63, size=ROUNDS)
    for first in range(0, count, CHUNK):
        places = np.arange(first, min(first + CHUNK, count), dtype=np.uint64)
        places = _encrypted(places, base, keys)
        while (high := places >= count).any():
            places[high] = _encrypted(places[high], base, keys)
        yield from places.tolist()


def _encrypted(places: NDArray[np.uint64], base: np.uint64, keys: NDArray[Any]) -> NDArray[Any]:
    """Return numbers below the square of ``base`` in the place of others, one to one."""
    left, right = np.divmod(places, base)
    for key in keys.astype(np.uint64):
        left, right = right, (left + _mixed(right ^ key) % base) % base
    return left * base + right


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the finaliser of SplitMix64 (Steele et al., 2014, doi 10.1145/2714064.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class ContiguousSampler(EpochSampler):
    """Windows of a ``PackedStream`` in order: each batch row continues its previous window.

    Yields (seed, window, follows): the seed of the items' order, the number of the window in it,
    and whether the window continues the one in the same row of the previous batch.

    Args:
        windows: Number of windows.
        batch_size: Rows of a batch. Windows that do not fill a last batch are left out, different
            ones in each epoch.
        seed: Seed of the items' order.

    Raises:
        InputError: There are fewer windows than rows.
    """

    def __init__(self, windows: int, batch_size: int, seed: int) -> None:
        if windows < batch_size:
            raise InputError(
                "windows",
                expected=f"at least {batch_size}, a batch",
                got=str(windows),
                remedy="lower batch_size or the length of windows",
            )
        self._length, self._rows = windows // batch_size, batch_size
        super().__init__(self._length * batch_size, seed)

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        seed = int(self.random().integers(2**63))
        for window in range(self._length):
            for row in range(self._rows):
                yield seed, row * self._length + window, window > 0


def contiguous_sampler(
    windows: int, batch_size: int, seed: int, trainer: Trainer | None
) -> Sampler[Any]:
    """Return a ``ContiguousSampler`` whose rows the processes of a trainer share.

    Lightning would shuffle what it distributes, and no window would continue another.
    """
    shares = None if trainer is None else trainer.distributed_sampler_kwargs
    if shares is None:
        return ContiguousSampler(windows, batch_size, seed)
    whole = ContiguousSampler(windows, batch_size * shares["num_replicas"], seed)
    return DistributedSamplerWrapper(whole, shuffle=False, **shares)


class ResumableLoader(DataLoader[Any]):
    """A DataLoader of training batches whose place in the epoch is kept in checkpoints.

    Its sampler's order must be a function of the epoch. Lightning sets the epoch, and calls
    ``state_dict`` and ``load_state_dict``; the batches before the place are loaded and dropped.
    Workers stay from epoch to epoch.

    Args:
        dataset: The data.
        options: As for torch's DataLoader.
    """

    _first = 0
    _given = 0

    def __init__(self, dataset: Dataset[Any], **options: Any) -> None:
        # Without a generator, each epoch would draw from torch's global random numbers, which a
        # resumed run does once more, or not at all.
        defaults = {
            "generator": torch.Generator(),
            "persistent_workers": options.get("num_workers", 0) > 0,
        }
        super().__init__(dataset, **defaults | options)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield the batches of an epoch, the first time from the place that was loaded."""
        self._given, self._first = self._first, 0
        for batch in islice(super().__iter__(), self._given, None):
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return how many batches of the epoch have been given."""
        return {"batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin the next epoch after the batches that were given."""
        self._first = state["batches"] % len(self)
