"""The long short-term memory with coupled gates and diagonal or block-diagonal recurrence."""

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.cells.gates import affine, channel_blocks, diagonal, sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection


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
    ) -> None:
        k, channels = channel_blocks(hidden_size, block_size)
        super().__init__(hidden_size, (2 * k, channels))
        self.projection = Projection(input_size, 3, hidden_size, heads)
        self.weight_hh = nn.Parameter(torch.empty(3, k, k, channels))
        self.peephole = nn.Parameter(torch.empty(2, k, channels))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)
        init.recurrent_(self.peephole, hidden_size)
        init.remember_(self.projection.bias[0], 1)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 3, D), gates in the order f, g, o."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., 2 K, D / K) by u (..., 3, D)."""
        _, _, c_new, o = self._gates(u, h)
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
        f, g, c_new, o = self._gates(u, h)
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

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, (p_f, p_o) = self.weight_hh.to(h.dtype), self.peephole.to(h.dtype)
        u_f, u_g, u_o = u.unflatten(-1, a.shape[-2:]).unbind(-3)
        c, h = h.split(a.shape[-2], dim=-2)
        f = torch.sigmoid(torch.addcmul(affine(u_f, a[0], h), p_f, c))
        g = torch.tanh(affine(u_g, a[1], h))
        c_new = torch.lerp(g, c, f)
        o = torch.sigmoid(torch.addcmul(affine(u_o, a[2], h), p_o, c_new))
        return f, g, c_new, o
