"""What processes of a run agree on, without waiting for each other."""

from datetime import timedelta

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer

PATIENCE = timedelta(minutes=30)
"""How long one process waits for the others: for the slowest step or checkpoint."""


class Agreement:
    """The largest of the numbers that the processes of a run give.

    With several processes it is that of the call before: numbers travel while the next step is
    computed. Every process must make the same calls.

    Args:
        trainer: The trainer; all its processes make an agreement at the same time.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._group = None
        if trainer.world_size > 1:
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._pending: tuple[torch.Tensor | int, dist.Work | None] = 0, None

    def on(self, number: int) -> int:
        """Give a number; return the largest, at first 0."""
        if self._group is None:
            return number
        before, work = self._pending
        if work is not None:
            work.wait()
        given = torch.tensor([number])
        work = dist.all_reduce(given, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = given, work
        return int(before)
