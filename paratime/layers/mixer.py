"""The contract of every layer that mixes time: whole sequences in parallel, or step by step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial, wraps
from types import FunctionType
from typing import Any, Self

import torch
from torch import Tensor, nn

from paratime.cells.base import describe
from paratime.errors import InputError
from paratime.layers.inputs import (
    check_axes,
    check_lengths,
    check_mask,
    is_batch,
    is_batch_step,
    run_sequence,
    run_step,
)
from paratime.layers.refusals import check_fit, check_options, remedy_for_state
from paratime.layers.state import State

AXES = {2: "(batch, hidden_size)", 3: "(batch, rows, channels)"}
"""What the axes of states mean."""


class Mixer(nn.Module, ABC):
    """A causal map of sequences with an explicit state, so that streaming equals training.

    ``forward`` over T steps equals T calls of ``step``, and two calls with the state handed over
    equal one. ``reset`` (B, T), True at t, makes the state before step t the initial one, so that
    packed episodes or documents do not see each other.

    A returned state shares no memory with outputs, inputs or other states, and keeps nothing else
    alive: it may be written to, and kept for as long as a stream lasts. Inputs are never written.

    Called, a layer takes what torch.nn's recurrent layers take as well, and gives results in the
    form of the input: a ``PackedSequence``, with states in the order of the caller; or one sequence
    (T, input_size), with states without an axis of the batch. ``reset`` and ``lengths`` may also be
    lists or arrays of numpy. ``step`` takes one row (input_size,), too. What ``forward`` and
    ``step`` of a subclass see has the form that is documented here.
    """

    complete = False
    """Whether it has what a block would add around it, such as a convolution or a gate."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse what constructors of torch.nn take, and these do not, with a remedy."""
        check_options(cls, args, kwargs)
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let ``step`` take any form of its inputs, as calls do."""
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls):
            cls.step = _of_any_form(cls.step)  # type: ignore[method-assign]
        if "__call__" not in vars(cls):
            cls.__call__ = _own_copy(Mixer.__call__)  # type: ignore[method-assign]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Map sequences of any form by ``forward``, and run its hooks; see ``run_sequence``."""
        x, lengths = args[0] if args else kwargs.pop("x", None), kwargs.get("lengths")
        if not is_batch(x, kwargs.get("reset"), lengths):
            return run_sequence(self.__call__, x, *args[1:], **kwargs)
        if lengths is not None:  # padding may be anything, and zero times NaN is NaN
            check_lengths(lengths, torch.Size(x.shape[:1]), x.shape[1])
            x = mask_padding(x, lengths)
        args = (x, *args[1:])
        if torch.compiler.is_compiling():
            return super().__call__(*args, **kwargs)
        try:
            return super().__call__(*args, **kwargs)
        except (RuntimeError, TypeError, ValueError) as error:
            check_fit(self, error, args, kwargs)
            raise

    @abstractmethod
    def forward(
        self,
        x: Tensor,
        h0: State = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Map a whole sequence.

        Args:
            x: Inputs, (B, T, input_size).
            h0: State before the first step.
            reset: Restarts, bool (B, T).
            lengths: Valid steps of each sequence, int (B,) in 0 to T; outputs beyond them are
                zero, and the returned state is the one after the last valid step.

        Returns:
            Outputs (B, T, hidden_size), and the state after the last step.
        """

    @abstractmethod
    def step(
        self, x: Tensor, state: State = None, reset: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Map one step: x (B, input_size), reset bool (B,), to (B, hidden_size) and the state."""

    def extra_repr(self) -> str:
        """Return the sizes."""
        return describe(self)


def _own_copy(function: Any) -> Any:
    """Return a function with code of its own: ``torch.compile`` counts recompilations by code."""
    code, closure = function.__code__.replace(), function.__closure__
    copy = FunctionType(code, function.__globals__, function.__name__, None, closure)
    return wraps(function)(copy)


def _of_any_form(step: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: Mixer, *args: Any, **kwargs: Any) -> Any:
        x = args[0] if args else kwargs.get("x")
        if not is_batch_step(x, args[2] if len(args) > 2 else kwargs.get("reset")):
            return run_step(partial(run, self), *args, **kwargs)
        if torch.compiler.is_compiling():
            return step(self, *args, **kwargs)
        try:
            return step(self, *args, **kwargs)
        except (RuntimeError, TypeError, ValueError) as error:
            check_fit(self, error, args, kwargs)
            raise

    return wraps(step)(_own_copy(run))


def check_sequence(x: Tensor, reset: Tensor | None, lengths: Tensor | None) -> None:
    """Refuse inputs of ``Mixer.forward`` that do not fit together."""
    check_axes(x, 3)
    check_mask("reset", reset, torch.Size(x.shape[:2]))
    if lengths is not None:
        check_lengths(lengths, torch.Size(x.shape[:1]), x.shape[1])


def check_step(x: Tensor, reset: Tensor | None) -> None:
    """Refuse inputs of ``Mixer.step`` that do not fit together."""
    check_axes(x, 2)
    check_mask("reset", reset, torch.Size(x.shape[:1]))


def step_once(mixer: Mixer, x: Tensor, state: State, reset: Tensor | None) -> tuple[Tensor, State]:
    """Advance one step x (B, input_size) by ``forward``, for mixers whose step is no cheaper."""
    check_step(x, reset)
    y, state = mixer(x.unsqueeze(1), state, reset=None if reset is None else reset.unsqueeze(1))
    return y.squeeze(1), state


def check_state(
    name: str,
    state: Any,
    expected: tuple[int, ...],
    *,
    like: Tensor | None = None,
    counts: bool = False,
) -> None:
    """Refuse a part of a state that is no tensor (batch, ...) of a shape.

    Args:
        name: What the caller knows it as.
        state: The part.
        expected: Its shape.
        like: A tensor on the device where it should be.
        counts: Whether it holds integers.
    """
    is_tensor = isinstance(state, Tensor)
    if not is_tensor or tuple(state.shape) != tuple(expected):
        axes = AXES.get(len(expected))
        raise InputError(
            name,
            expected=f"{axes} = {tuple(expected)}" if axes else str(tuple(expected)),
            got=str(tuple(state.shape)) if is_tensor else type(state).__name__,
            remedy=remedy_for_state(name, state, tuple(expected)),
        )
    if like is not None and state.device != like.device:
        raise InputError(
            name,
            expected=f"a tensor on {like.device}, like the input",
            got=f"one on {state.device}",
            remedy=f"move it, {name}.to({str(like.device)!r})",
        )
    if not (counts or state.is_floating_point()):
        raise InputError(
            name, "floating-point values", str(state.dtype), f"cast it, {name}.float()"
        )


def check_tuple(name: str, state: State, parts: Sequence[str]) -> None:
    """Refuse a state that is no tuple of these parts."""
    if not isinstance(state, tuple) or len(state) != len(parts):
        raise InputError(
            name,
            expected=f"a tuple of {', '.join(parts)}",
            got=f"{len(state)} parts" if isinstance(state, tuple) else type(state).__name__,
            remedy="pass a state of this layer, or None for the initial one",
        )


def split_state(state: State, count: int, each: str, remedy: str) -> tuple[Any, ...]:
    """Return the states of the layers inside a layer, all None for the initial one."""
    if state is None:
        return (None,) * count
    if not isinstance(state, tuple) or len(state) != count:
        raise InputError(
            "h0",
            expected=f"a tuple of one entry a {each}, {count}",
            got=str(len(state)) if isinstance(state, tuple) else type(state).__name__,
            remedy=remedy,
        )
    return state


def count_parameters(module: nn.Module) -> int:
    """Return how many values a module learns, each counted once."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def last_valid(x: Tensor, initial: Tensor, lengths: Tensor | None) -> Tensor:
    """Return x[b, lengths[b] - 1] of x (B, T, ...), ``initial`` (B, ...) where that is before 0.

    It is a copy, which keeps neither the sequence nor ``initial`` alive.
    """
    if lengths is None:
        return x[:, -1].clone()
    rows = torch.arange(x.shape[0], device=x.device)
    last = x[rows, (lengths - 1).clamp(min=0)]
    empty = (lengths == 0).view(-1, *[1] * (x.dim() - 2))
    return torch.where(empty, initial, last)


def mask_padding(y: Tensor, lengths: Tensor | None) -> Tensor:
    """Zero y (B, T, ...) from each sequence's length on."""
    if lengths is None:
        return y
    beyond = torch.arange(y.shape[1], device=y.device) >= lengths.unsqueeze(-1)
    return y.masked_fill(beyond.unsqueeze(-1), 0)
