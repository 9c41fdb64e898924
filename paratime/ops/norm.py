"""The root-mean-square norm (arXiv 1910.07467), gated or of gated values, as a torch operator.

The kernels of ``paratime::rms_norm`` and its gradient read and write each value once, where torch
takes a dozen passes.
"""

from typing import Any

from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops.operator import Kernel, Operator, Tensors, precise_dtype

ROWS = 64
"""Rows whose gradients of the weight the kernel adds up: ``kBlock`` of csrc/cpu/norm.cpp."""


def rms_norm(x: Tensor, weight: Tensor, gate: Tensor | None = None, *, eps: float) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight, times silu(gate) if there is one.

    Args:
        x: (..., D).
        weight: (D,), of any precision.
        gate: In the shape and dtype of x.
        eps: Added to the mean.

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
    """Return the norm of x silu(gate), taken over each part of the channels alone.

    Args:
        x: (..., D).
        weight: (D,), of any precision.
        gate: In the shape and dtype of x.
        eps: Added to the mean.
        parts: Number of parts, which divides D.

    Returns:
        In the shape and dtype of x.

    Raises:
        InputError: Shapes or dtypes do not fit.
    """
    _check(x, weight, gate, parts)
    return _normed(x, weight, gate, eps, parts, True)


def _normed(x: Tensor, weight: Tensor, gate: Tensor | None, *how: Any) -> Tensor:
    weight = weight.to(precise_dtype(x))
    return _norm(x, weight, gate, *how)[0]


def _reference(*inputs: Any) -> Tensor:
    x, weight, gate, eps, parts, gates_first = inputs
    if gates_first:
        x = x * functional.silu(gate)
    size = x.shape[-1] // parts
    y = functional.rms_norm(x.unflatten(-1, (parts, size)), (size,), eps=eps).flatten(-2)
    y = y * weight.to(x.dtype)
    return y if gate is None or gates_first else y * functional.silu(gate)


class _Norm(Operator):
    name = "rms_norm"
    schema = "Tensor x, Tensor weight, Tensor? gate, float eps, int parts, bool gates_first"
    tensors = 3
    like = (0,)

    def twin(self, *inputs: Any) -> tuple[Tensor]:
        return (_reference(*inputs),)

    def keep(self, *inputs: Any) -> Tensor:
        """Return an empty tensor for the factor of each part of each row."""
        x, weight, _, _, parts, _ = inputs
        return weight.new_empty(*x.shape[:-1], parts)

    def forward(self, kernel: Kernel, outputs: Tensors, kept: Any, *inputs: Any) -> None:
        x, weight, gate, eps, parts, gates_first = inputs
        kernel(*_problem(x, weight, gate, parts, gates_first), eps, *outputs, kept)

    def backward(self, kernel: Kernel, grads: Tensors, kept: Any, *inputs: Any) -> Tensors:
        x, weight, gate, _, parts, gates_first = inputs
        d_x, d_gate = x.new_empty(x.shape), x.new_empty(() if gate is None else x.shape)
        d_weight = weight.new_empty(-(-kept.numel() // ROWS), len(weight))
        problem = _problem(x, weight, gate, parts, gates_first)
        kernel(*problem, kept, *grads, d_x, d_weight, d_gate)
        return d_x, d_weight.sum(0), d_gate


_norm = _Norm()


def _problem(
    x: Tensor, weight: Tensor, gate: Tensor | None, parts: int, gates_first: bool
) -> tuple[Any, ...]:
    rows = None if gate is None else gate.reshape(-1, x.shape[-1])  # a view of most views
    if rows is not None and rows.stride(-1) != 1:
        rows = rows.contiguous()
    stride, channels = 0 if rows is None else rows.stride(0), x.shape[-1] // parts
    given = x.contiguous(), weight.contiguous(), rows, stride, int(gates_first)
    return x.numel() // channels, parts, channels, *given


def _check(x: Tensor, weight: Tensor, gate: Tensor | None, parts: int) -> None:
    if x.dim() == 0 or weight.shape != x.shape[-1:]:
        raise InputError(
            "weight",
            expected=f"the last axis of x {tuple(x.shape)}",
            got=str(tuple(weight.shape)),
            remedy="build the norm for as many channels",
        )
    if gate is not None and (gate.shape != x.shape or gate.dtype != x.dtype):
        raise InputError(
            "gate",
            expected=f"{tuple(x.shape)}, {x.dtype}",
            got=f"{tuple(gate.shape)}, {gate.dtype}",
            remedy="make it like x",
        )
    if parts < 1 or x.shape[-1] % parts:
        raise InputError(
            "parts",
            expected=f"a divisor of {x.shape[-1]} channels",
            got=str(parts),
            remedy="change it",
        )
