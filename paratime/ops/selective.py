"""The selective scan of Mamba (arXiv 2312.00752), as a torch operator.

``paratime::selective_scan`` and its gradient keep the N numbers of state of a channel in the cache
of a CPU, so that the (B, T, N, D) states never exist. Everywhere else (on CUDA, under torch.compile
and for second derivatives) they do, and ``paratime::scan`` runs over them: the truth of the
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
from paratime.ops.scan import scan

STEPS, CHANNELS = 32, 64
"""Steps before which the kernel keeps states, and channels of a tile: ``kSteps`` and ``kChannels``
of csrc/cpu/selective.cpp."""

TENSORS = 8
"""Inputs that have gradients: x, dt, a, b, c, skip, gate and h0; then come reset and lengths."""


def selective_scan(
    x: Tensor,
    dt: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    skip: Tensor,
    gate: Tensor,
    h0: Tensor,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return y (B, T, D) and the state after the last valid step, (B, N, D).

    They are h[t] = exp(dt[t] a) h[t-1] + dt[t] x[t] b[t], with h[t-1] = 0 at a reset, and
    y[t] = (sum_n c[t, n] h[t, n] + skip x[t]) silu(gate[t]). All inputs are float32, or all
    float64.

    Args:
        x: (B, T, D).
        dt: Sizes of steps, at least 0, (B, T, D).
        a: Below 0, (N, D).
        b: How the input enters the state, (B, T, N).
        c: How the state is read, (B, T, N).
        skip: How the input is read, (D,).
        gate: (B, T, D).
        h0: The state before the first step, (B, N, D).
        reset: Restarts, bool (B, T).
        lengths: Valid steps of each sequence, int64 (B,); outputs beyond them are zero.

    Raises:
        InputError: Shapes, dtypes or devices do not fit.
    """
    tensors = x, dt, a, b, c, skip, gate, h0
    inputs = *tensors, reset, lengths
    _check(*inputs)
    if not _runs_on(*tensors):
        return _reference(*inputs)
    if torch.is_grad_enabled() or type(x) is not Tensor:
        return _scan(*inputs)[:2]
    return _run(None, *inputs)


def _check(x: Tensor, dt: Tensor, a: Tensor, *others: Any) -> None:
    """Refuse what a kernel would read beyond; it sees nothing but pointers."""
    if x.dim() != 3 or a.dim() != 2:
        expected, got = "(B, T, D), and a (N, D)", f"{tuple(x.shape)}, {tuple(a.shape)}"
        raise InputError("x", expected, got, "reshape them")
    b, c, skip, gate, h0, reset, lengths = others
    (batch, steps, channels), size = x.shape, len(a)
    fits = partial(shapes.fits, device=x.device, like="x")
    fits("dt", dt, (batch, steps, channels), x.dtype)
    fits("a", a, (size, channels), x.dtype)
    fits("b", b, (batch, steps, size), x.dtype)
    fits("c", c, (batch, steps, size), x.dtype)
    fits("skip", skip, (channels,), x.dtype)
    fits("gate", gate, (batch, steps, channels), x.dtype)
    fits("h0", h0, (batch, size, channels), x.dtype)
    fits("reset", reset, (batch, steps), torch.bool)
    fits("lengths", lengths, (batch,), torch.int64)


def _reference(*inputs: Any) -> tuple[Tensor, Tensor]:
    x, dt, a, b, c, skip, gate, h0, reset, lengths = inputs
    decay = (dt.unsqueeze(-2) * a).exp()  # (B, T, N, D)
    added = (dt * x).unsqueeze(-2) * b.unsqueeze(-1)
    if reset is not None:
        decay = decay.masked_fill(reset[..., None, None], 0)
    beyond = None
    if lengths is not None:
        beyond = (torch.arange(x.shape[1], device=x.device) >= lengths.unsqueeze(-1))[..., None]
        decay = decay.masked_fill(beyond.unsqueeze(-1), 1)
        added = added.masked_fill(beyond.unsqueeze(-1), 0)
    h = scan(decay.flatten(-2), added.flatten(-2), h0.flatten(-2)).view_as(added)
    y = torch.addcmul((h * c.unsqueeze(-1)).sum(-2), skip, x) * functional.silu(gate)
    return y if beyond is None else y.masked_fill(beyond, 0), h[:, -1]


