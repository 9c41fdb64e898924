"""What the tensors of a fused recurrence must look like; see ``recurrence.py``."""

from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError


def fits(
    name: str,
    x: Tensor | None,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    like: str = "u",
) -> None:
    """Refuse a tensor, unless it is None, of another shape or format than that of ``like`` asks."""
    if x is None:
        return
    if x.shape != shape or x.dtype != dtype:
        got = f"{x.dtype} {tuple(x.shape)}"
        raise InputError(name, f"{dtype} {shape}", got, f"make it fit {like}")
    if x.device != device:
        raise InputError(name, f"on {device}, like {like}", f"on {x.device}", "move it")


def check_steps(y: Tensor, inputs: tuple[Any, ...]) -> None:
    """Refuse a y that a kernel could not write: it knows of no strides but between sequences."""
    fits("y", y, of(inputs[0], inputs[2])[0], inputs[0].dtype, inputs[0].device)
    apart = y.shape[0] < 2 or y.stride(0) >= y[0].numel()
    if y.shape[0] and not (apart and y[0].is_contiguous()):
        remedy = "slice the batch or time only"
        raise InputError("y", "steps one after another", f"strides {y.stride()}", remedy)


def outputs(
    u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return uninitialised y, memory and final states, and an empty report."""
    y, memory = of(u, h0)
    return u.new_empty(y), h0.new_empty(memory), *ends(u, weight, h0)


def ends(u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return uninitialised final states, and an empty report."""
    return h0.new_empty(h0.shape), u.new_zeros(2, dtype=torch.int32)


def of(u: Tensor, h0: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of y and memory."""
    batch, steps, rows, channels = u.shape
    k = rows // 3
    return (batch, steps, k, channels), (batch, steps, h0.shape[1] - k, channels)


def gradients(
    u: Tensor, weight: Tensor, h0: Tensor, *masks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return uninitialised gradients of u, weight and h0."""
    return u.new_empty(u.shape), weight.new_empty(weight.shape), h0.new_empty(h0.shape)


def contiguous(x: Tensor | None) -> Tensor | None:
    """Return x, or a copy, without gaps."""
    return None if x is None else x.contiguous()
