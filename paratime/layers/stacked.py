"""Layers on top of one another, in one direction or two, as in torch.nn's recurrent layers."""

from collections.abc import Callable
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn

from paratime.errors import InputError, check_at_least
from paratime.layers.block import build_mixer
from paratime.layers.mixer import Mixer, check_sequence, check_tuple, split_state
from paratime.layers.state import State


@final
class Stacked(Mixer):
    """Layers of any mixer on top of one another, as by ``num_layers`` of ``torch.nn.GRU``.

    ``Stacked(ParaGRU, 4, 8, num_layers=2, bidirectional=True)`` reads what
    ``torch.nn.GRU(4, 8, num_layers=2, bidirectional=True, batch_first=True)`` reads. Layer i + 1
    reads the outputs of layer i, of both directions if there are two.

    The state is a tuple of one entry a layer: its mixer's state, such as (B, hidden_size), or a
    pair of them, forward and backward. In the second direction each sequence runs from its last
    valid step to its first. Its h0 is the state after that last step, and its final state the one
    at the first step. A reset at t separates the steps t - 1 and t in both directions, so that no
    episode sees another.

    Args:
        mixer: Builds the mixer of a layer from the widths of its input and output.
        input_size: Width of the input.
        hidden_size: Width of the output of each direction; ``input_size`` by default.
        num_layers: Number of layers.
        dropout: Share of each layer's outputs that is zeroed in training, except the last layer's.
        bidirectional: Whether layers run in both directions. Outputs are then (B, T,
            2 hidden_size), forward before backward; no step can be made without those after it.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes below 1, or a dropout that is no share.
    """

    def __init__(
        self,
        mixer: Callable[[int, int], Mixer],
        input_size: int,
        hidden_size: int | None = None,
        *,
        num_layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        size = input_size if hidden_size is None else hidden_size
        check_at_least(1, input_size=input_size, hidden_size=size, num_layers=num_layers)
        if not 0 <= dropout <= 1:
            raise InputError("dropout", expected="0 to 1", got=str(dropout), remedy="correct it")
        self.input_size, self.hidden_size = input_size, size
        self.num_layers, self.bidirectional = num_layers, bidirectional
        one = partial(build_mixer, mixer, device=device, dtype=dtype)
        build = _both(one) if bidirectional else one
        inner = 2 * size if bidirectional else size
        widths = [input_size] + [inner] * (num_layers - 1)
        self.layers = nn.ModuleList(build(width, size) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.complete = all(layer.complete for layer in self.layers)

    def forward(
        self,
        x: Tensor,
        h0: tuple[State, ...] | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Map x (B, T, input_size) to outputs and one state a layer; see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        states = []
        for i, (layer, before) in enumerate(zip(self.layers, self._split(h0), strict=True)):
            x = self.dropout(x) if i else x
            x, state = layer(x, before, reset=reset, lengths=lengths)
            states.append(state)
        return x, tuple(states)

    def step(
        self, x: Tensor, state: tuple[State, ...] | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Map one step x (B, input_size), in one direction.

        Raises:
            InputError: There are two directions.
        """
        states = []
        for i, (layer, before) in enumerate(zip(self.layers, self._split(state), strict=True)):
            assert isinstance(layer, Mixer)
            x, after = layer.step(self.dropout(x) if i else x, before, reset)
            states.append(after)
        return x, tuple(states)

    def _split(self, state: Any) -> tuple[Any, ...]:
        parts = "zip(h0[::2], h0[1::2])" if self.bidirectional else "h0"
        remedy = f"pass a state of this layer; torch.nn.GRU's (layers, B, D) is tuple({parts}) here"
        return split_state(state, len(self.layers), "layer", remedy)


class Bidirectional(Mixer):
    """Two mixers, of which one runs backward in time; outputs are joined, states are a pair.

    Args:
        ahead: The mixer from the first step to the last.
        back: The mixer from the last valid step to the first.
    """

    def __init__(self, ahead: Mixer, back: Mixer) -> None:
        super().__init__()
        self.ahead, self.back = ahead, back
        self.complete = ahead.complete and back.complete

    def forward(
        self,
        x: Tensor,
        h0: tuple[State, State] | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[State, State]]:
        """Map x (B, T, input_size) to outputs of both, side by side, and both final states."""
        if h0 is not None:
            check_tuple("h0", h0, ("a forward state", "a backward state"))
        before, after = (None, None) if h0 is None else h0
        y, end = self.ahead(x, before, reset=reset, lengths=lengths)
        order = _backward_order(x, lengths)
        restarts = None if reset is None else _backward_resets(reset, lengths)
        z, begin = self.back(_reorder(x, order), after, reset=restarts, lengths=lengths)
        return torch.cat([y, _reorder(z, order)], dim=-1), (end, begin)

    def step(
        self, x: Tensor, state: State = None, reset: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Refuse to step.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "step",
            expected="one direction",
            got="bidirectional=True, which reads the steps after this one first",
            remedy="call the layer for whole sequences, or build it with bidirectional=False",
        )


def _both(mixer: Callable[[int, int], Mixer]) -> Callable[[int, int], Mixer]:
    return lambda width, size: Bidirectional(mixer(width, size), mixer(width, size))


def _backward_order(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return which step stands at each place, last valid one first, padding as it is, (B, T)."""
    steps = torch.arange(x.shape[1], device=x.device)
    if lengths is None:
        return steps.flip(0).expand(x.shape[0], -1)
    back = lengths.unsqueeze(-1) - 1 - steps
    return torch.where(back >= 0, back, steps)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    """Return the steps of x (B, T, D) in an order (B, T)."""
    return x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _backward_resets(reset: Tensor, lengths: Tensor | None) -> Tensor:
    """Return resets (B, T) of the reversed sequences: one before t there separates t - 1 and t."""
    first = torch.zeros_like(reset[:, :1])
    steps = torch.arange(1, reset.shape[1], device=reset.device)
    end = torch.full_like(reset[:, 0], reset.shape[1], dtype=torch.long)
    back = (end if lengths is None else lengths).unsqueeze(-1) - steps
    inner = (back > 0) & reset.gather(1, back.clamp(min=0))
    return torch.cat([first, inner], dim=1)
