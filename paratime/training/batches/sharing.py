"""What processes share: evaluation in whole batches, and losses of one global batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, DistributedSampler, SequentialSampler

from paratime.ops.precision import precise
from paratime.training.batches.samplers import InOrder

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


def averages(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the means of values over all processes, by one reduction.

    Lightning's ``sync_dist`` would wait for all processes, twice for each value of each step.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return dict(values)
    whole = torch.stack([precise(x.detach()) for x in values.values()])
    distributed.all_reduce(whole)
    return dict(zip(values, whole / distributed.get_world_size(), strict=True))


def of_all(value: Item) -> list[Item]:
    """Return the values of all processes, by rank."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    found: list[Item] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found


class WholeBatches(DistributedSampler[int], SequentialSampler):
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

    def item_id(self, index: int) -> str:
        """Return the name of an item."""
        return item_ids(self._items, [index])[0]


def item_ids(items: Any, indices: Sequence[Any]) -> list[str]:
    """Return names of items of a dataset: those that it gives itself, or their indices."""
    name = getattr(items, "item_id", str)
    return [name(index) for index in indices]


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
        return DataLoader(items, sampler=InOrder(order), **options)
    sampler = WholeBatches(order, batch_size=options["batch_size"], **shares)
    return DataLoader(WithBlanks(items, blank), sampler=sampler, **options)
