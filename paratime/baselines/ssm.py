"""What the state space models share: their convolution, their sizes of steps, and their names.

Parameters are called as in mamba-ssm and transformers, so that their checkpoints load.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.layers.mixer import check_state, check_tuple
from paratime.ops.conv import causal_conv
from paratime.ops.operator import precise_dtype
from paratime.ops.precision import precise

SMALLEST, LARGEST = 1e-3, 0.1
"""Sizes of steps that are drawn at first, log-uniformly."""


class Conv1d(nn.Conv1d):
    """torch's parameters of a depthwise convolution, run causally, through SiLU, with resets.

    Args:
        channels: Number of channels D.
        kernel_size: Taps, the current step included.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            channels, channels, kernel_size, groups=channels, device=device, dtype=dtype
        )

    def forward(  # type: ignore[override]
        self, x: Tensor, memory: Tensor, reset: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Convolve x (B, T, D) after its last inputs (B, K - 1, D), and return the new ones."""
        assert self.bias is not None
        weight = self.weight[:, 0].T.flip(0)  # torch has the current step last
        return causal_conv(x, weight, self.bias, memory, reset, lengths)


def initial_bias(like: Tensor, least: float = SMALLEST, most: float = LARGEST) -> Tensor:
    """Draw biases (N,) whose softplus are sizes of steps, like an empty tensor (N,)."""
    exact = torch.empty_like(like, dtype=precise_dtype(like))
    dt = exact.uniform_(math.log(least), math.log(most)).exp()
    return (dt + (-torch.expm1(-dt)).log()).to(like.dtype)


def start(
    like: Tensor, h0: tuple[Tensor, ...] | None, shapes: Mapping[str, tuple[int, ...]]
) -> list[Tensor]:
    """Return the parts of a state, zeros for None, after a look at their shapes.

    Args:
        like: A tensor (B, ...) of the layer's precision.
        h0: The state.
        shapes: Of each part by name, without B; the convolution's has the layer's precision, and
            the others at least float32.
    """
    dtypes = {name: like.dtype if name == "memory" else precise(like[:0]).dtype for name in shapes}
    sizes = {name: (like.shape[0], *shape) for name, shape in shapes.items()}
    if h0 is None:
        return [like.new_zeros(sizes[name], dtype=dtypes[name]) for name in shapes]
    check_tuple("h0", h0, tuple(shapes))
    for part, (name, size) in zip(h0, sizes.items(), strict=True):
        check_state(f"h0's {name}", part, size, like=like)
    return [part.to(dtypes[name]) for part, name in zip(h0, shapes, strict=True)]


def softplus(x: Tensor, bias: Tensor) -> Tensor:
    """Return sizes of steps."""
    return functional.softplus(precise(x) + precise(bias))


def valid(dt: Tensor, reset: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return steps (B, T, H) of size zero, and no resets, beyond each sequence's length.

    Such steps change no state.
    """
    if lengths is None:
        return dt, reset
    there = torch.arange(dt.shape[1], device=dt.device) < lengths.unsqueeze(-1)
    return dt.where(there.unsqueeze(-1), 0), None if reset is None else reset & there
