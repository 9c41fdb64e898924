"""A stack of blocks: the one encoder that every task trains."""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from paratime.cells.projection import check_width
from paratime.errors import InputError
from paratime.layers.block import Block
from paratime.layers.mixer import Mixer, check_sequence, check_step, mask_padding, split_state
from paratime.layers.norm import RMSNorm
from paratime.layers.recurrent import ParaGRU


@final
class Encoder(Mixer):
    """Blocks around a mixer, then a norm; itself a mixer of sequences (B, T, width).

    Args:
        width: Width of input and output.
        depth: Number of blocks.
        mixer: Builds a block's mixer from its width, on ``device``, cast to ``dtype`` if given.
        kernel_size: Taps of the causal convolution around a mixer that is not complete.
        mlp_size: Width inside each block's SwiGLU; 8 / 3 of ``width``, rounded up to a multiple
            of 256, by default; 0 for none.
        eps: What norms add to the mean square; the precision of their numbers by default.
        recompute: How many blocks keep their input alone for the backward pass, see ``Block``.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        mixer: Callable[[int], Mixer] = ParaGRU,
        kernel_size: int = 4,
        mlp_size: int | None = None,
        eps: float | None = None,
        recompute: int = 0,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise InputError(
                "Encoder",
                expected="width and depth at least 1",
                got=f"width {width}, depth {depth}",
                remedy="make it larger",
            )
        if not 0 <= recompute <= depth:
            raise InputError("recompute", f"0 to {depth} blocks", str(recompute), "correct it")
        self.width, self.depth, self.kernel_size = width, depth, kernel_size
        self.mlp_size, self.eps, self.recompute = mlp_size, eps, recompute
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        options = {"kernel_size": kernel_size, "mlp_size": mlp_size, "eps": eps} | factory
        self.blocks = nn.ModuleList(
            Block(width, mixer, recompute=block < recompute, **options) for block in range(depth)
        )
        self.norm = RMSNorm(width, eps=eps, **factory)

    def forward(
        self,
        x: Tensor,
        h0: tuple[Any, ...] | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Encode x (B, T, width); the state is one entry a block."""
        check_sequence(x, reset, lengths)
        check_width(x, self.width)
        states = []
        for block, before in zip(self.blocks, self._split(h0), strict=True):
            x, state = block(x, before, reset=reset, lengths=lengths)
            states.append(state)
        return mask_padding(self.norm(x), lengths), tuple(states)

    def step(
        self, x: Tensor, state: tuple[Any, ...] | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Encode one step x (B, width)."""
        check_step(x, reset)
        check_width(x, self.width)
        states = []
        for block, before in zip(self.blocks, self._split(state), strict=True):
            assert isinstance(block, Block)
            x, after = block.step(x, before, reset)
            states.append(after)
        return self.norm(x), tuple(states)

    def _split(self, state: tuple[Any, ...] | None) -> tuple[Any, ...]:
        remedy = "pass a state of this encoder, or None"
        return split_state(state, len(self.blocks), "block", remedy)
