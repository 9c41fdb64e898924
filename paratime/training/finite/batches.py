"""What a batch of training held: its windows, series or episodes."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, SequentialSampler

SHOWN = 4
"""Items of a batch that a message names."""


def describe_batch(trainer: Trainer, number: int) -> str:
    """Return the epoch, the number and the items of a batch, in a few words.

    Orders are functions of seed and epoch, so that the order of an epoch is made once more, and
    batches need not hold their identity.

    Args:
        trainer: The trainer, in the epoch of the batch.
        number: The batch's number in the epoch, from 0.
    """
    where = f"batch {number} of epoch {trainer.current_epoch}"
    items = _items(trainer.train_dataloader, number)
    return f"{where}: {', '.join(items)}" if items else where


def _items(loader: Any, number: int) -> list[str]:
    """Return names of the first items of a batch, and how many more it has."""
    if not isinstance(loader, DataLoader) or not _is_repeatable(loader.sampler):
        return []
    (indices,) = [*islice(iter(loader.batch_sampler or ()), number, number + 1)] or [[]]
    describe = getattr(loader.dataset, "describe", lambda index: f"item {index}")
    names = [describe(index) for index in indices[:SHOWN]]
    return [*names, f"{len(indices) - SHOWN} more"] if len(indices) > SHOWN else names


def _is_repeatable(sampler: Any) -> bool:
    """Return whether a second pass yields the same order, and draws no random numbers."""
    return hasattr(sampler, "set_epoch") or isinstance(sampler, SequentialSampler | Sequence)
