"""A causal convolution of each channel, through SiLU, as a torch operator.

``paratime::causal_conv`` and its gradient read and write each number once or twice on a CPU, where
torch's operations take a dozen passes. Everywhere else (on CUDA, under torch.compile, under
transforms of torch.func and for second derivatives) torch's own run, which are the truth of the
kernels, too.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops import native, shapes
from paratime.ops.fallback import differentiate

ROWS = 64
"""Rows whose gradients of the weight the kernel adds up: ``kRows`` of csrc/cpu/conv.cpp."""

MOST_TAPS = 8
"""That the kernel can take: ``kTaps``."""

Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None]
"""x, weight, bias, memory, reset and lengths."""


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
    if not _runs_on(x, weight, memory):
        return _reference(x, weight, bias, memory, reset, lengths)
    precise = torch.float64 if x.dtype == torch.float64 else torch.float32
    inputs = x, weight.to(precise), bias.to(precise), memory, reset, lengths
    if torch.is_grad_enabled() or type(x) is not Tensor:
        return _conv(*inputs)
    return _native(*inputs)  # an operator costs more than the rest of a single step


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
        expected, got = "(B, T, D), and a weight (K, D)", f"{tuple(x.shape)}, {tuple(weight.shape)}"
        raise InputError("x", expected, got, "reshape them")
    batch, steps, channels = x.shape
    fits = partial(shapes.fits, device=x.device, like="x")
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


def _runs_on(x: Tensor, weight: Tensor, memory: Tensor) -> bool:
    """Return whether the operator computes this here."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.numel():
        return False
    found = native.function(f"causal_conv_{native.FORMATS.get(x.dtype)}") is not None
    return found and len(weight) <= MOST_TAPS and not native.transformed(x, weight, memory)


def _native(*inputs: Any) -> tuple[Tensor, Tensor]:
    kernel, x, memory = _kernel("causal_conv", inputs), inputs[0], inputs[3]
    y, final = x.new_empty(x.shape), torch.empty_like(memory, memory_format=torch.contiguous_format)
    native.call(kernel, *_problem(*inputs), y, final)
    return y, final


_conv = torch.library.custom_op(
    "paratime::causal_conv",
    _native,
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor bias, Tensor memory, Tensor? reset, Tensor? lengths)"
    " -> (Tensor, Tensor)",
)


@_conv.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor]:
    x, memory = inputs[0], inputs[3]
    return x.new_empty(x.shape), memory.new_empty(memory.shape)


def _native_backward(d: Tensor, d_final: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    kernel, x, weight, memory = _kernel("causal_conv_backward", inputs), *inputs[:2], inputs[3]
    d_x, d_memory = x.new_empty(x.shape), memory.new_empty(memory.shape)
    blocks = len(x) * -(-x.shape[1] // ROWS)
    sums = weight.new_empty(blocks, len(weight) + 1, x.shape[2])
    gradients = d.contiguous(), d_final.contiguous(), d_x, sums, d_memory
    native.call(kernel, *_problem(*inputs), *gradients)
    d_weight = sums.sum(0)
    return d_x, d_weight[:-1].clone(), d_weight[-1].clone(), d_memory


_conv_backward = torch.library.custom_op(
    "paratime::causal_conv_backward",
    _native_backward,
    mutates_args=(),
    schema="(Tensor d, Tensor d_final, Tensor x, Tensor weight, Tensor bias, Tensor memory,"
    " Tensor? reset, Tensor? lengths) -> (Tensor, Tensor, Tensor, Tensor)",
)


@_conv_backward.register_fake
def _(d: Tensor, d_final: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in inputs[:4])


def _save(ctx: Any, inputs: Inputs, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)


def _gradient(ctx: Any, d: Tensor, d_final: Tensor) -> tuple[Tensor | None, ...]:
    inputs = ctx.saved_tensors
    if torch.is_grad_enabled() or not _runs_on(inputs[0], inputs[1], inputs[3]):
        return *differentiate(_reference, inputs, 4, (d, d_final)), None, None
    return *_conv_backward(d, d_final, *inputs), None, None


_conv.register_autograd(_gradient, setup_context=_save)


def _kernel(name: str, inputs: tuple[Any, ...]) -> Any:
    return native.function(f"{name}_{native.FORMATS[inputs[0].dtype]}")


def _problem(*inputs: Any) -> tuple[Any, ...]:
    x, weight, bias, memory, reset, lengths = inputs
    x = x if x.stride(-1) == 1 else x.contiguous()  # its rows may lie apart
    others = (None if t is None else t.contiguous() for t in (weight, bias, memory, reset, lengths))
    return *x.shape, len(weight), x, x.stride(0), x.stride(1), *others
