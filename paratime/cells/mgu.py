"""The minimal gated unit with diagonal recurrence."""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.cells.gates import sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection


class MGUCell(Cell):
    """The minimal gated unit (arXiv 1603.09420): a GRU whose gates are one.

        f = sigmoid(u_f + a_f h),  c = tanh(u_c + a_c (f h)),  h' = (1 - f) h + f c.

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
        self.projection = Projection(input_size, 2, hidden_size, **factory)
        self.weight_hh = nn.Parameter(torch.empty(2, hidden_size, **factory))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)
        init.remember_(self.projection.bias[0], -1)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 2, D), in the order f, c."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., D) by u (..., 2, D)."""
        f, c = self._gates(u, h)
        return torch.lerp(h, c, f)

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form.

        J = 1 - f + (c - h) df + f (1 - c^2) a_c (f + h df), with df = a_f f (1 - f).
        """
        f, c = self._gates(u, h)
        a_f, a_c = self.weight_hh.to(h.dtype)
        d_f = sigmoid_backward(a_f, f)
        jac = 1 - f + (c - h) * d_f + tanh_backward(f * a_c, c) * (f + h * d_f)
        return torch.lerp(h, c, f), jac

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a_f, a_c = self.weight_hh.to(h.dtype)
        u_f, u_c = u.unbind(-2)
        f = torch.sigmoid(u_f + a_f * h)
        return f, torch.tanh(u_c + a_c * (f * h))
