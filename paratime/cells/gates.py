"""What the gated cells share: block sizes, and pieces of their Jacobians."""

import torch
from torch import Tensor

from paratime.errors import InputError

BLOCK_SIZES = (1, 2, 4, 8)


def channel_blocks(hidden_size: int, block_size: int) -> tuple[int, int]:
    """Return (K, D / K) for a hidden size D and blocks of K numbers."""
    if block_size not in BLOCK_SIZES:
        raise InputError(
            "block_size",
            expected=f"one of {BLOCK_SIZES}",
            got=str(block_size),
            remedy="use 4 to track more state, 1 for the paper's cell",
        )
    if hidden_size < 1 or hidden_size % block_size:
        raise InputError(
            "hidden_size",
            expected=f"a positive multiple of block_size = {block_size}",
            got=str(hidden_size),
            remedy="change either",
        )
    return block_size, hidden_size // block_size


def diagonal(v: Tensor) -> Tensor:
    """Put v (..., K, D) on the diagonal of blocks (..., K, K, D)."""
    k = v.shape[-2]
    column = v.unsqueeze(-2)
    if k == 1:
        return column
    return column * torch.eye(k, dtype=v.dtype, device=v.device).unsqueeze(-1)


def sigmoid_backward(g: Tensor, y: Tensor) -> Tensor:
    """Return g y (1 - y), the derivative of sigmoid at its value y times g, in one pass."""
    return torch.ops.aten.sigmoid_backward(g, y)


def tanh_backward(g: Tensor, y: Tensor) -> Tensor:
    """Return g (1 - y^2), the derivative of tanh at its value y times g, in one pass."""
    return torch.ops.aten.tanh_backward(g, y)
