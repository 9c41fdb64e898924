"""State space duality (Dao and Gu, arXiv 2405.21060), as a torch operator.

For each head a state S (N, P), a matrix that decays by a number, and an output y (P,),

    S[t] = exp(log_decay[t]) S[t-1] + weight[t] sum_r k[t, r] v[t, r]^T,
    y[t, r] = S[t]^T q[t, r] + skip v[t, r],

where a reset at t makes the first factor zero. The kernels of ``paratime::ssd`` and its gradient
keep what a chunk of time needs in the cache of a CPU. Their twin, ``ssd_chunks``, computes the same
products in torch; ``ssd_loop`` is the equation itself, and the truth of both.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops.operator import Kernel, Operator, Tensors, check_tensor, is_open

ROWS, HEADS = 64, 4
"""Rows of a chunk, and heads of a tile: ``kRowsOfChunk`` and ``kHeads`` of csrc/cpu/chunk.h."""

CHUNK = 64
"""Steps of a chunk: within one, y is attention whose scores are weighted by decays."""

LEAST = -1000.0
"""Least log-decay that sums add up: exp of it is zero in float64, and so is its gradient. Sums of
greater values keep the digits of their neighbours, and minus infinity would have none."""


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
        log_decay: At most 0, (B, T, H); minus infinity forgets all.
        skip: What a value counts in its own output, (H,).
        state: The state before the first step, (B, H, N, P).
        reset: Restarts, bool (B, T).

    A value that is not finite may spoil the rest of its sequence, across resets too: products weigh
    by zero what a step may not read.

    Raises:
        InputError: Shapes, dtypes or devices do not fit.
    """
    _check(query, key, value, weight, log_decay, skip, state, reset)
    log_decay = log_decay.clamp(min=LEAST)
    if reset is not None:
        state = state.masked_fill(reset[:, 0, None, None, None], 0)
    y, final = _ssd(query, key, value, weight, log_decay, skip, state, reset)
    return y, final


