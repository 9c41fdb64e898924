"""The linear recurrence in plain torch: the loop that defines it, and a parallel scan."""

import torch
from torch import Tensor

from paratime.ops import blocks


def apply(a: Tensor, h: Tensor) -> Tensor:
    """Apply a transition to a state; a block transition has one dimension more than the state."""
    return blocks.matvec(a, h) if a.dim() > h.dim() else a * h


def scan_loop(a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Run h[t] = a[t] h[t-1] + b[t] one step after another: the truth of every other scan.

    A transition of one number that is zero forgets a state that is no number.
    """
    h = torch.zeros_like(b[:, 0]) if h0 is None else h0
    states = [h] * b.shape[1]
    order = range(b.shape[1])
    for t in reversed(order) if reverse else order:
        if a.dim() == b.dim():
            h = h.masked_fill((a[:, t] == 0) & ~h.isfinite(), 0)
        h = apply(a[:, t], h) + b[:, t]
        states[t] = h
    return torch.stack(states, dim=1)


def scan_odd_even(
    a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False
) -> Tensor:
    """Run the same recurrence in 2 log2(T) parallel steps and about five times the loop's work.

    Odd-even (cyclic) reduction. Two neighbouring steps make one:

        h[2i+1] = (a[2i+1] a[2i]) h[2i-1] + (a[2i+1] b[2i] + b[2i+1]),

    a recurrence of half the length over the odd states. Once that is solved, each even state
    follows from the odd state before it.
    """
    if reverse:
        return scan_odd_even(a.flip(1), b.flip(1), h0).flip(1)
    if h0 is not None:
        first = apply(a[:, 0], h0) + b[:, 0]
        b = torch.cat([first.unsqueeze(1), b[:, 1:]], dim=1)
    return _reduce(a, b)


def scan_safe(a: Tensor, b: Tensor, h0: Tensor | None = None, *, reverse: bool = False) -> Tensor:
    """Run the parallel scan; where a product of transitions overflowed, run the loop.

    The loop multiplies a transition with the state it meets, which may be zero; the parallel scan
    multiplies transitions with each other first, and infinity times zero is not a number.
    """
    h = scan_odd_even(a, b, h0, reverse=reverse)
    if not torch.isfinite(h).all():
        return scan_loop(a, b, h0, reverse=reverse)
    return h.clone() if h is b else h


def _reduce(a: Tensor, b: Tensor) -> Tensor:
    """Solve with zero initial state; a[:, 0] is never used."""
    steps = b.shape[1]
    if steps <= 1:
        return b
    pairs = steps // 2
    a_even, b_even = a[:, 0 : 2 * pairs : 2], b[:, 0 : 2 * pairs : 2]
    a_odd, b_odd = a[:, 1::2], b[:, 1::2]
    compose = blocks.matmul if a.dim() > b.dim() else torch.mul
    odd = _reduce(compose(a_odd, a_even), apply(a_odd, b_even) + b_odd)
    h = torch.empty_like(b)
    h[:, 0] = b[:, 0]
    h[:, 1::2] = odd
    h[:, 2::2] = apply(a[:, 2::2], odd[:, : (steps - 1) // 2]) + b[:, 2::2]
    return h
