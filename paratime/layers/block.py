"""The residual block around a mixer."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.layers.conv import CausalConv
from paratime.layers.mixer import Mixer, mask_padding
from paratime.layers.norm import RMSNorm


class SwiGLU(nn.Module):
    """Gated feed-forward layer (arXiv 2002.05202): W (silu(U x) * V x), without biases.

    Args:
        width: Width of input and output.
        hidden: Width inside; 8 / 3 of ``width``, rounded up to a multiple of 256, by default.
    """

    def __init__(self, width: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = 256 * math.ceil(8 * width / 3 / 256) if hidden is None else hidden
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., width)."""
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * value)


class Block(Mixer):
    """The block of ParaRNN (arXiv 2510.21450) around any mixer.

    norm -> Linear to value and gate -> causal convolution, SiLU -> mixer -> RMSNorm times
    SiLU(gate) -> Linear -> scaled residual; then norm -> SwiGLU -> scaled residual. The scales
    are one learnable number a channel.

    Args:
        width: Width d of input and output.
        mixer: Builds the mixer from its width.
        kernel_size: Taps of the convolution.
        mlp_size: Width inside the SwiGLU; its default if None.
    """

    def __init__(
        self,
        width: int,
        mixer: Callable[[int], Mixer],
        *,
        kernel_size: int = 4,
        mlp_size: int | None = None,
    ) -> None:
        super().__init__()
        self.norm_in = RMSNorm(width)
        self.project_in = nn.Linear(width, 2 * width, bias=False)
        self.conv = CausalConv(width, kernel_size)
        self.mixer = mixer(width)
        self.norm_out = RMSNorm(width)
        self.project_out = nn.Linear(width, width, bias=False)
        self.mixer_scale = nn.Parameter(torch.ones(width))
        self.norm_mlp = RMSNorm(width)
        self.mlp = SwiGLU(width, mlp_size)
        self.mlp_scale = nn.Parameter(torch.ones(width))

    def forward(
        self,
        x: Tensor,
        h0: tuple[Any, Any] | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Any, Any]]:
        """Map x (B, T, d); the state is the convolution's and the mixer's."""
        conv0, mixer0 = (None, None) if h0 is None else h0
        value, gate = self._enter(x)
        value, conv_state = self.conv(value, conv0, reset=reset, lengths=lengths)
        y, mixer_state = self.mixer(value, mixer0, reset=reset, lengths=lengths)
        y = self._leave(x, y, gate)
        return mask_padding(y, lengths), (conv_state, mixer_state)

    def step(
        self, x: Tensor, state: tuple[Any, Any] | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, Any]]:
        """Map one step x (B, d)."""
        conv0, mixer0 = (None, None) if state is None else state
        value, gate = self._enter(x)
        value, conv_state = self.conv.step(value, conv0, reset)
        y, mixer_state = self.mixer.step(value, mixer0, reset)
        return self._leave(x, y, gate), (conv_state, mixer_state)

    def _enter(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value, gate = self.project_in(self.norm_in(x)).chunk(2, dim=-1)
        return value, gate

    def _leave(self, x: Tensor, y: Tensor, gate: Tensor) -> Tensor:
        y = self.project_out(self.norm_out(y, gate))
        x = torch.addcmul(x, self.mixer_scale, y)
        return torch.addcmul(x, self.mlp_scale, self.mlp(self.norm_mlp(x)))