def _check(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> None:
    """Refuse what a kernel would read beyond; it sees nothing but pointers."""
    if value.dim() != 5 or query.dim() != 5 or value.shape[3] % max(1, query.shape[3]):
        raise InputError(
            "value",
            expected="(B, T, R, H, P), and a query (B, T, R, G, N) whose G divides H",
            got=f"{tuple(value.shape)}, {tuple(query.shape)}",
            remedy="reshape them",
        )
    (batch, steps, rank, heads, size), weight, log_decay, skip, state, reset = value.shape, *others
    fits = partial(check_tensor, dtype=value.dtype, device=value.device, like="value")
    for name, x in (("query", query), ("key", key)):
        fits(name, x, (batch, steps, rank, *query.shape[3:]))
    fits("weight", weight, (batch, steps, heads))
    fits("log_decay", log_decay, (batch, steps, heads))
    fits("skip", skip, (heads,))
    fits("state", state, (batch, heads, query.shape[4], size))
    fits("reset", reset, (batch, steps), dtype=torch.bool)


class _SSD(Operator):
    name = "ssd"
    schema = (
        "Tensor query, Tensor key, Tensor value, Tensor weight, Tensor log_decay, Tensor skip, "
        "Tensor state, Tensor? reset"
    )
    tensors = 7
    like = (2, 6)

    def twin(self, *inputs: Any) -> tuple[Tensor, Tensor]:
        return ssd_chunks(*inputs)

    def traceable(self, *inputs: Any) -> bool:
        """Return whether the number of chunks is known: each of them is a part of the graph."""
        return not is_open(inputs[2].shape[1])

    def keep(self, *inputs: Any) -> Tensor:
        """Return an empty tensor for the states before each chunk, flat (B chunks H N P,).

        Flat, since an export may leave the number of chunks open, and torch has axes of one size
        apart.
        """
        value, state = inputs[2], inputs[6]
        steps = max(1, ROWS // value.shape[2])
        return state.new_empty(state.numel() * -(-value.shape[1] // steps))

    def forward(self, kernel: Kernel, outputs: Tensors, kept: Any, *inputs: Any) -> None:
        y, final = outputs
        kernel(*_problem(*inputs), y, kept, final)

    def backward(self, kernel: Kernel, grads: Tensors, kept: Any, *inputs: Any) -> Tensors:
        query, key, value, weight, log_decay, _, state, _ = inputs
        heads, groups = value.shape[3], query.shape[3]
        tiles = -(-(heads // groups) // HEADS)
        d_query, d_key = (x.new_empty(tiles, *x.shape) for x in (query, key))
        d_value, d_weight, d_decay = (x.new_empty(x.shape) for x in (value, weight, log_decay))
        d_skip, d_state = state.new_empty(len(value), heads), state.new_empty(state.shape)
        found = d_query, d_key, d_value, d_weight, d_decay, d_skip, d_state
        kernel(*_problem(*inputs), kept, *grads, *found)
        return d_query.sum(0), d_key.sum(0), d_value, d_weight, d_decay, d_skip.sum(0), d_state


_ssd = _SSD()


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


def ssd_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    log_decay: Tensor,
    skip: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor]:
    """Advance one step: shapes as for ``ssd``, without T; a reset is a state of zeros."""
    heads = value.shape[2] // query.shape[2]
    query, key = (x.repeat_interleave(heads, 2).transpose(1, 2) for x in (query, key))
    added = key.mT @ (value * weight[:, None, :, None]).transpose(1, 2)
    state = torch.addcmul(added, log_decay.exp()[..., None, None], state)
    return torch.addcmul((query @ state).transpose(1, 2), skip.unsqueeze(-1), value), state


def ssd_loop(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    log_decay: Tensor,
    skip: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute ``ssd`` step by step: its truth."""
    outputs = []
    for t in range(value.shape[1]):
        before = state if reset is None else torch.where(reset[:, t, None, None, None], 0, state)
        q, k, v, w, decay = (x[:, t] for x in (query, key, value, weight, log_decay))
        y, state = ssd_step(q, k, v, w, decay, skip, before)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def ssd_chunks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    weight: Tensor,
    log_decay: Tensor,
    skip: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute ``ssd`` by matrix products: L + 2 N values for each step and output channel."""
    y, state = _products(query, key, value * weight[:, :, None, :, None], log_decay, state, reset)
    return torch.addcmul(y, skip.unsqueeze(-1), value), state


def _products(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    state: Tensor,
    reset: Tensor | None,
) -> tuple[Tensor, Tensor]:
    steps, rank, groups = *value.shape[1:3], query.shape[3]
    size = min(CHUNK, steps)
    query, key = (_rows(x, size, groups).squeeze(-2) for x in (query, key))  # (B, C, G, L R, N)
    value = _rows(value, size, groups)  # (B, C, G, L R, H / G, P)
    total, together, whole, goes_on = _decays(_chunks(log_decay, size), reset, size)
    total = total.unflatten(-1, (groups, -1)).movedim(3, 2)  # (B, C, G, L, H / G)
    heads = total.mT.unsqueeze(-1)
    weight = _decayed(heads - heads.mT, together[:, :, None, None], value.dtype)
    scores = (query @ key.mT).unsqueeze(3)
    y = (_weighted(scores, weight, rank) @ value.movedim(-2, -3)).movedim(-2, -3)
    to_end = _decayed(total[:, :, :, -1:] - total, _in_groups(whole), value.dtype)
    to_end, from_begin = (
        x.repeat_interleave(rank, 3).unsqueeze(-1)  # (B, C, G, L R, H / G, 1)
        for x in (to_end, _decayed(total, _in_groups(goes_on), value.dtype))
    )
    added = (key.mT @ (value * to_end).flatten(-2)).unflatten(-1, value.shape[-2:])
    states = [state.unflatten(1, (groups, -1)).movedim(2, 3)]  # (B, G, N, H / G, P)
    for kept, more in zip(from_begin[:, :, :, -1:].unbind(1), added.unbind(1), strict=True):
        states.append(torch.addcmul(more, kept, states[-1]))
    before = torch.stack(states[:-1], dim=1).flatten(-2)
    y = torch.addcmul(y, (query @ before).view_as(value), from_begin)
    y = y.movedim(2, 3).flatten(3, 4).unflatten(2, (-1, rank))  # (B, C, L, R, H, P)
    return y.flatten(1, 2)[:, :steps], states[-1].movedim(3, 2).flatten(1, 2)


def _chunks(x: Tensor, size: int) -> Tensor:
    """Return x (B, T, ...) as (B, C, L, ...), zeros after its end: steps that change nothing."""
    beyond = -x.shape[1] % size
    if beyond:
        x = torch.cat([x, x.new_zeros(x.shape[0], beyond, *x.shape[2:])], dim=1)
    return x.unflatten(1, (-1, size))


def _decays(
    log_decay: Tensor, reset: Tensor | None, size: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return what the decays (B, C, L, H) of a chunk add up to, and which steps are together.

    Returns:
        Sums from the chunk's begin, or the last reset, on, float64 (B, C, L, H), since a decay of
        hundreds hides one of hundredths in float32; which steps s count at t, bool (B or 1, C or 1,
        L, L); and with resets, from which steps none follows in the chunk, and which steps none
        precedes, bool (B, C, L).
    """
    together = torch.ones(size, size, dtype=torch.bool, device=log_decay.device).tril()
    if reset is None:
        total = log_decay.cumsum(2, dtype=torch.float64)
        return total, together.expand(1, 1, -1, -1), None, None
    segment = _chunks(reset, size).cumsum(-1)
    together = together & (segment.unsqueeze(-1) == segment.unsqueeze(-2))
    log_decay = log_decay.double().masked_fill(_chunks(reset, size).unsqueeze(-1), 0)
    total = together.double() @ log_decay  # no sum reaches across a reset, nor does a gradient
    return total, together, segment == segment[..., -1:], segment == 0


def _decayed(total: Tensor, there: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return exp of sums of log-decays where a mask is True, else 0.

    Sums are masked, not their exp: that of a sum across a reset may be infinite, and its gradient,
    0 times infinity, is not a number.
    """
    total = total.to(dtype)
    return (total if there is None else total.masked_fill(~there, -torch.inf)).exp()


def _rows(x: Tensor, size: int, groups: int) -> Tensor:
    """Return x (B, T, R, heads, ...) as (B, C, G, L R, heads / G, ...)."""
    return _chunks(x, size).flatten(2, 3).unflatten(3, (groups, -1)).movedim(3, 2)


def _weighted(scores: Tensor, weight: Tensor, rank: int) -> Tensor:
    """Weigh scores (..., L R, L R) of rows by weights (..., L, L) of their steps."""
    if rank == 1:
        return scores * weight
    of_keys = weight.repeat_interleave(rank, -1).unsqueeze(-2)
    return (scores.unflatten(-2, (-1, rank)) * of_keys).flatten(-3, -2)


def _in_groups(there: Tensor | None) -> Tensor | None:
    """Return a mask (B, C, L) as one of (B, C, G, L, H / G)."""
    return None if there is None else there[:, :, None, :, None]
