"""States carried from batch to batch: truncated back-propagation through time."""

import torch
from torch import Tensor

from paratime.layers.state import State, detach, map_state


class Carry:
    """The state after a batch, for the next batch if it continues there.

    Batches hold where they begin: ``place`` (B, 2) is the seed of an order and a position in it,
    and ``follows`` (B,) whether the same row of the previous batch ended there. Gradients end at
    the state.
    """

    def __init__(self) -> None:
        self.kept: tuple[State, Tensor] | None = None

    def __getstate__(self) -> dict[str, None]:
        """Leave the state out, which stays on the device of its batch when a task is moved."""
        return {"kept": None}

    def before(self, batch: dict[str, Tensor]) -> State | None:
        """Return the state that a batch continues, None for the initial one."""
        if self.kept is None or "place" not in batch or not batch["follows"].all():
            return None
        (state, ends), place = self.kept, batch["place"]
        follows = torch.equal(ends.to(place.device), place)
        return map_state(lambda x: x.to(place.device), state) if follows else None

    def keep(self, state: State, batch: dict[str, Tensor], steps: int) -> None:
        """Keep the state after ``steps`` of a batch, if the batch has a ``place``."""
        if "place" in batch:
            place = batch["place"]
            self.kept = detach(state), place + place.new_tensor([0, steps])
