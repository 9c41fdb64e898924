"""The linear recurrence h[t] = a[t] h[t-1] + b[t] as a torch operator.

``paratime::scan`` declares its schema, fake and gradient here, once. The compiled kernels run on a
CPU, and on CUDA (``device.py``); the torch reference is their truth, and runs where there is none.
"""

from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops import blocks, device, native, reference


def _parallel(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    return reference.scan_safe(a, b.contiguous(), h0, reverse=reverse).contiguous()


_scan = torch.library.custom_op(
    "paratime::scan",
    _parallel,
    mutates_args=(),
    schema="(Tensor a, Tensor b, Tensor? h0, bool reverse) -> Tensor",
)


@_scan.register_kernel("cpu")
def _native(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    if native.emulates():
        return _device(a, b, h0, reverse)
    _check(a, b, h0)
    kernel = native.function(f"scan_{native.FORMATS[b.dtype]}")
    if kernel is None:
        return _parallel(a, b, h0, reverse)
    size, channels = (1, b.shape[2]) if b.dim() == 3 else b.shape[2:]
    start = torch.zeros_like(b[:, 0]) if h0 is None else h0
    a, b, start, h = a.contiguous(), b.contiguous(), start.contiguous(), b.new_empty(b.shape)
    native.call(kernel, b.shape[0], b.shape[1], size, channels, int(reverse), a, b, start, h)
    return h


@_scan.register_kernel("cuda")
def _device(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    _check(a, b, h0)
    start = torch.zeros_like(b[:, 0]) if h0 is None else h0
    h = b.new_empty(b.shape)
    a, b, start = a.contiguous(), b.contiguous(), start.contiguous()
    rows = b if b.dim() == 4 else b.unsqueeze(-2)
    return h if device.scan(a, rows, start, h, reverse) else _parallel(a, b, h0, reverse)


@_scan.register_fake
def _(a: Tensor, b: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    return b.new_empty(b.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, h0, ctx.reverse = inputs
    ctx.save_for_backward(a, h0, output)


def _gradient(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
    """Solve the adjoint lam[t] = g[t] + a[t+1]^T lam[t+1]: the same operator, in reverse."""
    a, h0, h = ctx.saved_tensors
    with torch.autocast(g.device.type, enabled=False):
        return *_adjoint(ctx, a, h0, h, g), None


def _adjoint(
    ctx: Any, a: Tensor, h0: Tensor | None, h: Tensor, g: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    block = a.dim() > h.dim()
    a_t = blocks.transpose(a) if block else a
    lam = _scan(_shift(a_t, None, not ctx.reverse), g, None, not ctx.reverse)
    previous = _shift(h, h0, ctx.reverse)
    grad_a = blocks.outer(lam, previous) if block else lam * previous
    first = -1 if ctx.reverse else 0
    grad_h0 = None if h0 is None else reference.apply(a_t[:, first], lam[:, first])
    return grad_a, lam, grad_h0


def _shift(x: Tensor, first: Tensor | None, reverse: bool) -> Tensor:
    """Return x[t-1] (x[t+1] in reverse), with ``first``, or zero, where there is none."""
    if reverse:
        edge = torch.zeros_like(x[:, -1]) if first is None else first
        return torch.cat([x[:, 1:], edge.unsqueeze(1)], dim=1)
    edge = torch.zeros_like(x[:, 0]) if first is None else first
    return torch.cat([edge.unsqueeze(1), x[:, :-1]], dim=1)


_scan.register_autograd(_gradient, setup_context=_save)


def scan(a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Solve the linear recurrence h[t] = a[t] h[t-1] + b[t] for all t.

    Args:
        a: Transitions, (B, T, D), or blocks (B, T, K, K, D).
        b: Inputs, (B, T, D), or (B, T, K, D) for blocks; float32 or float64, like ``a``.
        h0: State before the first step, (B, D) or (B, K, D); zero by default.
        reverse: Run from the last step to the first: h[t] = a[t] h[t+1] + b[t].

    Returns:
        All states, in the shape of ``b``.

    Raises:
        InputError: Shapes or dtypes do not fit.
        NotImplementedError: Forward-mode derivatives, or a transform of torch.func.
    """
    _check(a, b, h0)
    native.refuse_transforms(a, b, h0)
    return _scan(a, b, h0, reverse)


def _check(a: Tensor, b: Tensor, h0: Tensor | None) -> None:
    if b.dim() not in (3, 4):
        raise InputError("b", "(B, T, D) or (B, T, K, D)", str(tuple(b.shape)), "reshape b")
    expected = b.shape if b.dim() == 3 else (*b.shape[:3], *b.shape[2:])
    _check_shape("a", a, tuple(expected), b)
    if b.shape[1] == 0:
        raise InputError("b", "at least one step", "T = 0", "drop empty sequences")
    if h0 is not None:
        _check_shape("h0", h0, (b.shape[0], *b.shape[2:]), b)


def _check_shape(name: str, x: Tensor, expected: tuple[int, ...], b: Tensor) -> None:
    if tuple(x.shape) != expected:
        remedy = f"make it fit b {tuple(b.shape)}"
        raise InputError(name, str(expected), str(tuple(x.shape)), remedy)
    if x.device != b.device:
        raise InputError(name, f"on {b.device}, like b", f"on {x.device}", "move it")
    if x.dtype != b.dtype or b.dtype not in (torch.float32, torch.float64):
        expected_dtypes = "float32 or float64, the same for a, b and h0"
        got = f"{name} {x.dtype}, b {b.dtype}"
        raise InputError(name, expected_dtypes, got, "cast them, states keep full precision")
