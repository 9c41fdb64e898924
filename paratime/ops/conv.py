"""A causal convolution of each channel, through SiLU, as a torch operator.

The kernels of ``paratime::causal_conv`` and its gradient read and write each value once or twice,
where torch takes a dozen passes.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops.operator import Kernel, Operator, Tensors, check_tensor, precise_dtype

ROWS = 64
"""Rows whose gradients of the weight the kernel adds up: ``kRows`` of csrc/cpu/conv.cpp."""

MOST_TAPS = 8
"""That the kernels treat: ``kTaps``."""


def causal_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    memory: Tensor,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return silu(b + sum_k w[k] x[t - k]) and the memory after the last valid step.

    The sum is over the k for which no reset lies in t - k + 1 .. t.

    Args:
        x: (B, T, D).
        weight: (K, D), of any precision.
        bias: (D,), like the weight.
        memory: The last inputs before x, (B, K - 1, D), like x.
        reset: Restarts, bool (B, T).
        lengths: Valid steps of each sequence, int64 (B,); outputs beyond them are zero.

    Raises:
        InputError: Shapes, dtypes or devices do not fit.
    """
    _check(x, weight, bias, memory, reset, lengths)
    exact = precise_dtype(x)
    y, final = _conv(x, weight.to(exact), bias.to(exact), memory, reset, lengths)
    return y, final


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    memory: Tensor,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> None:
    """Refuse what a kernel would read beyond; it sees nothing but pointers."""
    if x.dim() != 3 or weight.dim() != 2 or len(weight) == 0:
        raise InputError(
            "x",
            expected="(B, T, D), and a weight (K, D)",
            got=f"{tuple(x.shape)}, {tuple(weight.shape)}",
            remedy="reshape them",
        )
    batch, steps, channels = x.shape
    fits = partial(check_tensor, device=x.device, like="x")
    fits("weight", weight, (len(weight), channels), weight.dtype)
    fits("bias", bias, (channels,), bias.dtype)
    fits("memory", memory, (batch, len(weight) - 1, channels), x.dtype)
    fits("reset", reset, (batch, steps), torch.bool)
    fits("lengths", lengths, (batch,), torch.int64)


def _reference(*inputs: Any) -> tuple[Tensor, Tensor]:
    x, weight, bias, memory, reset, lengths = inputs
    steps, taps = x.shape[1], len(weight)
    padded = torch.cat([memory, x], dim=1)
    age = None if reset is None else _steps_since(reset)
    y = bias.to(x.dtype).expand_as(x)
    for k, tap in enumerate(weight):
        past = padded[:, taps - 1 - k :][:, :steps]
        if age is not None and k:
            past = past.masked_fill((age < k).unsqueeze(-1), 0)
        y = torch.addcmul(y, past, tap.to(past.dtype))
    y = functional.silu(y)
    if lengths is not None:
        beyond = torch.arange(steps, device=x.device) >= lengths.unsqueeze(-1)
        y = y.masked_fill(beyond.unsqueeze(-1), 0)
    return y, _final(padded, taps - 1, age, lengths)


def _final(padded: Tensor, taps: int, age: Tensor | None, lengths: Tensor | None) -> Tensor:
    """Return the last inputs before each sequence's end, zero where a reset cut them off."""
    batch, steps = padded.shape[0], padded.shape[1] - taps
    back = torch.arange(taps, device=padded.device)
    end = torch.full((batch,), steps, device=padded.device) if lengths is None else lengths
    rows = torch.arange(batch, device=padded.device).unsqueeze(-1)
    memory = padded[rows, end.unsqueeze(-1) + back]
    if age is None:
        return memory
    last = torch.where(end > 0, age[rows[:, 0], (end - 1).clamp(min=0)], taps)
    return memory.masked_fill((last.unsqueeze(-1) < back.flip(0)).unsqueeze(-1), 0)


def _steps_since(reset: Tensor) -> Tensor:
    """Return the number of steps since the last reset, a very large one where there was none."""
    now = torch.arange(reset.shape[1], device=reset.device).expand_as(reset)
    start = torch.where(reset, now, -(2**40))
    return now - start.cummax(dim=1).values


class _Conv(Operator):
    name = "causal_conv"
    schema = "Tensor x, Tensor weight, Tensor bias, Tensor memory, Tensor? reset, Tensor? lengths"
    tensors = 4
    like = (0, 3)
    keeps = False

    def twin(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        return _reference(*inputs)

    def supports(self, *inputs: Any) -> bool:
        return len(inputs[1]) <= MOST_TAPS

    def forward(self, kernel: Kernel, outputs: Tensors, kept: Any, *inputs: Any) -> None:
        kernel(*_problem(*inputs), *outputs)

    def backward(self, kernel: Kernel, grads: Tensors, kept: Any, *inputs: Any) -> Tensors:
        x, weight, _, memory = inputs[:4]
        d_x, d_memory = x.new_empty(x.shape), memory.new_empty(memory.shape)
        blocks = len(x) * -(-x.shape[1] // ROWS)
        sums = weight.new_empty(blocks, len(weight) + 1, x.shape[2])
        kernel(*_problem(*inputs), *grads, d_x, sums, d_memory)
        d_weight = sums.sum(0)
        return d_x, d_weight[:-1].clone(), d_weight[-1].clone(), d_memory


_conv = _Conv()


def _problem(*inputs: Any) -> tuple[Any, ...]:
    x, weight, bias, memory, reset, lengths = inputs
    x = x if x.stride(-1) == 1 else x.contiguous()  # its rows may lie apart
    others = (None if t is None else t.contiguous() for t in (weight, bias, memory, reset, lengths))
    return *x.shape, len(weight), x, x.stride(0), x.stride(1), *others
