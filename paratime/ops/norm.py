"""The root-mean-square norm (arXiv 1910.07467), gated or not, as a torch operator.

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
    _check(x, weight, gate)
    if not _runs_on(x, weight, gate):
        return _reference(x, weight, gate, eps)
    weight = weight.to(torch.float64 if x.dtype == torch.float64 else torch.float32)
    if torch.is_grad_enabled() or type(x) is not Tensor:
        return _norm(x, weight, gate, eps)[0]
    return _run(x, weight, gate, eps, None)  # an operator costs more than the rest of a short one


def _reference(x: Tensor, weight: Tensor, gate: Tensor | None, eps: float) -> Tensor:
    y = functional.rms_norm(x, weight.shape, weight.to(x.dtype), eps)
    return y if gate is None else y * functional.silu(gate)


def _runs_on(x: Tensor, weight: Tensor, gate: Tensor | None) -> bool:
    """Return whether the operator computes this here."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.numel():
        return False
    found = native.function(f"rms_norm_{native.FORMATS.get(x.dtype)}") is not None
    return found and not native.transformed(x, weight, gate)


def _native(x: Tensor, weight: Tensor, gate: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    scale = weight.new_empty(x.shape[:-1])
    return _run(x, weight, gate, eps, scale), scale


def _run(
    x: Tensor, weight: Tensor, gate: Tensor | None, eps: float, scale: Tensor | None
) -> Tensor:
    kernel = native.function(f"rms_norm_{native.FORMATS[x.dtype]}")
    assert kernel is not None
    x = x.contiguous()
    y = torch.empty_like(x)
    native.call(kernel, *_problem(x, weight, gate), eps, y, scale)
    return y


_norm = torch.library.custom_op(
    "paratime::rms_norm",
    _native,
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor? gate, float eps) -> (Tensor, Tensor)",
)


@_norm.register_fake
def _(x: Tensor, weight: Tensor, gate: Tensor | None, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(x.shape[:-1])


def _native_backward(
    d: Tensor, x: Tensor, weight: Tensor, gate: Tensor | None, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    kernel = native.function(f"rms_norm_backward_{native.FORMATS[x.dtype]}")
    assert kernel is not None
    x, d = x.contiguous(), d.contiguous()
    d_x, d_gate = torch.empty_like(x), x.new_empty(() if gate is None else x.shape)
    d_weight = weight.new_empty(-(-scale.numel() // ROWS), len(weight))
    native.call(kernel, *_problem(x, weight, gate), scale, d, d_x, d_weight, d_gate)
    return d_x, d_weight.sum(0), d_gate


_norm_backward = torch.library.custom_op(
    "paratime::rms_norm_backward",
    _native_backward,
    mutates_args=(),
    schema="(Tensor d, Tensor x, Tensor weight, Tensor? gate, Tensor scale)"
    " -> (Tensor, Tensor, Tensor)",
)


@_norm_backward.register_fake
def _(
    d: Tensor, x: Tensor, weight: Tensor, gate: Tensor | None, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    d_gate = x.new_empty(() if gate is None else x.shape)
    return x.new_empty(x.shape), weight.new_empty(weight.shape), d_gate


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, gate, ctx.eps = inputs
    ctx.save_for_backward(x, weight, gate, output[1])


def _gradient(ctx: Any, d: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, gate, scale = ctx.saved_tensors
    if torch.is_grad_enabled() or not _runs_on(x, weight, gate):
        return *differentiate(_reference, (x, weight, gate, ctx.eps), 3, (d,)), None
    d_x, d_weight, d_gate = _norm_backward(d, x, weight, gate, scale)
    return d_x, d_weight, None if gate is None else d_gate, None


_norm.register_autograd(_gradient, setup_context=_save)


def _problem(x: Tensor, weight: Tensor, gate: Tensor | None) -> tuple[Any, ...]:
    channels = x.shape[-1]
    rows = None if gate is None else gate.reshape(-1, channels)  # a view of most views
    if rows is not None and rows.stride(-1) != 1:
        rows = rows.contiguous()
    stride = 0 if rows is None else rows.stride(0)
    return x.numel() // channels, channels, x, weight.contiguous(), rows, stride


def _check(x: Tensor, weight: Tensor, gate: Tensor | None) -> None:
    if x.dim() == 0 or weight.shape != x.shape[-1:]:
        expected, got = f"the last axis of x {tuple(x.shape)}", str(tuple(weight.shape))
        raise InputError("weight", expected, got, "build the norm for as many channels")
    if gate is not None and (gate.shape != x.shape or gate.dtype != x.dtype):
        expected, got = f"{tuple(x.shape)}, {x.dtype}", f"{tuple(gate.shape)}, {gate.dtype}"
        raise InputError("gate", expected, got, "make it like x")
