"""The twins of state space duality: the equation step by step, and in chunks as torch has it."""

import torch
from torch import Tensor

CHUNK = 64
"""Steps of a chunk: within one, y is attention whose scores are weighted by decays."""


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
    """Do what ``ssd`` does, step by step: its truth."""
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
    """Do what ``ssd`` does by matrix products, of L + 2 N numbers a step and number of output."""
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
    total = total.repeat_interleave(rank, 2).unflatten(-1, (groups, -1, 1)).movedim(3, 2)
    heads = total.movedim(-2, -3)  # (B, C, G, H / G, L R, 1)
    weight = (heads - heads.mT).masked_fill(~_ranks(together, rank), -torch.inf).exp()
    scores = (query @ key.mT).unsqueeze(3)
    y = ((scores * weight) @ value.movedim(-2, -3)).movedim(-2, -3)
    to_end = _where(whole, (total[:, :, :, -1:] - total).exp(), rank)
    added = (key.mT @ (value * to_end).flatten(-2)).unflatten(-1, value.shape[-2:])
    from_begin = _where(goes_on, total.exp(), rank)
    states = [state.unflatten(1, (groups, -1)).movedim(2, 3)]  # (B, G, N, H / G, P)
    for kept, more in zip(from_begin[:, :, :, -1:].unbind(1), added.unbind(1), strict=True):
        states.append(torch.addcmul(more, kept, states[-1]))
    before = torch.stack(states[:-1], dim=1).flatten(-2)
    y = torch.addcmul(y, (query @ before).view_as(value), from_begin)
    y = y.movedim(2, 3).flatten(3, 4).unflatten(2, (-1, rank))  # (B, C, L, R, H, P)
    return y.flatten(1, 2)[:, :steps], states[-1].movedim(3, 2).flatten(1, 2)


def _chunks(x: Tensor, size: int) -> Tensor:
    """Return x (B, T, ...) as (B, C, L, ...), zeros behind its end: steps that change nothing."""
    beyond = -x.shape[1] % size
    if beyond:
        x = torch.cat([x, x.new_zeros(x.shape[0], beyond, *x.shape[2:])], dim=1)
    return x.unflatten(1, (-1, size))


def _decays(
    log_decay: Tensor, reset: Tensor | None, size: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return what the decays (B, C, L, H) of a chunk add up to, and which steps are together.

    Returns:
        Sums from the chunk's begin, or the last reset, on, (B, C, L, H); which steps s count at t,
        bool (B or 1, C or 1, L, L); and with resets, from which steps none follows in the chunk,
        and which steps none precedes, bool (B, C, L).
    """
    together = torch.ones(size, size, dtype=torch.bool, device=log_decay.device).tril()
    if reset is None:
        return log_decay.cumsum(2), together.expand(1, 1, -1, -1), None, None
    segment = _chunks(reset, size).cumsum(-1)
    together = together & (segment.unsqueeze(-1) == segment.unsqueeze(-2))
    log_decay = log_decay.masked_fill(_chunks(reset, size).unsqueeze(-1), 0)
    total = together.to(log_decay) @ log_decay  # no sum reaches across a reset, nor does a gradient
    return total, together, segment == segment[..., -1:], segment == 0


def _rows(x: Tensor, size: int, groups: int) -> Tensor:
    """Return x (B, T, R, heads, ...) as (B, C, G, L R, heads / G, ...)."""
    return _chunks(x, size).flatten(2, 3).unflatten(3, (groups, -1)).movedim(3, 2)


def _ranks(together: Tensor, rank: int) -> Tensor:
    """Return which rows (L R, L R) are together, from which steps are."""
    return together.repeat_interleave(rank, -1).repeat_interleave(rank, -2)[:, :, None, None]


def _where(there: Tensor | None, x: Tensor, rank: int) -> Tensor:
    """Return x (B, C, G, L R, ...) where the steps (B, C, L) are there, else 0."""
    if there is None:
        return x
    rows = there.repeat_interleave(rank, -1)[:, :, None, :, None, None]
    return torch.where(rows, x, 0)
