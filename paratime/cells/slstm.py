"""The sLSTM of xLSTM with diagonal recurrence: exponential gates that cannot overflow."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.cells.base import Cell
from paratime.cells.gates import sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection


class SLSTMCell(Cell):
    """The sLSTM (arXiv 2405.04517) with an exponential input gate and a sigmoid forget gate.

    With gates i = exp(u_i + a_i h), f = sigmoid(u_f + a_f h), o = sigmoid(u_o + a_o h) and
    z = tanh(u_z + a_z h), the paper's cell is

        c' = f c + i z,  n' = f n + i,  h' = o c' / n',

    and it divides c and n by exp(m) for a stabiliser m that h does not depend on. Here m = log n,
    which leaves the average v = c / n and m as the state, without a number that could overflow:

        m' = log(f exp(m) + i),  w = i / exp(m') = sigmoid(log i - log f - m),
        v' = (1 - w) v + w z,    h' = o v'.

    The state of a channel is (v, m, h), K = 3. The zero state is c = 0, n = 1: an average that
    begins with a zero of weight 1. For the paper's n = 0 pass an ``h0`` with m = -inf.

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the output; the state has 3 D numbers.
        init: How parameters are drawn.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        init: Init = PaperInit(),  # noqa: B008 (frozen)
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size, (3, hidden_size))
        self.input_size, self.init = input_size, init
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.projection = Projection(input_size, 4, hidden_size, **factory)
        self.weight_hh = nn.Parameter(torch.empty(4, hidden_size, **factory))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)
        init.remember_(self.projection.bias[1], 1)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 4, D), gates in the order i, f, z, o."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., 3, D) by u (..., 4, D)."""
        w, z, o, m_new, _ = self._gates(u, h)
        v = torch.lerp(h[..., 0, :], z, w)
        return torch.stack([v, m_new, o * v], dim=-2)

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form.

        With dw = w (1 - w) and b = a_i - (1 - f) a_f, the slope of log i - log f in h,

            dv'/d(v, m, h) = (1 - w, -(z - v) dw, w (1 - z^2) a_z + (z - v) dw b),
            dm'/d(v, m, h) = (0, 1 - w, a_i - (1 - w) b),
            dh'/d(v, m, h) = o dv'/d(v, m, h) + (0, 0, v' o (1 - o) a_o).
        """
        w, z, o, m_new, log_f = self._gates(u, h)
        a_i, a_f, a_z, a_o = self.weight_hh.to(h.dtype)
        old = h[..., 0, :]
        v, none = torch.lerp(old, z, w), torch.zeros_like(w)
        moved, b = sigmoid_backward(z - old, w), a_i + torch.expm1(log_f) * a_f
        of_v = torch.stack([1 - w, -moved, tanh_backward(w * a_z, z) + moved * b], dim=-2)
        of_m = torch.stack([none, 1 - w, a_i - (1 - w) * b], dim=-2)
        gate = torch.stack([none, none, sigmoid_backward(v * a_o, o)], dim=-2)
        jac = torch.stack([of_v, of_m, torch.addcmul(gate, o.unsqueeze(-2), of_v)], dim=-3)
        return torch.stack([v, m_new, o * v], dim=-2), jac

    def output(self, h: Tensor) -> Tensor:
        """Read h (..., D) from the state."""
        return h[..., 2, :]

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """Return w, z, o, the new m, and log f."""
        a_i, a_f, a_z, a_o = self.weight_hh.to(h.dtype)
        u_i, u_f, u_z, u_o = u.unbind(-2)
        _, m, h = h.unbind(-2)
        log_i, log_f = u_i + a_i * h, functional.logsigmoid(u_f + a_f * h)
        w, m_new = torch.sigmoid(log_i - log_f - m), torch.logaddexp(log_f + m, log_i)
        return w, torch.tanh(u_z + a_z * h), torch.sigmoid(u_o + a_o * h), m_new, log_f
