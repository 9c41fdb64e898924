"""States of models, of whatever form: a tensor, or nested tuples of tensors, batch first.

None stands for the initial state, and stays None.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from paratime.solvers.base import restart

State = Any


def map_state(change: Callable[[Tensor], Tensor], state: State) -> State:
    """Return a state with every tensor changed."""
    if isinstance(state, tuple):
        return tuple(map_state(change, part) for part in state)
    return state if state is None else change(state)


def leaves(state: State) -> list[Tensor]:
    """Return the tensors of a state, in order."""
    if isinstance(state, tuple):
        return [x for part in state for x in leaves(part)]
    return [] if state is None else [state]


def unflatten(tensors: Iterable[Tensor], like: State) -> State:
    """Return tensors, in the order of ``leaves``, as a state of the form of another one."""
    left = iter(tensors)
    return map_state(lambda _: next(left), like)


def detach(state: State) -> State:
    """Return a state through which no gradient flows."""
    return map_state(Tensor.detach, state)


def clone(state: State) -> State:
    """Return a copy of a state, which shares memory with nothing and keeps nothing else alive."""
    return map_state(torch.clone, state)


def select(state: State, rows: Any) -> State:
    """Return the states of some sequences of a batch.

    Args:
        state: A state.
        rows: What a tensor's first axis is indexed by: a slice, or indices, int64 (N,).
    """
    return map_state(lambda x: x[rows], state)


def expand(state: State, count: int) -> State:
    """Return the state of one sequence as that of ``count`` equal ones, without copies.

    It is to be read: a write to one would change all. No mixer writes to a state that it is given.
    """
    return map_state(lambda x: x.expand(count, *x.shape[1:]), state)


def restart_state(state: State, reset: Tensor | None) -> State:
    """Return a state that is the initial one where ``reset``, bool (B,), is True."""
    return map_state(lambda x: restart(x, reset), state)
