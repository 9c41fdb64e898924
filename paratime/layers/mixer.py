"""The contract of every layer that mixes time: whole sequences in parallel, or step by step."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from paratime.cells.base import describe
from paratime.errors import InputError
from paratime.layers.state import State


class Mixer(nn.Module, ABC):
    """A causal map of sequences with an explicit state, so that streaming equals training.

    ``forward`` over T steps equals T calls of ``step``, and two calls with the state handed over
    equal one. ``reset`` (B, T), True at t, makes the state before step t the initial one, so that
    packed episodes or documents do not see each other.

    A returned state shares no memory with outputs, inputs or other states, and keeps nothing else
    alive: it may be written to, and kept for as long as a stream lasts. Inputs are never written.
    """

    complete = False
    """Whether it has what a block would add around it, such as a convolution or a gate."""

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


def check_sequence(x: Tensor, reset: Tensor | None, lengths: Tensor | None) -> None:
    """Refuse inputs of ``Mixer.forward`` that do not fit together."""
    if x.dim() != 3 or x.shape[1] == 0:
        raise InputError(
            "x",
            expected="(batch, time >= 1, channels)",
            got=str(tuple(x.shape)),
            remedy="put batch first and channels last, and drop empty sequences",
        )
    _check_mask("reset", reset, torch.Size(x.shape[:2]))
    if lengths is None:
        return
    if lengths.shape != x.shape[:1] or lengths.dtype not in (torch.int32, torch.int64):
        raise InputError(
            "lengths",
            expected=f"int32 or int64 ({x.shape[0]},)",
            got=f"{lengths.dtype} {tuple(lengths.shape)}",
            remedy="give one length a sequence",
        )
    if torch.compiler.is_compiling() or type(lengths) is not Tensor or not lengths.numel():
        return  # values are unknown in a graph, and among fake tensors
    if lengths.device.type != "cpu":
        return  # to look at values is to wait for a GPU
    if not 0 <= int(lengths.min()) <= int(lengths.max()) <= x.shape[1]:
        raise InputError(
            "lengths",
            expected=f"0 to T = {x.shape[1]}",
            got=f"{int(lengths.min())} to {int(lengths.max())}",
            remedy="count steps, not positions",
        )


def check_step(x: Tensor, reset: Tensor | None) -> None:
    """Refuse inputs of ``Mixer.step`` that do not fit together."""
    if x.dim() != 2:
        raise InputError(
            "x",
            expected="(batch, channels)",
            got=str(tuple(x.shape)),
            remedy="give one time step; use forward for sequences",
        )
    _check_mask("reset", reset, torch.Size(x.shape[:1]))


def step_once(mixer: Mixer, x: Tensor, state: State, reset: Tensor | None) -> tuple[Tensor, State]:
    """Advance one step x (B, input_size) by ``forward``, for mixers whose step is no cheaper."""
    check_step(x, reset)
    y, state = mixer(x.unsqueeze(1), state, reset=None if reset is None else reset.unsqueeze(1))
    return y.squeeze(1), state


def check_state(name: str, state: Tensor, expected: tuple[int, ...]) -> None:
    """Refuse a state of another shape than ``expected``."""
    found = tuple(state.shape) if isinstance(state, Tensor) else type(state).__name__
    if found != tuple(expected):
        raise InputError(
            name,
            expected=str(tuple(expected)),
            got=str(found),
            remedy="pass a state of this layer and batch, or None for the initial one",
        )


def check_tuple(name: str, state: State, parts: Sequence[str]) -> None:
    """Refuse a state that is no tuple of these parts."""
    if not isinstance(state, tuple) or len(state) != len(parts):
        raise InputError(
            name,
            expected=f"a tuple of {', '.join(parts)}",
            got=type(state).__name__,
            remedy="pass a state of this layer, or None for the initial one",
        )


def _check_mask(name: str, mask: Tensor | None, shape: torch.Size) -> None:
    if mask is not None and (mask.shape != shape or mask.dtype != torch.bool):
        raise InputError(
            name,
            expected=f"bool {tuple(shape)}",
            got=f"{mask.dtype} {tuple(mask.shape)}",
            remedy="True at t restarts the state before step t",
        )


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
