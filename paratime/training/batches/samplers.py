"""Orders of training data that are functions of seed and epoch, and the shares of processes."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch.utils.data import DistributedSampler, SequentialSampler

from paratime.errors import InputError
from paratime.training.batches.permutation import shuffled

Taken = Sequence[tuple[int, int]]
"""Items that an epoch has given so far: how many, and the rows of their batches, run by run."""


class EpochSampler(SequentialSampler):
    """A sampler whose order is a function of seed and epoch, so that runs can be resumed.

    It is sequential by name only: where a run overfits some batches, Lightning replaces samplers of
    other kinds by the indices 0, 1, 2 and so on of the dataset, which are no items of ours.

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

    @property
    def total(self) -> int:
        """Items that an epoch may give."""
        return len(self)

    def after(self, taken: Taken) -> Iterator[Any]:
        """Yield the items of the epoch that have not been taken."""
        return islice(self, count_taken(taken), None)

    def count_after(self, taken: Taken) -> int:
        """Return how many items ``after`` yields."""
        return len(self) - count_taken(taken)


def count_taken(taken: Taken) -> int:
    """Return how many items have been taken."""
    return sum(items for items, _ in taken)


class InOrder(SequentialSampler):
    """Items in their own order, which Lightning leaves alone as it does an ``EpochSampler``'s.

    Args:
        items: What to yield.
    """

    def __init__(self, items: Collection[Any]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class ShuffledSampler(EpochSampler):
    """Each window of a ``PackedStream`` once an epoch, in random order: (seed, window, False)."""

    def __iter__(self) -> Iterator[Any]:
        random = self.random()
        seed = int(random.integers(2**63))
        for window in shuffled(len(self), random.permutation, random):
            yield seed, window, False


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
        self._windows, self._rows = windows, batch_size
        super().__init__(windows // batch_size * batch_size, seed)

    def __iter__(self) -> Iterator[Any]:
        return self.after(())

    @property
    def total(self) -> int:
        """Items that an epoch may give."""
        return self._windows

    def after(self, taken: Taken) -> Iterator[tuple[int, int, bool]]:
        """Yield the windows of the epoch that have not been taken, in rows of their own."""
        seed, left = int(self.random().integers(2**63)), np.arange(self._windows)
        last = np.zeros(0, dtype=np.int64)
        for items, rows in taken:
            columns, given = _columns(left, rows), items // rows
            left = np.concatenate([columns[given:].T.ravel(), left[columns.size :]])
            last = columns[given - 1] if given else last
        for column in _columns(left, self._rows):
            for row, window in enumerate(column.tolist()):
                yield seed, window, row < len(last) and bool(last[row] == window - 1)
            last = column

    def count_after(self, taken: Taken) -> int:
        """Return how many items ``after`` yields."""
        return (self._windows - count_taken(taken)) // self._rows * self._rows


def _columns(windows: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Return the batches of windows that rows share, (batches, rows)."""
    steps = len(windows) // rows
    return windows[: steps * rows].reshape(rows, steps).T


class Share(EpochSampler, DistributedSampler[Any]):
    """What one process takes of an order of training: every R-th item of each global batch.

    Items of a last batch that has fewer of them than there are processes are left out, others in
    each epoch, since all processes make the same number of steps.

    Args:
        order: That of one process alone.
        batch_size: Of the loader.
        num_replicas: Number R of processes.
        rank: Number of this one.
    """

    def __init__(
        self, order: EpochSampler, *, batch_size: int, num_replicas: int, rank: int
    ) -> None:
        self._order, self._rows = order, batch_size * num_replicas
        self.num_replicas, self.rank = num_replicas, rank

    def __iter__(self) -> Iterator[Any]:
        return self.after(())

    def __len__(self) -> int:
        return self.count_after(())

    def set_epoch(self, epoch: int) -> None:
        """Choose the order."""
        self._order.set_epoch(epoch)

    @property
    def total(self) -> int:
        """Items that an epoch may give to all processes."""
        return self._order.total

    def after(self, taken: Taken) -> Iterator[Any]:
        """Yield the items of this process of those that no process has taken."""
        return islice(self._order.after(taken), self.rank, self._whole(taken), self.num_replicas)

    def count_after(self, taken: Taken) -> int:
        """Return how many items ``after`` yields."""
        return len(range(self.rank, self._whole(taken), self.num_replicas))

    def _whole(self, taken: Taken) -> int:
        left = self._order.count_after(taken)
        last = left % self._rows
        return left - (last if last < self.num_replicas else 0)


def share_of(
    order: EpochSampler, batch_size: int, what: str, trainer: Trainer | None
) -> EpochSampler:
    """Return the share of a process in an order of training, or all of it if there is only one.

    Lightning would shuffle the order once more.

    Args:
        order: That of one process alone.
        batch_size: Of the loader.
        what: The items.
        trainer: That of the run, if there is one.

    Raises:
        InputError: There are fewer items than processes.
    """
    shares = None if trainer is None else trainer.distributed_sampler_kwargs
    if shares is None:
        return order
    if len(order) < shares["num_replicas"]:
        raise InputError(
            what,
            expected=f"at least {shares['num_replicas']}, one for each process",
            got=str(len(order)),
            remedy="use fewer processes",
        )
    return Share(order, batch_size=batch_size, **shares)


def contiguous_sampler(
    windows: int, batch_size: int, seed: int, trainer: Trainer | None
) -> EpochSampler:
    """Return a ``ContiguousSampler`` whose rows the processes of a trainer share."""
    shares = None if trainer is None else trainer.distributed_sampler_kwargs
    rows = batch_size * (1 if shares is None else shares["num_replicas"])
    return share_of(ContiguousSampler(windows, rows, seed), batch_size, "windows", trainer)
