"""Algebra of transitions that act on each channel alone.

A transition is a scalar per channel, shape (..., D), or a K x K block a channel, shape
(..., K, K, D), acting on states (..., D) or (..., K, D). Channels stay innermost, so every product
is written out over the small K: batched matrix products of tiny matrices would need transposes
and be an order of magnitude slower. Only a dense transition (D = 1) is handed to ``matmul``.
"""

import torch
from torch import Tensor


def matvec(a: Tensor, x: Tensor) -> Tensor:
    """Apply blocks: y[i] = sum_j a[i, j] x[j], with a (..., K, K, D) and x (..., K, D)."""
    if a.shape[-1] == 1:
        return torch.matmul(a.squeeze(-1), x)
    y = a[..., :, 0, :] * x[..., 0:1, :]
    for j in range(1, x.shape[-2]):
        y = torch.addcmul(y, a[..., :, j, :], x[..., j : j + 1, :])
    return y


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Compose blocks: c[i, j] = sum_l a[i, l] b[l, j], all (..., K, K, D)."""
    if a.shape[-1] == 1:
        return torch.matmul(a.squeeze(-1), b.squeeze(-1)).unsqueeze(-1)
    c = a[..., :, 0:1, :] * b[..., 0:1, :, :]
    for l in range(1, b.shape[-3]):  # noqa: E741 (the summation index of the equation)
        c = torch.addcmul(c, a[..., :, l : l + 1, :], b[..., l : l + 1, :, :])
    return c


def apply(a: Tensor, h: Tensor) -> Tensor:
    """Apply transitions to states; a block transition has one axis more than the state."""
    return matvec(a, h) if a.dim() > h.dim() else a * h


def outer(x: Tensor, y: Tensor) -> Tensor:
    """Form blocks: a[i, j] = x[i] y[j], with x and y (..., K, D)."""
    return x.unsqueeze(-2) * y.unsqueeze(-3)


def transpose(a: Tensor) -> Tensor:
    """Transpose each block of a (..., K, K, D)."""
    return a.transpose(-3, -2)
