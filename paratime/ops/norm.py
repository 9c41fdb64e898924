"""The root-mean-square norm (arXiv 1910.07467), gated or of gated numbers, as a torch operator.

``paratime::rms_norm`` and its gradient read and write each number once on a CPU, where torch's take
a dozen passes. Everywhere else (on CUDA, under torch.compile, under transforms of torch.func and
for second derivatives) torch's own run, which are the truth of the kernels, too.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops import native
from paratime.ops.fallback import differentiate

ROWS = 64
"""Rows whose gradients of the weight the kernel adds up: ``kBlock`` of csrc/cpu/norm.cpp."""


def rms_norm(x: Tensor, weight: Tensor, gate: Tensor | None = None, *, eps: float) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight, times silu(gate) if there is one.

    Args:
        x: (..., D).
        weight: (D,), of any precision.
        gate: In the shape and dtype of x.
        eps: What is added to the mean.

    Returns:
        In the shape and dtype of x.

    Raises:
        InputError: Shapes or dtypes do not fit.
    """
    _check(x, weight, gate, 1)
    return _normed(x, weight, gate, eps, 1, False)


def rms_norm_of_gated(
    x: Tensor, weight: Tensor, gate: Tensor, *, eps: float, parts: int = 1
) -> Tensor:
    """Return the norm of x silu(gate), each of some parts of the channels by itself.

    Args:
        x: (..., D).
        weight: (D,), of any precision.
        gate: In the shape and dtype of x.
        eps: What is added to the mean.
        parts: Number of parts, which divides D.

    Returns:
        In the shape and dtype of x.

    Raises:
        InputError: Shapes or dtypes do not fit.
    """
    _check(x, weight, gate, parts)
    return _normed(x, weight, gate, eps, parts, True)


def _normed(*inputs: Any) -> Tensor:
    x, weight, gate, *how = inputs
    if not _runs_on(x, weight, gate):
        return _reference(*inputs)
    weight = weight.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    if torch.is_grad_enabled() or type(x) is not Tensor:
        return _norm(x, weight, gate, *how)[0]
    return _run(None, x, weight, gate, *how)  # an operator costs more than the rest of a short one


def _reference(*inputs: Any) -> Tensor:
    x, weight, gate, eps, parts, gates_first = inputs
    if gates_first:
        x = x * functional.silu(gate)
    size = x.shape[-1] // parts
    y = functional.rms_norm(x.unflatten(-1, (parts, size)), (size,), eps=eps).flatten(-2)
    y = y * weight.to(x.dtype)
    return y if gate is None or gates_first else y * functional.silu(gate)


def _runs_on(x: Tensor, weight: Tensor, gate: Tensor | None) -> bool:
    """Return whether the operator computes this here."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.numel():
        return False
    found = native.function(f"rms_norm_{native.FORMATS.get(x.dtype)}") is not None
    return found and not native.transformed(x, weight, gate)


def _native(*inputs: Any) -> tuple[Tensor, Tensor]:
    scale = _scale(*inputs)
    return _run(scale, *inputs), scale


def _scale(*inputs: Any) -> Tensor:
    """Return an empty tensor for what each part of each row is multiplied by."""
    x, weight, _, _, parts, _ = inputs
    return weight.new_empty(*x.shape[:-1], parts)


def _run(scale: Tensor | None, *inputs: Any) -> Tensor:
    x, weight, gate, eps, parts, gates_first = inputs
    kernel = native.function(f"rms_norm_{native.FORMATS[x.dtype]}")
    assert kernel is not None
    x = x.contiguous()
    y = torch.empty_like(x)
    native.call(kernel, *_problem(x, weight, gate, parts, gates_first), eps, y, scale)
    return y


_norm = torch.library.custom_op(
    "paratime::rms_norm",
    _native,
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor? gate, float eps, int parts, bool gates_first)"
    " -> (Tensor, Tensor)",
)


@_norm.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor]:
    return inputs[0].new_empty(inputs[0].shape), _scale(*inputs)


def _native_backward(
    d: Tensor,
    x: Tensor,
    weight: Tensor,
    gate: Tensor | None,
    scale: Tensor,
    parts: int,
    gates_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    kernel = native.function(f"rms_norm_backward_{native.FORMATS[x.dtype]}")
    assert kernel is not None
    x, d = x.contiguous(), d.contiguous()
    d_x, d_gate = torch.empty_like(x), x.new_empty(() if gate is None else x.shape)
    d_weight = weight.new_empty(-(-scale.numel() // ROWS), len(weight))
    problem = _problem(x, weight, gate, parts, gates_first)
    native.call(kernel, *problem, scale, d, d_x, d_weight, d_gate)
    return d_x, d_weight.sum(0), d_gate


_norm_backward = torch.library.custom_op(
    "paratime::rms_norm_backward",
    _native_backward,
    mutates_args=(),
    schema="(Tensor d, Tensor x, Tensor weight, Tensor? gate, Tensor scale, int parts,"
    " bool gates_first) -> (Tensor, Tensor, Tensor)",
)


@_norm_backward.register_fake
def _(d: Tensor, x: Tensor, weight: Tensor, gate: Tensor | None, *_: Any) -> tuple[Tensor, ...]:
    d_gate = x.new_empty(() if gate is None else x.shape)
    return x.new_empty(x.shape), weight.new_empty(weight.shape), d_gate


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, gate, *ctx.how = inputs
    ctx.save_for_backward(x, weight, gate, output[1])


def _gradient(ctx: Any, d: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, gate, scale = ctx.saved_tensors
    if torch.is_grad_enabled() or not _runs_on(x, weight, gate):
        found = differentiate(_reference, (x, weight, gate, *ctx.how), 3, (d,))
        return *found, None, None, None
    d_x, d_weight, d_gate = _norm_backward(d, x, weight, gate, scale, *ctx.how[1:])
    return d_x, d_weight, None if gate is None else d_gate, None, None, None


_norm.register_autograd(_gradient, setup_context=_save)


def _problem(
    x: Tensor, weight: Tensor, gate: Tensor | None, parts: int, gates_first: bool
) -> tuple[Any, ...]:
    rows = None if gate is None else gate.reshape(-1, x.shape[-1])  # a view of most views
    if rows is not None and rows.stride(-1) != 1:
        rows = rows.contiguous()
    stride, channels = 0 if rows is None else rows.stride(0), x.shape[-1] // parts
    given = x, weight.contiguous(), rows, stride, int(gates_first)
    return x.numel() // channels, parts, channels, *given


def _check(x: Tensor, weight: Tensor, gate: Tensor | None, parts: int) -> None:
    if x.dim() == 0 or weight.shape != x.shape[-1:]:
        expected, got = f"the last axis of x {tuple(x.shape)}", str(tuple(weight.shape))
        raise InputError("weight", expected, got, "build the norm for as many channels")
    if gate is not None and (gate.shape != x.shape or gate.dtype != x.dtype):
        expected, got = f"{tuple(x.shape)}, {x.dtype}", f"{tuple(gate.shape)}, {gate.dtype}"
        raise InputError("gate", expected, got, "make it like x")
    if parts < 1 or x.shape[-1] % parts:
        expected, remedy = f"a divisor of {x.shape[-1]} channels", "change it"
        raise InputError("parts", expected, str(parts), remedy)
