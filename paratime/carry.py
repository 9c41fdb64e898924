"""States carried from batch to batch: truncated back-propagation through time."""

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
        state, ends = self.kept
        return state if torch.equal(ends.to(batch["place"].device), batch["place"]) else None

    def keep(self, state: State, batch: dict[str, Tensor], steps: int) -> None:
        """Keep the state after ``steps`` of a batch, if the batch says where it begins."""
        if "place" in batch:
            place = batch["place"]
            self.kept = detached(state), place + place.new_tensor([0, steps])


def detached(state: State) -> State:
    """Return a state, or nested tuples of them, without its history."""
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return state if state is None else state.detach()
