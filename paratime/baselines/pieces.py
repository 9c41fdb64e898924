"""Resets inside sequences for layers that know none: cut there, run the pieces together.

A fused kernel that runs whole sequences only cannot restart one in its middle. So the batch is cut
at resets and at the sequences' ends into pieces, whose lengths are written in binary: stage k runs
2^k steps of every piece whose length has that bit, longest stages first, and hands the states on.
No step is padding, there are log2(T) calls at most, and one after another they take fewer than
twice the steps of the longest piece. Every piece ends with a call, so that its last state is known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from paratime.solvers.base import restart

States = tuple[Tensor, ...]
"""Parts of a state, (B, D) each."""


@dataclass(frozen=True)
class Pieces:
    """Runs of steps without a reset inside, in the order of a batch laid end to end.

    Attributes:
        row: The sequence that each is part of, (N,).
        begin: The first step, counted from the batch's first, (N,).
        length: Number of steps, at least 1, (N,).
        fresh: Whether it begins with a reset, and not with its sequence's h0, bool (N,).
    """

    row: Tensor
    begin: Tensor
    length: Tensor
    fresh: Tensor

    @classmethod
    def of(cls, reset: Tensor | None, lengths: Tensor | None, batch: int, steps: int) -> "Pieces":
        """Cut a batch at its resets and ends, on the CPU: on a GPU, this waits for it once."""
        restarts = torch.zeros(batch, steps, dtype=torch.bool) if reset is None else reset.cpu()
        ends = torch.full((batch,), steps) if lengths is None else lengths.cpu().long()
        first = restarts.clone()
        first[:, 0] = True
        first &= torch.arange(steps) < ends.unsqueeze(-1)
        begin = first.flatten().nonzero().squeeze(1)
        row = begin // steps
        following = torch.cat([begin[1:], torch.tensor([batch * steps])])[: len(begin)]
        length = torch.minimum(following, row * steps + ends[row]) - begin
        return cls(row, begin, length, restarts.flatten()[begin])

    def stages(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the pieces (n,) that a stage runs, and which steps of the batch, (n, 2^k)."""
        longest = int(self.length.max()) if len(self.length) else 0
        for bit in reversed(range(longest.bit_length())):
            chosen = (self.length >> bit & 1).nonzero().squeeze(1)
            done = self.length[chosen] >> bit + 1 << bit + 1
            yield chosen, (self.begin[chosen] + done).unsqueeze(-1) + torch.arange(2**bit)

    def last(self) -> Tensor:
        """Return which pieces are the last of their sequences."""
        after = torch.cat([self.row[1:], torch.tensor([-1])])[: len(self.row)]
        return (self.row != after).nonzero().squeeze(1)


def run_in_pieces(
    run: Callable[[Tensor, States], tuple[Tensor, States]],
    x: Tensor,
    start: States,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> tuple[Tensor, States]:
    """Run a layer over sequences with resets inside, zero outputs beyond their lengths.

    Args:
        run: Maps inputs (n, t, input_size) and states to outputs (n, t, D) and the last states.
        x: Inputs, (B, T, input_size).
        start: States before the first step.
        reset: Restarts, bool (B, T).
        lengths: Valid steps, int (B,).

    Returns:
        Outputs (B, T, D), and the states after each sequence's last valid step.
    """
    pieces, device = Pieces.of(reset, lengths, *x.shape[:2]), x.device
    stages = [(chosen.to(device), where) for chosen, where in pieces.stages()]
    if not stages:
        return x.new_zeros(*x.shape[:2], start[0].shape[-1]), tuple(p.clone() for p in start)
    row, fresh, last = (v.to(device) for v in (pieces.row, pieces.fresh, pieces.last()))
    order = torch.cat([where.flatten() for _, where in stages]).to(device)
    inputs = x.flatten(0, 1)[order].split([where.numel() for _, where in stages])
    states, outputs = tuple(restart(part[row], fresh) for part in start), []
    for (chosen, where), values in zip(stages, inputs, strict=True):
        y, ends = run(values.unflatten(0, where.shape), tuple(part[chosen] for part in states))
        states = _put(states, chosen, ends)
        outputs.append(y.flatten(0, 1))
    found = torch.cat(outputs)
    y = found.new_zeros(x.shape[0] * x.shape[1], found.shape[-1]).index_copy(0, order, found)
    return y.unflatten(0, x.shape[:2]), _put(start, row[last], tuple(p[last] for p in states))


def _put(states: States, rows: Tensor, values: States) -> States:
    return tuple(s.index_copy(0, rows, v) for s, v in zip(states, values, strict=True))
