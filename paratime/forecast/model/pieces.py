"""Long inputs in pieces, so the memory of training does not grow with them."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

LARGEST = 2**31
"""Bytes that the backward pass keeps of one piece."""


def pieces_of(count: int, bytes_each: int) -> list[slice]:
    """Split a range into pieces of at most ``LARGEST`` bytes; one piece if all of it fits."""
    size = max(1, LARGEST // max(1, bytes_each))
    return [slice(first, min(first + size, count)) for first in range(0, max(1, count), size)]


def recomputed(function: Callable[..., Any], pieces: list[slice]) -> Callable[..., Any]:
    """Return a function of which the backward pass keeps one piece at a time.

    If there are several pieces, its inputs alone are kept, and the rest is computed anew piece by
    piece: a forward pass more, the same gradients (arXiv 1604.06174).
    """
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return function
    return lambda *args: checkpoint(function, *args, use_reentrant=False)
