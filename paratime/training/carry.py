"""States carried from batch to batch: truncated back-propagation through time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = Any
"""A tensor, or nested tuples of tensors, batch first."""


class Carry:
    """The state after a batch, for the batch that goes on where it ended.

    Batches say where they begin: ``place`` (B, 2) holds the seed of an order and a position in it,
    and ``follows`` (B,) whether the same row of the batch before ended there. Gradients end at the
    state.
    """

    def __init__(self) -> None:
        self.kept: tuple[State, Tensor] | None = None

    def before(self, batch: dict[str, Tensor]) -> State | None:
        """Return the state that a batch goes on from, None for the initial one."""
        if self.kept is None or "place" not in batch or not batch["follows"].all():
            return None
        (state, ends), place = self.kept, batch["place"]
        follows = torch.equal(ends.to(place.device), place)
        return each(lambda x: x.to(place.device), state) if follows else None

    def keep(self, state: State, batch: dict[str, Tensor], steps: int) -> None:
        """Keep the state after ``steps`` of a batch, if the batch says where it begins."""
        if "place" in batch:
            place = batch["place"]
            self.kept = each(Tensor.detach, state), place + place.new_tensor([0, steps])


def each(change: Callable[[Tensor], Tensor], state: State) -> State:
    """Return a state, or nested tuples of them, with every tensor changed."""
    if isinstance(state, tuple):
        return tuple(each(change, part) for part in state)
    return state if state is None else change(state)
