"""What processes share: evaluation in whole batches, and losses of one global batch."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from paratime.errors import InputError

Item = Any
"""What a dataset holds at an index."""


def mean_of_all(total: Tensor, count: Tensor) -> Tensor:
    """Return a mean whose average over all processes is that of their batches as one.

    DDP averages gradients over processes. A process that divided its own sum by its own count
    would give its values more weight than others if it has fewer of them.

    Args:
        total: Sum of this process's values, a scalar.
        count: How many they are, a scalar.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return total / count.clamp(min=1)
    whole = count.detach().to(torch.float64, copy=True)
    distributed.all_reduce(whole)
    return total * distributed.get_world_size() / whole.clamp(min=1).to(total.dtype)


class WholeBatches(DistributedSampler[int]):
    """The indices of one process: whole batches in turn, as one process alone would have them.

    Each index is given once. Processes with a batch less than others end with a blank one, of the
    complement ~i of an index i, since sharded models run in step.

    Args:
        order: All indices.
        batch_size: Of the loader.
        num_replicas: Number of processes.
        rank: Number of this one.
    """

    def __init__(
        self, order: Sequence[int], *, batch_size: int, num_replicas: int, rank: int
    ) -> None:
        batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
        own = [[*batch] for batch in batches[rank::num_replicas]]
        if len(own) < len(batches[::num_replicas]):
            own.append([~order[0]])
        self._indices = [i for batch in own for i in batch]

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self._indices)

    def set_epoch(self, epoch: int) -> None:
        """Keep the order: evaluation has one."""


class WithBlanks(Dataset[Item]):
    """A dataset whose item at ~i is that at i, made blank.

    Args:
        items: The dataset.
        blank: From an item to one of the same form that no score counts.
    """

    def __init__(self, items: Any, blank: Callable[[Item], Item]) -> None:
        self._items, self._blank = items, blank

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index] if index >= 0 else self._blank(self._items[~index])


def evaluation_loader(
    items: Any,
    order: Sequence[int],
    blank: Callable[[Item], Item],
    trainer: Trainer | None,
    **options: Any,
) -> DataLoader[Any]:
    """Return a loader of items in order, of which each process has its share.

    Args:
        items: The dataset.
        order: Indices, each once.
        blank: As for ``WithBlanks``.
        trainer: That of the run, if there is one.
        options: As for torch's DataLoader.
    """
    shares = None if trainer is None else trainer.distributed_sampler_kwargs
    # The default generator would draw from training's random numbers.
    options = {"generator": torch.Generator()} | options
    if shares is None or not len(order):
        return DataLoader(items, sampler=order, **options)
    sampler = WholeBatches(order, batch_size=options["batch_size"], **shares)
    return DataLoader(WithBlanks(items, blank), sampler=sampler, **options)


class Share(DistributedSampler[Any]):
    """What one process takes of an order of training: every R-th item of each global batch.

    Items of a last batch that has fewer of them than there are processes are left out, others in
    each epoch, since all processes make the same number of steps.

    Args:
        order: That of one process alone, as a function of the epoch.
        batch_size: Of the loader.
        num_replicas: Number R of processes.
        rank: Number of this one.
    """

    def __init__(self, order: Any, *, batch_size: int, num_replicas: int, rank: int) -> None:
        self.order, self.num_replicas, self.rank = order, num_replicas, rank
        last = len(order) % (batch_size * num_replicas)
        self._count = len(order) - (last if last < num_replicas else 0)

    def __len__(self) -> int:
        return len(range(self.rank, self._count, self.num_replicas))

    def __iter__(self) -> Iterator[Any]:
        return islice(self.order, self.rank, self._count, self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order."""
        self.order.set_epoch(epoch)


def share_of(order: Any, batch_size: int, what: str, trainer: Trainer | None) -> Sampler[Any]:
    """Return the share of a process in an order of training, or all of it if there is only one.

    Args:
        order: That of one process alone, as a function of the epoch.
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
