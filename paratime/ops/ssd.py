"""State space duality (Dao and Gu, arXiv 2405.21060), as a torch operator.

For each head a state S (N, P), a matrix that decays by a number, and an output y (P,),

    S[t] = exp(log_decay[t]) S[t-1] + weight[t] sum_r k[t, r] v[t, r]^T,
    y[t, r] = S[t]^T q[t, r] + skip v[t, r],

where a reset at t makes the first factor zero. ``paratime::ssd`` and its gradient keep what a chunk
of time needs in the cache of a CPU. Everywhere else (on CUDA, under torch.compile and for second
derivatives) the same products are torch's: ``ssd_reference.py``, the truth of the kernels, too.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops import native, shapes
from paratime.ops.fallback import differentiate
from paratime.ops.ssd_reference import ssd_chunks

ROWS, HEADS = 64, 4
"""Rows of a chunk, and heads of a tile: ``kRowsOfChunk`` and ``kHeads`` of csrc/cpu/chunk.h."""

TENSORS = 7
"""Inputs that have gradients; then comes reset."""


def ssd(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    log_decay: Tensor,
    skip: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return y (B, T, R, H, P) and the last state (B, H, N, P).

    Heads come in G groups of neighbours; those of a group share queries and keys. A step has R
    keys with a value each, which are added up, and R queries (1 but for multiple inputs). All
    inputs are float32, or all float64.

    Args:
        query: (B, T, R, G, N).
        key: (B, T, R, G, N).
        value: (B, T, R, H, P).
        weight: What a value counts in the state, (B, T, H).
        log_decay: At most 0, (B, T, H).
        skip: What a value counts in its own output, (H,).
        state: The state before the first step, (B, H, N, P).
        reset: Restarts, bool (B, T).

    A number that is not finite may spoil what else is in its sequence, across resets, too: products
    weigh by zero what a step may not read.

    Raises:
        InputError: Shapes, dtypes or devices do not fit.
    """
    _check(query, key, value, weight, log_decay, skip, state, reset)
    tensors = query, key, value, weight, log_decay, skip, state
    if not _runs_on(*tensors):
        return ssd_chunks(*tensors, reset)
    if torch.is_grad_enabled() or type(value) is not Tensor:
        return _ssd(*tensors, reset)[:2]
    return _run(None, *tensors, reset)


def _check(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> None:
    """Refuse what a kernel would read beyond; it sees nothing but pointers."""
    if value.dim() != 5 or query.dim() != 5 or value.shape[3] % max(1, query.shape[3]):
        expected = "(B, T, R, H, P), and a query (B, T, R, G, N) whose G divides H"
        got = f"{tuple(value.shape)}, {tuple(query.shape)}"
        raise InputError("value", expected, got, "reshape them")
    (batch, steps, rank, heads, size), weight, log_decay, skip, state, reset = value.shape, *others
    fits = partial(shapes.fits, dtype=value.dtype, device=value.device, like="value")
    for name, x in (("query", query), ("key", key)):
        fits(name, x, (batch, steps, rank, *query.shape[3:]))
    fits("weight", weight, (batch, steps, heads))
    fits("log_decay", log_decay, (batch, steps, heads))
    fits("skip", skip, (heads,))
    fits("state", state, (batch, heads, query.shape[4], size))
    fits("reset", reset, (batch, steps), dtype=torch.bool)


def _runs_on(*tensors: Tensor) -> bool:
    """Return whether the operator computes this here."""
    value = tensors[2]
    if value.device.type != "cpu" or torch.compiler.is_compiling() or not value.numel():
        return False
    found = native.function(f"ssd_{native.FORMATS.get(value.dtype)}") is not None
    return found and not native.transformed(*tensors)


def _run(kept: Tensor | None, *inputs: Any) -> tuple[Tensor, Tensor]:
    value, state = inputs[2], inputs[6]
    y, final = value.new_empty(value.shape), state.new_empty(state.shape)
    kernel = native.function(f"ssd_{native.FORMATS[value.dtype]}")
    assert kernel is not None
    native.call(kernel, *_problem(*inputs), y, kept, final)
    return y, final


def _native(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    kept = _kept(*inputs)
    return *_run(kept, *inputs), kept


def _kept(*inputs: Any) -> Tensor:
    """Return an empty tensor for the states before each chunk, (B, chunks, H, N, P)."""
    value, state = inputs[2], inputs[6]
    steps = max(1, ROWS // value.shape[2])
    return state.new_empty(len(value), -(-value.shape[1] // steps), *state.shape[1:])


_ssd = torch.library.custom_op(
    "paratime::ssd",
    _native,
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value, Tensor weight, Tensor log_decay, Tensor skip,"
    " Tensor state, Tensor? reset) -> (Tensor, Tensor, Tensor)",
)


@_ssd.register_fake
def _(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    value, state = inputs[2], inputs[6]
    return value.new_empty(value.shape), state.new_empty(state.shape), _kept(*inputs)


def _native_backward(d: Tensor, d_final: Tensor, kept: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    query, key, value, weight, log_decay, _, state, _ = inputs
    kernel = native.function(f"ssd_backward_{native.FORMATS[value.dtype]}")
    assert kernel is not None
    heads, groups = value.shape[3], query.shape[3]
    tiles = -(-(heads // groups) // HEADS)
    d_query, d_key = (x.new_empty(tiles, *x.shape) for x in (query, key))
    d_value, d_weight, d_decay = (x.new_empty(x.shape) for x in (value, weight, log_decay))
    d_skip, d_state = state.new_empty(len(value), heads), state.new_empty(state.shape)
    incoming = kept, d.contiguous(), d_final.contiguous()
    found = d_query, d_key, d_value, d_weight, d_decay, d_skip, d_state
    native.call(kernel, *_problem(*inputs), *incoming, *found)
    return d_query.sum(0), d_key.sum(0), d_value, d_weight, d_decay, d_skip.sum(0), d_state


_ssd_backward = torch.library.custom_op(
    "paratime::ssd_backward",
    _native_backward,
    mutates_args=(),
    schema="(Tensor d, Tensor d_final, Tensor kept, Tensor query, Tensor key, Tensor value,"
    " Tensor weight, Tensor log_decay, Tensor skip, Tensor state, Tensor? reset)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)


@_ssd_backward.register_fake
def _(d: Tensor, d_final: Tensor, kept: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in inputs[:TENSORS])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*inputs, output[2])


def _gradient(ctx: Any, d: Tensor, d_final: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, kept = ctx.saved_tensors
    if torch.is_grad_enabled() or not _runs_on(*inputs[:TENSORS]):
        return *differentiate(ssd_chunks, inputs, TENSORS, (d, d_final)), None
    return *_ssd_backward(d, d_final, kept, *inputs), None


_ssd.register_autograd(_gradient, setup_context=_save)


def _problem(*inputs: Any) -> tuple[Any, ...]:
    query, key, value = (_in_rows(x) for x in inputs[:3])
    batch, steps, rank, heads, size = value.shape
    sizes = batch, steps, rank, query.shape[3], heads, query.shape[4], size
    apart = query.stride(0), query.stride(1), key.stride(0), key.stride(1)
    rest = (None if t is None else t.contiguous() for t in inputs[3:])
    return *sizes, query, key, *apart, value, value.stride(0), value.stride(1), *rest


def _in_rows(x: Tensor) -> Tensor:
    """Return x (B, T, ...) as steps of neighbouring numbers, which may lie apart."""
    return x if x[0, 0].is_contiguous() else x.contiguous()
