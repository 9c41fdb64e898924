"""State space duality (Dao and Gu, arXiv 2405.21060): a matrix of state that decays by a number.

For each head a state S (N, P) and an output y (P,),

    S[t] = a[t] S[t-1] + sum_r k[t, r] v[t, r]^T,  y[t, r] = S[t]^T q[t, r],

    a[t] = exp(log_decay[t]),

where a reset at t makes a[t] zero. Time is cut into chunks of L steps. Within one, y is attention
whose scores q[t] k[s] are weighted by the decay from s to t; from one to the next the state goes
on. All is matrix products, of L + 2 N numbers a step and number of output: linear in time.
"""

import torch
from torch import Tensor

CHUNK = 64


def ssd(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return y (B, T, R, H, P) and the last state (B, H, N, P).

    Heads come in G groups of neighbours; those of a group share queries and keys. A step has R
    keys with a value each, which are added up, and R queries (1 but for multiple inputs).

    Args:
        query: (B, T, R, G, N).
        key: (B, T, R, G, N).
        value: (B, T, R, H, P).
        log_decay: At most 0, (B, T, H).
        state: The state before the first step, (B, H, N, P).
        reset: Restarts, bool (B, T).
    """
    steps, rank, groups = *value.shape[1:3], query.shape[3]
    size = min(CHUNK, steps)
    query, key, value = (_rows(x, size) for x in (query, key, value))
    value = value.unflatten(2, (groups, -1))
    total = _chunks(log_decay, size).movedim(2, -1).unsqueeze(-1)  # (B, C, H, L, 1)
    together = torch.ones(size, size, dtype=torch.bool, device=value.device).tril()
    whole = goes_on = None
    if reset is None:
        total = total.cumsum(-2)
    else:  # no sum reaches across a reset, so that no gradient does
        segment = _chunks(reset, size).cumsum(-1)  # (B, C, L)
        together = together & (segment.unsqueeze(-1) == segment.unsqueeze(-2))
        together = together.unsqueeze(2)
        total = together.to(total) @ total
        segment = segment.repeat_interleave(rank, -1)
        whole, goes_on = segment == segment[..., -1:], segment == 0
        together = together.unsqueeze(2)
    total = total.repeat_interleave(rank, -2).unflatten(2, (groups, -1))
    together = together.repeat_interleave(rank, -1).repeat_interleave(rank, -2)
    weight = (total - total.mT).masked_fill(~together, -torch.inf).exp()
    y = ((query @ key.mT).unsqueeze(3) * weight) @ value
    to_end = _where(whole, (total[..., -1:, :] - total).exp())
    added = key.mT.unsqueeze(3) @ (value * to_end)  # (B, C, G, H / G, N, P)
    from_begin = _where(goes_on, total.exp())
    states = [state.unflatten(1, (groups, -1))]
    for kept, more in zip(from_begin[..., -1:, :].unbind(1), added.unbind(1), strict=True):
        states.append(torch.addcmul(more, kept, states[-1]))
    before = torch.stack(states[:-1], dim=1)
    y = y + (query.unsqueeze(3) @ before) * from_begin
    y = y.flatten(2, 3).unflatten(-2, (-1, rank)).movedim(2, -2)  # (B, C, L, R, H, P)
    return y.flatten(1, 2)[:, :steps], states[-1].flatten(1, 2)


def ssd_step(
    query: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Advance one step: shapes as for ``ssd``, without T; a reset is a state of zeros."""
    heads = value.shape[2] // query.shape[2]
    query, key = (x.repeat_interleave(heads, 2).transpose(1, 2) for x in (query, key))
    added = key.mT @ value.transpose(1, 2)
    state = torch.addcmul(added, log_decay.exp()[..., None, None], state)
    return (query @ state).transpose(1, 2), state


def ssd_loop(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_decay: Tensor,
    state: Tensor,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what ``ssd`` does, step by step: its truth."""
    outputs = []
    for t in range(value.shape[1]):
        before = state if reset is None else torch.where(reset[:, t, None, None, None], 0, state)
        y, state = ssd_step(query[:, t], key[:, t], value[:, t], log_decay[:, t], before)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def _chunks(x: Tensor, size: int) -> Tensor:
    """Return x (B, T, ...) as (B, C, L, ...), zeros behind its end: steps that change nothing."""
    beyond = -x.shape[1] % size
    if beyond:
        x = torch.cat([x, x.new_zeros(x.shape[0], beyond, *x.shape[2:])], dim=1)
    return x.unflatten(1, (-1, size))


def _rows(x: Tensor, size: int) -> Tensor:
    """Return x (B, T, R, heads, ...) as (B, C, heads, L R, ...)."""
    return _chunks(x, size).flatten(2, 3).movedim(2, 3)


def _where(there: Tensor | None, x: Tensor) -> Tensor:
    """Return x (B, C, G, H / G, L R, 1) where the rows (B, C, L R) are there, else 0."""
    return x if there is None else torch.where(there[:, :, None, None, :, None], x, 0)
