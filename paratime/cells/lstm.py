"""The long short-term memory with coupled gates and diagonal or block-diagonal recurrence."""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell, Fused, is_own
from paratime.cells.gates import channel_blocks, diagonal, sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection, is_plain
from paratime.ops.gated import lstm_gates
from paratime.ops.recurrence import lstm


class LSTMCell(Cell):
    """ParaLSTM (arXiv 2510.21450), with K = ``block_size`` numbers a block.

        f = sigmoid(u_f + A_f h + p_f * c),   g = tanh(u_g + A_g h),
        c' = f * c + (1 - f) * g,
        o = sigmoid(u_o + A_o h + p_o * c'),  h' = o * tanh(c'),

    with the input gate coupled to the forget gate, peepholes p, and A block-diagonal as in
    ``GRUCell``. The state of a channel is its K numbers c, then its K numbers h: (2 K, D / K).

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the output; the state has 2 D numbers.
        heads: Blocks of the input projection.
        block_size: K, one of 1, 2, 4 and 8.
        init: How parameters are drawn.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes that do not divide.
    """

    bound = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        heads: int = 1,
        block_size: int = 1,
        init: Init = PaperInit(),  # noqa: B008 (frozen)
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        k, channels = channel_blocks(hidden_size, block_size)
        super().__init__(hidden_size, (2 * k, channels))
        self.input_size, self.heads, self.block_size, self.init = input_size, heads, k, init
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.projection = Projection(input_size, 3, hidden_size, heads, **factory)
        self.weight_hh = nn.Parameter(torch.empty(3, k, k, channels, **factory))
        self.peephole = nn.Parameter(torch.empty(2, k, channels, **factory))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)
        init.recurrent_(self.peephole, hidden_size)
        init.remember_(self.projection.bias[0], 1)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 3, D), gates in the order f, g, o."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., 2 K, D / K) by u (..., 3, D)."""
        _, _, o, c_new = self._gates(u, h)
        return torch.cat([c_new, o * torch.tanh(c_new)], dim=-2)

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form, one K x K block a quadrant.

        dc'/dc = diag(f + df p_f),       dc'/dh = diag(df) A_f + diag(dg) A_g,
        dh'/dc = diag(q) dc'/dc,         dh'/dh = diag(q) dc'/dh + diag(do) A_o,

        with df = (c - g) f (1 - f), dg = (1 - f)(1 - g^2), do = tanh(c') o (1 - o) and
        q = do p_o + o (1 - tanh(c')^2).
        """
        a_f, a_g, a_o = self.weight_hh.to(h.dtype)
        p_f, p_o = self.peephole.to(h.dtype)
        f, g, o, c_new = self._gates(u, h)
        c = h[..., : c_new.shape[-2], :]
        squashed = torch.tanh(c_new)
        d_f = sigmoid_backward(c - g, f)
        d_g = tanh_backward(1 - f, g)
        d_o = sigmoid_backward(squashed, o)
        q = torch.addcmul(tanh_backward(o, squashed), d_o, p_o).unsqueeze(-2)
        cc = diagonal(torch.addcmul(f, d_f, p_f))
        ch = torch.addcmul(d_f.unsqueeze(-2) * a_f, d_g.unsqueeze(-2), a_g)
        hh = torch.addcmul(q * ch, d_o.unsqueeze(-2), a_o)
        top, bottom = torch.cat([cc, ch], dim=-2), torch.cat([q * cc, hh], dim=-2)
        return torch.cat([c_new, o * squashed], dim=-2), torch.cat([top, bottom], dim=-3)

    def output(self, h: Tensor) -> Tensor:
        """Read h (..., D) from the state."""
        return h[..., h.shape[-2] // 2 :, :].flatten(-2)

    def fused(self, device: torch.device) -> Fused | None:
        """Return ``paratime::lstm``, unless there is no kernel or a subclass steps otherwise."""
        own = is_own(self, LSTMCell, "step", "output", "_gates")
        return self._run if own and lstm.runs_on(device, self.weight_hh.shape[1]) else None

    def drives_by_step(self) -> bool:
        """Return whether the drive is the plain projection, without hooks."""
        return is_own(self, LSTMCell, "drive") and is_plain(self.projection)

    def _run(
        self,
        u: Tensor,
        h0: Tensor,
        reset: Tensor | None,
        lengths: Tensor | None,
        out: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, k, _, channels = self.weight_hh.shape
        weight = torch.cat([self.weight_hh.flatten(0, 2), self.peephole.flatten(0, 1)])
        out = None if out is None else out.unflatten(-1, (k, channels))
        u = u.reshape(*u.shape[:2], 3 * k, channels)
        y, final, report = lstm(u, weight.to(h0.dtype), h0, reset, lengths, out=out)
        return y.flatten(-2), final, report

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, p = self.weight_hh.to(h.dtype), self.peephole.to(h.dtype)
        return lstm_gates(u.unflatten(-1, a.shape[-2:]), a, p, h)
