"""One iteration of Newton multiple shooting: shoot from every segment's start, then correct.

Time is cut into S segments of C steps; the unknowns are the states s[j] in which the segments
start. ``shoot`` runs all segments side by side and returns their ends phi[j] with the slopes
P[j] = d phi[j] / d s[j]. ``correct`` solves the linearised matching conditions

    s'[j+1] = phi[j] + P[j] (s'[j] - s[j]),    s'[0] = s[0],

a linear recurrence over the segments. After i iterations the first i starts are exact.
"""

import torch
from torch import Tensor

from paratime.cells.base import Cell
from paratime.ops import blocks
from paratime.ops.scan import scan
from paratime.solvers.base import restart


def into_segments(x: Tensor, chunk: int) -> Tensor:
    """Cut x (B, T, ...) into segments (B, S, C, ...); the last one is filled with its last step."""
    missing = -x.shape[1] % chunk
    if missing:
        x = torch.cat([x, x[:, -1:].expand(-1, missing, *x.shape[2:])], dim=1)
    return x.unflatten(1, (-1, chunk))


def shoot(cell: Cell, u: Tensor, start: Tensor, reset: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run all segments at once.

    Args:
        cell: The recurrence.
        u: Drives, (B, S, C, *any).
        start: State before each segment, (B, S, *state_shape).
        reset: Restarts, bool (B, S, C).

    Returns:
        All states (B, S, C, *state_shape), and the slopes (B, S, D) or (B, S, K, K, D).
    """
    block = len(cell.state_shape) == 2
    states = start.new_empty(*u.shape[:3], *cell.state_shape)
    h, slope = start, None
    for c in range(u.shape[2]):
        now = None if reset is None else reset[:, :, c]
        h, jac = cell.linearize(u[:, :, c], restart(h, now))
        jac = restart(jac, now)
        if slope is None:
            slope = jac
        else:
            slope = blocks.matmul(jac, slope) if block else jac * slope
            slope = restart(slope, now)
        states[:, :, c] = h
    assert slope is not None
    return states, slope


def correct(
    start: Tensor, end: Tensor, slope: Tensor, bound: float | None
) -> tuple[Tensor, Tensor]:
    """Solve the linearised matching conditions for the starts of segments 1 to S-1.

    Predictions are clamped to the cell's invariant box. Where there is nothing to predict, since
    the segment before has started right, or where the prediction is not finite, a segment starts
    from the end of the one before it. So a wrong bound costs iterations, never the result.

    Args:
        start: Starts of segments 0 to S-1, (B, S, *state_shape).
        end: Ends phi of segments 0 to S-2.
        slope: Slopes P of segments 0 to S-2.
        bound: Radius of the invariant box, or None.

    Returns:
        New starts and their relative corrections |s' - s| / (1 + |s|), infinite where the
        prediction is not finite, both (B, S-1, *state_shape).
    """
    old = start[:, 1:]
    moved = torch.zeros_like(end)
    if end.shape[1] > 1:
        moved[:, 1:] = scan(slope[:, :-1], (end - old)[:, :-1])
    still = (moved == 0).all(-2, keepdim=True) if slope.dim() > end.dim() else moved == 0
    new = torch.where(still, end, end + blocks.apply(slope, moved))
    finite = torch.isfinite(new)
    correction = torch.where(finite, (new - old).abs() / (1 + old.abs()), torch.inf)
    correction = correction.nan_to_num(nan=torch.inf, posinf=torch.inf)  # from an infinite start
    if bound is not None:
        new = new.clamp(-bound, bound)
    return torch.where(finite & ~still, new, end), correction
