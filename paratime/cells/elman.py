"""The smallest nonlinear cell, and the tutorial for writing your own.

A cell specifies three things: what a state looks like (``state_shape``), what is computed from the
inputs for all steps at once (``drive``), and how one step advances the state (``step``). The
Jacobian that Newton's method needs follows from ``step`` by automatic differentiation, as for
``ElmanCell``. ``BlockElmanCell`` shows the rest: states with several units a channel, and a
Jacobian in closed form.
"""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.cells.gates import channel_blocks
from paratime.cells.init import PaperInit
from paratime.cells.projection import Projection
from paratime.ops import blocks


class ElmanCell(Cell):
    """Elman's recurrence (Cognitive Science 14, 1990) with a diagonal recurrent matrix.

        h' = tanh(u + a * h).

    Args:
        input_size: Width of the input.
        hidden_size: Width of the state and output.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    bound = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size)
        self.input_size = input_size
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.projection = nn.Linear(input_size, hidden_size, **factory)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, **factory).uniform_(-1, 1))

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., D)."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., D) by u (..., D)."""
        return torch.tanh(u + self.weight_hh * h)


class BlockElmanCell(Cell):
    """Elman's recurrence with a block-diagonal recurrent matrix.

        h' = tanh(u + A h),

    with A one K x K block a channel, drawn from N(0, gain^2 / K). Without input, large networks of
    such units are chaotic from gain 1 on (Sompolinsky, Crisanti and Sommers, Physical Review
    Letters 61, 1988), and inputs suppress chaos up to a larger gain (Rajan, Abbott and Sompolinsky,
    Physical Review E 82, 2010). In the chaotic regime Newton's method needs one iteration a
    segment: errors grow from each segment to the next.

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the state and output.
        block_size: K, one of 1, 2, 4 and 8.
        gain: Scale of the recurrent weights at initialisation.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes that do not divide.
    """

    bound = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        block_size: int = 8,
        gain: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        k, channels = channel_blocks(hidden_size, block_size)
        super().__init__(hidden_size, (k, channels))
        self.input_size, self.block_size, self.gain = input_size, block_size, gain
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.projection = Projection(input_size, k, channels, **factory)
        self.weight_hh = nn.Parameter(torch.empty(k, k, channels, **factory))
        PaperInit().input_(self.projection)
        nn.init.normal_(self.weight_hh, std=gain / k**0.5)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., K, D / K)."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., K, D / K) by u (..., K, D / K)."""
        return torch.tanh(u + blocks.matvec(self.weight_hh.to(h.dtype), h))

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian diag(1 - h'^2) A."""
        state = self.step(u, h)
        return state, (1 - state.square()).unsqueeze(-2) * self.weight_hh.to(h.dtype)
