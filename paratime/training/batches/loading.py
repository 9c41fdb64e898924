"""Loading of training batches that resumes where a checkpoint has left it."""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from paratime.training.batches.samplers import EpochSampler, Taken, count_taken

_log = logging.getLogger("paratime")


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

    sampler: Any
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
            count = count_taken(taken) * self._total // total
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
        return islice(self.sampler, count_taken(self._taken) // self._processes, None)

    def _left(self) -> int:
        """Return how many items this process had left when the run began."""
        if isinstance(self.sampler, EpochSampler):
            return self.sampler.count_after(self._taken)
        return len(self.sampler) - count_taken(self._taken) // self._processes

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
        loader.overfits = trainer.overfit_batches > 0  # type: ignore[attr-defined]
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
