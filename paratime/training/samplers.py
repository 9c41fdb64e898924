"""Loading that goes on where a checkpoint left off."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, Dataset, Sampler

from paratime.errors import InputError


class EpochSampler(Sampler[Any]):
    """A sampler whose order is a function of seed and epoch, by which a run can be resumed.

    Args:
        count: How many items there are.
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
        """Return the random numbers of the epoch, from their beginning."""
        return np.random.default_rng([self._seed, self._epoch])


class Lanes(EpochSampler):
    """Windows in their order, so that each place in a batch goes on where the last one ended.

    Yields (seed, window, follows): the seed of the order, the number of the window in it, and
    whether the window goes on from the one at the same place in the batch before.

    Args:
        windows: How many there are.
        batch_size: How many go side by side; as many as do not fill a last batch are left out, in
            each epoch others.
        seed: Seed of the order of what the windows are of.
    """

    def __init__(self, windows: int, batch_size: int, seed: int) -> None:
        if windows < batch_size:
            remedy = "lower batch_size or the length of windows"
            raise InputError("windows", f"at least {batch_size}, a batch", str(windows), remedy)
        self._length, self._lanes = windows // batch_size, batch_size
        super().__init__(self._length * batch_size, seed)

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        seed = int(self.random().integers(2**63))
        for window in range(self._length):
            for lane in range(self._lanes):
                yield seed, lane * self._length + window, window > 0


def lanes(windows: int, batch_size: int, seed: int, trainer: Trainer | None) -> Sampler[Any]:
    """Return ``Lanes`` of which each process of a trainer has its own, ``batch_size`` of them.

    Lightning would shuffle those that it shares out, and no window would follow another.
    """
    shares = None if trainer is None else trainer.distributed_sampler_kwargs
    if shares is None:
        return Lanes(windows, batch_size, seed)
    whole = Lanes(windows, batch_size * shares["num_replicas"], seed)
    return DistributedSamplerWrapper(whole, shuffle=False, **shares)


class ResumableLoader(DataLoader[Any]):
    """A DataLoader whose place in the epoch is kept in checkpoints.

    Its sampler's order must be a function of the epoch. Lightning sets the epoch, and calls
    ``state_dict`` and ``load_state_dict``; the batches before the place are drawn and dropped.
    """

    _first = 0
    _given = 0

    def __init__(self, dataset: Dataset[Any], **options: Any) -> None:
        # Beginning an epoch would draw from torch's random numbers, which a resumed run does once
        # more, or not at all.
        super().__init__(dataset, generator=torch.Generator(), **options)

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
