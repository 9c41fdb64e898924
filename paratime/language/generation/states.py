"""States of models, of whatever form: a tensor, or nested tuples of tensors, batch first."""

from typing import Any

from torch import Tensor

from paratime.layers.mixer import State


def select(state: State, rows: Any) -> State:
    """Return the states of some sequences of a batch.

    Args:
        state: A state; None stands for the initial one.
        rows: What a tensor's first axis is indexed by: a slice, or numbers, int64 (N,).
    """
    if state is None or isinstance(state, Tensor):
        return None if state is None else state[rows]
    return tuple(select(part, rows) for part in state)


def leaves(state: State) -> list[Tensor]:
    """Return the tensors of a state."""
    return [state] if isinstance(state, Tensor) else [x for part in state for x in leaves(part)]
