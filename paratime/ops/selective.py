"""The selective scan of Mamba (arXiv 2312.00752), as a torch operator.

The kernels of ``paratime::selective_scan`` and its gradient keep the N values of a channel's state
in the cache of a CPU, so that the (B, T, N, D) states never exist. For their twin they do, and
``paratime::scan`` runs over them.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops.operator import Kernel, Operator, Tensors, check_tensor
from paratime.ops.scan import scan

STEPS, CHANNELS = 32, 64
"""Steps before which the kernel keeps states, and channels of a tile: ``kSteps`` and ``kChannels``
of csrc/cpu/selective.cpp."""


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
    inputs = x, dt, a, b, c, skip, gate, h0, reset, lengths
    _check(*inputs)
    y, final = _scan(*inputs)
    return y, final


def _check(x: Tensor, dt: Tensor, a: Tensor, *others: Any) -> None:
    """Refuse what a kernel would read beyond; it sees nothing but pointers."""
    if x.dim() != 3 or a.dim() != 2:
        raise InputError(
            "x",
            expected="(B, T, D), and a (N, D)",
            got=f"{tuple(x.shape)}, {tuple(a.shape)}",
            remedy="reshape them",
        )
    b, c, skip, gate, h0, reset, lengths = others
    (batch, steps, channels), size = x.shape, len(a)
    fits = partial(check_tensor, device=x.device, like="x")
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
    return y if beyond is None else y.masked_fill(beyond, 0), h[:, -1].clone()


class _Selective(Operator):
    name = "selective_scan"
    schema = (
        "Tensor x, Tensor dt, Tensor a, Tensor b, Tensor c, Tensor skip, Tensor gate, Tensor h0, "
        "Tensor? reset, Tensor? lengths"
    )
    tensors = 8
    like = (0, 7)

    def twin(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        return _reference(*inputs)

    def keep(self, *inputs: Any) -> Tensor:
        """Return an empty tensor for the states before each block, (B, blocks, N, D)."""
        x, h0 = inputs[0], inputs[7]
        return h0.new_empty(len(x), -(-x.shape[1] // STEPS), *h0.shape[1:])

    def forward(self, kernel: Kernel, outputs: Tensors, kept: Any, *inputs: Any) -> None:
        y, final = outputs
        kernel(*_problem(*inputs), y, kept, final)

    def backward(self, kernel: Kernel, grads: Tensors, kept: Any, *inputs: Any) -> Tensors:
        x, b, h0 = inputs[0], inputs[3], inputs[7]
        tiles = -(-x.shape[2] // CHANNELS)
        d_x, d_dt, d_gate = (x.new_empty(x.shape) for _ in range(3))
        d_skip, d_h0 = x.new_empty(len(x), x.shape[2]), h0.new_empty(h0.shape)
        d_a, (d_b, d_c) = h0.new_empty(h0.shape), b.new_empty(2, tiles, *b.shape).unbind()
        found = d_x, d_dt, d_a, d_b, d_c, d_skip, d_gate, d_h0
        kernel(*_problem(*inputs), kept, *grads, *found)
        return d_x, d_dt, d_a.sum(0), d_b.sum(0), d_c.sum(0), d_skip.sum(0), d_gate, d_h0


_scan = _Selective()


def _problem(*inputs: Any) -> tuple[Any, ...]:
    *coefficients, gate, h0, reset, lengths = inputs
    x, b = coefficients[0], coefficients[3]
    gate = gate if gate.stride(-1) == 1 else gate.contiguous()  # its rows may lie apart
    rest = (None if t is None else t.contiguous() for t in (h0, reset, lengths))
    first = (t.contiguous() for t in coefficients)
    return *x.shape, b.shape[2], *first, gate, gate.stride(0), gate.stride(1), *rest
