"""Exact gradients of a solved recurrence, by one linear recurrence in reverse.

At the solution the adjoint lam[t] = dL/dh[t] obeys

    lam[t] = g[t] + J[t+1]^T lam[t+1],    J[t] = dh[t] / dh[t-1], zero at a reset,

with g the gradient that arrives at h[t] from outside. One differentiable ``step`` over all t at
once, from the detached states before each t, then carries lam to everything that ``step`` reads:
drives, weights, and the initial state.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from paratime.cells.base import Cell, vjp
from paratime.ops import blocks
from paratime.ops.operator import without_autocast
from paratime.ops.scan import scan
from paratime.solvers.base import restart


def attach_gradient(cell: Cell, u: Tensor, h0: Tensor, reset: Tensor | None, h: Tensor) -> Tensor:
    """Return the states h (B, T, *state_shape) with gradients to u, h0 and the cell's weights."""
    if not torch.is_grad_enabled():
        return h
    previous = restart(torch.cat([h0.unsqueeze(1), h.detach()[:, :-1]], dim=1), reset)
    stepped = cell.step(u, previous)
    if not stepped.requires_grad:
        return h
    return _Adjoint.apply(stepped, u.detach(), previous.detach(), reset, cell)


class _Adjoint(Function):
    """The identity, whose backward pass turns the gradient g into lam."""

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, h: Tensor, u: Tensor, previous: Tensor, reset: Tensor | None, cell: Cell
    ) -> Tensor:
        solved = h.view_as(h)
        ctx.save_for_backward(u, previous, reset, solved)
        ctx.cell = cell
        return solved

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        u, previous, reset, solved = ctx.saved_tensors
        with torch.no_grad(), without_autocast(g.device):
            _, jac = ctx.cell.linearize(u[:, 1:], previous[:, 1:])
            jac = restart(jac, None if reset is None else reset[:, 1:])
            jac = blocks.transpose(jac) if jac.dim() > g.dim() else jac
            last = torch.zeros(1, dtype=jac.dtype, device=jac.device)
            jac = torch.cat([jac, last.expand(jac.shape[0], 1, *jac.shape[2:])], dim=1)
            lam = scan(jac, g, reverse=True)
            if not (lam.is_meta or lam.isfinite().all()):
                lam = _adjoint_loop(ctx.cell, u, previous, reset, g)
        return _FirstOrder.apply(lam, g, solved), None, None, None, None


def _adjoint_loop(
    cell: Cell, u: Tensor, previous: Tensor, reset: Tensor | None, g: Tensor
) -> Tensor:
    """Return lam step by step, from gradients of ``step`` itself.

    Where lam is not finite, a zero of J says nothing: either no path exists, and nothing passes,
    or its slope vanishes, and infinity becomes NaN, as in back-propagation through the loop.
    """
    lam = g.clone()
    for t in reversed(range(1, g.shape[1])):
        _, (passed,) = vjp(cell, u[:, t], previous[:, t], [lam[:, t]])
        lam[:, t - 1] += restart(passed, None if reset is None else reset[:, t])
    return lam


class _FirstOrder(Function):
    """Refuse second derivatives, which the detached Jacobian would get silently wrong."""

    @staticmethod
    def forward(ctx: Any, lam: Tensor, g: Tensor, solved: Tensor) -> Tensor:  # noqa: D102
        return lam.view_as(lam)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        raise NotImplementedError(
            "second derivatives through the Newton solver: expected first derivatives only, got "
            "a second backward pass; use solver=Sequential()"
        )
