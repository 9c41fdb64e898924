"""Causal depthwise convolution through SiLU, with a streaming state and taps cut at resets."""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.projection import check_like, check_width
from paratime.errors import InputError
from paratime.layers.mixer import Mixer, check_sequence, check_state, check_step
from paratime.ops.conv import causal_conv


class CausalConv(Mixer):
    """Convolve each channel with its last ``kernel_size`` inputs since the last reset, and gate it.

        y[t] = silu(b + sum_k w[k] x[t - k]),  over the k for which no reset lies in t - k + 1 .. t.

    The state is the last ``kernel_size - 1`` inputs, (B, kernel_size - 1, D), zero before the
    start and before a reset.

    Args:
        channels: Number of channels D.
        kernel_size: Taps, the current step included.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 4,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if kernel_size < 2:
            raise InputError(
                "kernel_size",
                expected="at least 2",
                got=str(kernel_size),
                remedy="leave the convolution out instead",
            )
        self.channels, self.kernel_size = channels, kernel_size
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        bound = kernel_size**-0.5
        self.weight = nn.Parameter(
            torch.empty(kernel_size, channels, **factory).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.zeros(channels, **factory))

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Convolve x (B, T, D); see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        memory = self._memory(x[:, 0], h0)
        lengths = None if lengths is None else lengths.long()
        return causal_conv(x, self.weight, self.bias, memory, reset, lengths)

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve one step x (B, D)."""
        check_step(x, reset)
        memory = self._memory(x, state)
        reset = None if reset is None else reset.unsqueeze(1)
        y, memory = causal_conv(x.unsqueeze(1), self.weight, self.bias, memory, reset)
        return y.squeeze(1), memory

    def _memory(self, x: Tensor, state: Tensor | None) -> Tensor:
        taps, channels = self.weight.shape
        check_width(x, channels)
        check_like(x, self.weight)
        shape = (x.shape[0], taps - 1, channels)
        if state is None:
            return x.new_zeros(shape)
        check_state("h0", state, shape, like=x)
        return state.to(x.dtype)