def _runs_on(*tensors: Tensor) -> bool:
    """Return whether the operator computes this here."""
    x = tensors[0]
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not x.numel():
        return False
    found = native.function(f"selective_scan_{native.FORMATS.get(x.dtype)}") is not None
    return found and not native.transformed(*tensors)


def _run(kept: Tensor | None, *inputs: Any) -> tuple[Tensor, Tensor]:
    x, h0 = inputs[0], inputs[7]
    y, final = x.new_empty(x.shape), h0.new_empty(h0.shape)
    kernel = native.function(f"selective_scan_{native.FORMATS[x.dtype]}")
    assert kernel is not None
    native.call(kernel, *_problem(*inputs), y, kept, final)
    return y, final


def _native(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    kept = _kept(*inputs)
    return *_run(kept, *inputs), kept


def _kept(*inputs: Any) -> Tensor:
    """Return an empty tensor for the states before each block, (B, blocks, N, D)."""
    x, h0 = inputs[0], inputs[7]
    return h0.new_empty(len(x), -(-x.shape[1] // STEPS), *h0.shape[1:])


_scan = torch.library.custom_op(
    "paratime::selective_scan",
    _native,
    mutates_args=(),
    schema="(Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, Tensor skip, Tensor gate,"
    " Tensor h0, Tensor? reset, Tensor? lengths) -> (Tensor, Tensor, Tensor)",
)


@_scan.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    return (
        inputs[0].new_empty(inputs[0].shape),
        inputs[7].new_empty(inputs[7].shape),
        _kept(*inputs),
    )


def _native_backward(d: Tensor, d_final: Tensor, kept: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    x, b, h0 = inputs[0], inputs[3], inputs[7]
    kernel = native.function(f"selective_scan_backward_{native.FORMATS[x.dtype]}")
    assert kernel is not None
    tiles = -(-x.shape[2] // CHANNELS)
    d_x, d_dt, d_gate = (x.new_empty(x.shape) for _ in range(3))
    d_skip, d_h0 = x.new_empty(len(x), x.shape[2]), h0.new_empty(h0.shape)
    d_a, (d_b, d_c) = h0.new_empty(h0.shape), b.new_empty(2, tiles, *b.shape).unbind()
    incoming = kept, d.contiguous(), d_final.contiguous()
    native.call(
        kernel, *_problem(*inputs), *incoming, d_x, d_dt, d_a, d_b, d_c, d_skip, d_gate, d_h0
    )
    return d_x, d_dt, d_a.sum(0), d_b.sum(0), d_c.sum(0), d_skip.sum(0), d_gate, d_h0


_scan_backward = torch.library.custom_op(
    "paratime::selective_scan_backward",
    _native_backward,
    mutates_args=(),
    schema="(Tensor d, Tensor d_final, Tensor kept, Tensor x, Tensor dt, Tensor a, Tensor b,"
    " Tensor c, Tensor skip, Tensor gate, Tensor h0, Tensor? reset, Tensor? lengths)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_scan_backward.register_fake
def _(d: Tensor, d_final: Tensor, kept: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in inputs[:TENSORS])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*inputs, output[2])


def _gradient(ctx: Any, d: Tensor, d_final: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, kept = ctx.saved_tensors
    if torch.is_grad_enabled() or not _runs_on(*inputs[:TENSORS]):
        return *differentiate(_reference, inputs, TENSORS, (d, d_final)), None, None
    return *_scan_backward(d, d_final, kept, *inputs), None, None


_scan.register_autograd(_gradient, setup_context=_save)


def _problem(*inputs: Any) -> tuple[Any, ...]:
    *coefficients, gate, h0, reset, lengths = inputs
    x, b = coefficients[0], coefficients[3]
    gate = gate if gate.stride(-1) == 1 else gate.contiguous()  # its rows may lie apart
    rest = (None if t is None else t.contiguous() for t in (h0, reset, lengths))
    first = (t.contiguous() for t in coefficients)
    return *x.shape, b.shape[2], *first, gate, gate.stride(0), gate.stride(1), *rest
