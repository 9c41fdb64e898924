"""The bistable recurrent cell: a latch that remembers without limit."""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.cells.gates import sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection


class BRCCell(Cell):
    """The bistable recurrent cell (arXiv 2006.05252).

        a = 1 + tanh(u_a + w_a h),  c = sigmoid(u_c + w_c h),
        h' = c h + (1 - c) tanh(u_h + a h).

    Where a > 1, the state has two stable values, and keeps the one that it is near until an input
    pushes it over, at any distance in time. That is hard for Newton's method: a segment that starts
    near the wrong value sees slopes without any trace of the other one, so corrections advance by
    one segment an iteration.

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the state and output.
        init: How parameters are drawn.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    bound = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        init: Init = PaperInit(),  # noqa: B008 (frozen)
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size)
        self.input_size, self.init = input_size, init
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.projection = Projection(input_size, 3, hidden_size, **factory)
        self.weight_hh = nn.Parameter(torch.empty(2, hidden_size, **factory))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)
        init.remember_(self.projection.bias[1], 1)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 3, D), in the order a, c, h."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., D) by u (..., 3, D)."""
        _, c, new = self._gates(u, h)
        return torch.lerp(new, h, c)

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form.

        J = c + (h - n) w_c c (1 - c) + (1 - c)(1 - n^2)(a + h w_a (1 - (a - 1)^2)), n the tanh.
        """
        a, c, new = self._gates(u, h)
        w_a, w_c = self.weight_hh.to(h.dtype)
        inner = a + h * tanh_backward(w_a, a - 1)
        jac = c + (h - new) * sigmoid_backward(w_c, c) + tanh_backward(1 - c, new) * inner
        return torch.lerp(new, h, c), jac

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        w_a, w_c = self.weight_hh.to(h.dtype)
        u_a, u_c, u_h = u.unbind(-2)
        a = 1 + torch.tanh(u_a + w_a * h)
        return a, torch.sigmoid(u_c + w_c * h), torch.tanh(u_h + a * h)
