"""Slopes, Lyapunov exponents and saturation of a recurrence along its own trajectories.

The largest Lyapunov exponent is the mean growth of a product of Jacobians (Benettin et al.,
Meccanica 15, 1980; for recurrent networks Vogt et al., arXiv 2006.14123),

    lambda = 1 / T  log || J[T] ... J[1] ||,    J[t] = dh[t] / dh[t-1],

in nats a step. No channel of a cell reads another, so that each has its own product, and that of
the layer is the largest. It is the recurrence's alone: its inputs are taken as they are.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from paratime.cells.base import Cell
from paratime.ops import blocks
from paratime.solvers.base import restart

LEAST = 1e-30
"""Growth below which a step counts as this: the state is forgotten."""

SIGMOID, TANH = (0.05, 0.95), 0.95
"""A sigmoid outside of this range, and a tanh beyond this magnitude, are saturated."""


def jacobians(cell: Cell, u: Tensor, h0: Tensor, states: Tensor, reset: Tensor | None) -> Tensor:
    """Return the Jacobians (B, T, D) or (B, T, K, K, D) of all steps of a solved sequence.

    Args:
        cell: The recurrence.
        u: Drives, (B, T, *any).
        h0: State before the first step.
        states: All states, (B, T, *state_shape).
        reset: Where episodes begin, bool (B, T); the Jacobian there is that of the first step.
    """
    return cell.linearize(u, before(h0, states, reset))[1]


def before(h0: Tensor, states: Tensor, reset: Tensor | None) -> Tensor:
    """Return the state before each step, (B, T, *state_shape)."""
    return restart(torch.cat([h0[:, None], states[:, :-1]], dim=1), reset)


def slopes(jac: Tensor) -> Tensor:
    """Return the size of each slope (B, T, D): |J|, or the largest singular value of a block."""
    if jac.dim() == 3:
        return jac.abs()
    return torch.linalg.matrix_norm(jac.movedim(-1, 2), ord=2)


def exponents(jac: Tensor, reset: Tensor | None = None) -> Tensor:
    """Return the largest Lyapunov exponent of each channel, (D,) in nats a step.

    It is the mean over sequences and episodes, each weighted by its steps.

    Args:
        jac: Jacobians, (B, T, D) or (B, T, K, K, D).
        reset: Where episodes begin, bool (B, T): no product goes over it, and its step counts
            as none.
    """
    jac = jac.double()
    begins = torch.zeros(jac.shape[:2], dtype=torch.bool, device=jac.device)
    begins = begins if reset is None else reset.clone()
    count = (~begins).sum().clamp(min=1)
    if jac.dim() == 3:
        grown = jac.abs().clamp(min=LEAST).log()
        return grown.masked_fill(begins[..., None], 0.0).sum((0, 1)) / count
    return _products(jac, begins).sum(0) / count


def _products(jac: Tensor, begins: Tensor) -> Tensor:
    """Return the log norms of the products of blocks over all episodes of each row, (B, D)."""
    one = torch.eye(jac.shape[2], dtype=jac.dtype, device=jac.device).unsqueeze(-1)
    product = one.expand(jac.shape[0], *jac.shape[2:])
    grown = jac.new_zeros(jac.shape[0], jac.shape[-1])
    for t in range(jac.shape[1]):
        begin = begins[:, t]
        grown = grown + _log_norm(product).masked_fill(~begin[:, None], 0.0)
        kept = torch.where(begin[:, None, None, None], one, blocks.matmul(jac[:, t], product))
        size = kept.square().sum((1, 2)).sqrt().clamp(min=LEAST)
        size = torch.where(begin[:, None], 1.0, size)
        product, grown = kept / size[:, None, None], grown + size.log()
    return grown + _log_norm(product)


def _log_norm(product: Tensor) -> Tensor:
    """Return the logs of the largest singular values (B, D) of blocks (B, K, K, D)."""
    return torch.linalg.matrix_norm(product.movedim(-1, 1), ord=2).clamp(min=LEAST).log()


class Saturation(TorchDispatchMode):
    """Counts values of sigmoids and tanhs while it is entered.

    Attributes:
        saturated: Values that are saturated.
        count: All values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.saturated = self.count = 0

    @property
    def share(self) -> float | None:
        """The share of values that are saturated, None without any."""
        return self.saturated / self.count if self.count else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and count its values."""
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.sigmoid.default:
            self._count(found, (found < SIGMOID[0]) | (found > SIGMOID[1]))
        elif func is torch.ops.aten.log_sigmoid_forward.default:
            gate = found[0].exp()
            self._count(gate, (gate < SIGMOID[0]) | (gate > SIGMOID[1]))
        elif func is torch.ops.aten.tanh.default:
            self._count(found, found.abs() > TANH)
        return found

    def _count(self, values: Tensor, saturated: Tensor) -> None:
        self.count += values.numel()
        self.saturated += int(saturated.sum())
