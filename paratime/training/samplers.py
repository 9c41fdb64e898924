"""Orders of training data that are functions of seed and epoch, and loading that resumes."""

import logging
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    Sampler,
    SequentialSampler,
)

from paratime.errors import InputError

_log = logging.getLogger("paratime")

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
        return islice(self, _count(taken), None)

    def count_after(self, taken: Taken) -> int:
        """Return how many items ``after`` yields."""
        return len(self) - _count(taken)


def _count(taken: Taken) -> int:
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

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
        random = self.random()
        seed = int(random.integers(2**63))
        for window in random.permutation(len(self)):
            yield seed, int(window), False


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

    def __iter__(self) -> Iterator[tuple[int, int, bool]]:
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
        return (self._windows - _count(taken)) // self._rows * self._rows


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


class ResumableLoader(DataLoader[Any]):
    """A DataLoader of training batches whose place in the epoch is kept in checkpoints.

    Its sampler's order must be a function of the epoch. Lightning sets the epoch, and calls
    ``state_dict`` and ``load_state_dict``. The place is counted in items, so that a run may
    continue with batches of another size. Workers stay from epoch to epoch.

    Args:
        dataset: The data.
        options: As for torch's DataLoader.
    """

    _taken: Taken = ()
    _given = 0
    _continues = False

    overfits = False
    """Whether all epochs have the order of the first."""

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
        if not self._continues:
            self.restart()
        self._continues, left = False, self._left()
        for batch in super().__iter__():
            self._given = min(self._given + (self.batch_size or 1), left)
            yield batch

    @property
    def _index_sampler(self) -> Any:
        """What torch takes the items of batches from."""
        rest = _Rest(self)
        if self.batch_size is None:
            return rest
        return BatchSampler(rest, self.batch_size, self.drop_last)

    def state_dict(self) -> dict[str, Any]:
        """Return the items of the epoch that have been given, and how many there are."""
        given = (min(self._given * self._processes, self._total), self._rows)
        return {"taken": [[*x] for x in (*self._taken, given)], "total": self._total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin the next epoch after the items that were given."""
        taken, total = _place(state, self._rows), state.get("total", self._total)
        if total != self._total:
            count = _count(taken) * self._total // total
            taken = [(count // self._rows * self._rows, self._rows)]
            text = "the run's epochs had %s items and have %s now: continues at the same share"
            _log.warning(text, f"{total:,}", f"{self._total:,}")
        self.restart()
        self._taken = taken
        if self._left() <= 0:
            self.restart()
        self._continues = True

    def restart(self) -> None:
        """Begin the next epoch at its beginning."""
        self._taken, self._given, self._continues = (), 0, False

    def batches_left(self) -> int:
        """Return how many batches of the epoch have not been given."""
        return -(-(self._left() - self._given) // (self.batch_size or 1))

    def items(self) -> Iterator[Any]:
        """Yield the items of this process that were not taken when the run began."""
        if self.overfits and hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(0)
        if isinstance(self.sampler, EpochSampler):
            return self.sampler.after(self._taken)
        return islice(self.sampler, _count(self._taken) // self._processes, None)

    def _left(self) -> int:
        """Return how many items this process had left when the run began."""
        if isinstance(self.sampler, EpochSampler):
            return self.sampler.count_after(self._taken)
        return len(self.sampler) - _count(self._taken) // self._processes

    @property
    def _processes(self) -> int:
        return int(getattr(self.sampler, "num_replicas", 1))

    @property
    def _rows(self) -> int:
        return (self.batch_size or 1) * self._processes

    @property
    def _total(self) -> int:
        known = isinstance(self.sampler, EpochSampler)
        return self.sampler.total if known else len(self.sampler) * self._processes


class _Rest(Sampler[Any]):
    """The items of a loader that were not taken when the run began; as long as all of them."""

    def __init__(self, loader: ResumableLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[Any]:
        return self._loader.items()

    def __len__(self) -> int:
        return len(self._loader.sampler)


def _place(state: dict[str, Any], rows: int) -> Taken:
    """Return what a checkpoint's epoch has given; those before version 0.3 counted batches."""
    if "batches" in state:
        return [(state["batches"] * rows, rows)]
    return [(items, of) for items, of in state["taken"]]


def begin_training(trainer: Trainer) -> None:
    """Prepare the loader of a run that begins or resumes: once it is made, before its first batch.

    Lightning keeps how many batches of the epoch there were, which is another number if batches
    have another size, and not a whole number of optimiser steps if those have other batches.
    """
    fit, loader = trainer.fit_loop, trainer.train_dataloader
    if isinstance(loader, ResumableLoader):
        loader.overfits = trainer.overfit_batches > 0
        if fit.restarting:
            _continue_epoch(trainer, loader)


def _continue_epoch(trainer: Trainer, loader: ResumableLoader) -> None:
    """Count the batches of an epoch that a checkpoint continues as those of this run's loader."""
    fit, done = trainer.fit_loop, int(trainer.num_training_batches)
    progress = fit.epoch_loop.batch_progress
    if progress.is_last_batch:
        loader.restart()
        ready = done
    else:
        done = max(0, min(len(loader) - loader.batches_left(), done - 1))
        ready = done - done % trainer.accumulate_grad_batches
        fit._data_fetcher.fetched = done - ready  # type: ignore[union-attr]
    shift = ready - progress.current.ready
    for name in ("ready", "started", "processed", "completed"):
        setattr(progress.current, name, getattr(progress.current, name) + shift)
