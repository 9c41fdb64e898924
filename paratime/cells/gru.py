"""The gated recurrent unit with diagonal or block-diagonal recurrence."""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell, Fused, is_own
from paratime.cells.gates import channel_blocks, diagonal, sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection, is_plain
from paratime.ops import blocks
from paratime.ops.gated import gru_gates
from paratime.ops.recurrence import gru


class GRUCell(Cell):
    """ParaGRU (arXiv 2510.21450), with K = ``block_size`` numbers a block.

        z = sigmoid(u_z + A_z h),  r = sigmoid(u_r + A_r h),  c = tanh(u_c + A_c (h * r)),
        h' = (1 - z) * h + z * c,

    with A block-diagonal: the D hidden numbers are viewed as (K, D / K), and A mixes the K
    numbers of each of the D / K channels. K = 1 is the paper's cell; K = 4 tracks states that a
    diagonal cell cannot, at the price of K x K Jacobian blocks.

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the state and output.
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
        super().__init__(hidden_size, (hidden_size,) if k == 1 else (k, channels))
        self.input_size, self.heads, self.block_size, self.init = input_size, heads, k, init
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.projection = Projection(input_size, 3, hidden_size, heads, **factory)
        self.weight_hh = nn.Parameter(torch.empty(3, k, k, channels, **factory))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)
        init.remember_(self.projection.bias[0], -1)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 3, D), gates in the order z, r, c."""
        return self.projection(x)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., *state_shape) by u (..., 3, D)."""
        h = self._to_blocks(h)
        z, _, c = self._gates(u, h)
        return self._from_blocks(torch.lerp(h, c, z))

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form.

        J = diag(1 - z) + diag((c - h) z (1 - z)) A_z
            + diag(z (1 - c^2)) A_c (diag(r) + diag(h r (1 - r)) A_r).
        """
        h = self._to_blocks(h)
        z, r, c = self._gates(u, h)
        a_z, a_r, a_c = self.weight_hh.to(h.dtype)
        gated = torch.addcmul(diagonal(r), sigmoid_backward(h, r).unsqueeze(-2), a_r)
        jac = torch.addcmul(diagonal(1 - z), sigmoid_backward(c - h, z).unsqueeze(-2), a_z)
        jac = torch.addcmul(jac, tanh_backward(z, c).unsqueeze(-2), blocks.matmul(a_c, gated))
        jac = jac.squeeze(-2) if len(self.state_shape) == 1 else jac
        return self._from_blocks(torch.lerp(h, c, z)), self._from_blocks(jac)

    def fused(self, device: torch.device) -> Fused | None:
        """Return ``paratime::gru``, unless there is no kernel or a subclass steps otherwise."""
        own = is_own(self, GRUCell, "step", "output", "_gates", "_to_blocks", "_from_blocks")
        return self._run if own and gru.runs_on(device, self.weight_hh.shape[1]) else None

    def drives_by_step(self) -> bool:
        """Return whether the drive is the plain projection, without hooks."""
        return is_own(self, GRUCell, "drive") and is_plain(self.projection)

    def _run(
        self,
        u: Tensor,
        h0: Tensor,
        reset: Tensor | None,
        lengths: Tensor | None,
        out: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, k, _, channels = self.weight_hh.shape
        weight = self.weight_hh.to(h0.dtype).flatten(0, 2)
        out = None if out is None else out.unflatten(-1, (k, channels))
        u, h = u.reshape(*u.shape[:2], 3 * k, channels), h0.view(-1, k, channels)
        y, final, report = gru(u, weight, h, reset, lengths, out=out)
        return y.flatten(-2), final.view_as(h0), report

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a = self.weight_hh.to(h.dtype)
        return gru_gates(u.unflatten(-1, a.shape[-2:]), a, h)

    def _to_blocks(self, h: Tensor) -> Tensor:
        return h.unsqueeze(-2) if len(self.state_shape) == 1 else h

    def _from_blocks(self, h: Tensor) -> Tensor:
        return h.squeeze(-2) if len(self.state_shape) == 1 else h
