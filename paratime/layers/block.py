"""The residual block around a mixer."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from paratime.cells.base import describe
from paratime.cells.projection import check_width
from paratime.errors import InputError
from paratime.layers.conv import CausalConv
from paratime.layers.mixer import Mixer, check_sequence, check_step, check_tuple, mask_padding
from paratime.layers.norm import RMSNorm


class SwiGLU(nn.Module):
    """Gated feed-forward layer (arXiv 2002.05202): W (silu(U x) * V x), without biases.

    Args:
        width: Width of input and output.
        hidden: Width inside; 8 / 3 of ``width``, rounded up to a multiple of 256, by default.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        width: int,
        hidden: int | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        hidden = 256 * math.ceil(8 * width / 3 / 256) if hidden is None else hidden
        self.width, self.hidden = width, hidden
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.up = nn.Linear(width, 2 * hidden, bias=False, **factory)
        self.down = nn.Linear(hidden, width, bias=False, **factory)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return describe(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., width)."""
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * value)


def build_mixer(
    mixer: Callable[..., Mixer],
    *widths: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Mixer:
    """Build a mixer from its widths alone, on a device, and cast what it drew to a precision."""
    if not callable(mixer) or isinstance(mixer, nn.Module):
        raise InputError(
            "mixer",
            expected="what builds a layer from its width, such as the class ParaGRU",
            got="a layer" if isinstance(mixer, nn.Module) else repr(mixer),
            remedy="pass the class itself",
        )
    with nullcontext() if device is None else torch.device(device):
        made = mixer(*widths)
    if not isinstance(made, Mixer):
        raise InputError(
            "mixer",
            expected="a Mixer",
            got=type(made).__name__,
            remedy="wrap a Cell in Recurrent; torch.nn.GRU is paratime.baselines.TorchGRU",
        )
    return made if dtype is None else made.to(dtype=dtype)


class Gated(Mixer):
    """A mixer between a convolution and a gate, as in the block of ParaRNN (arXiv 2510.21450).

    Linear to value and gate -> causal convolution, SiLU -> mixer -> RMSNorm times SiLU(gate) ->
    Linear. The state is the convolution's and the mixer's.

    Args:
        width: Width d of input and output.
        mixer: Builds the mixer from its width, on ``device``, cast to ``dtype`` if given.
        kernel_size: Taps of the convolution.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    complete = True

    def __init__(
        self,
        width: int,
        mixer: Callable[[int], Mixer],
        kernel_size: int = 4,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.width, self.kernel_size = width, kernel_size
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.project_in = nn.Linear(width, 2 * width, bias=False, **factory)
        self.conv = CausalConv(width, kernel_size, **factory)
        self.mixer = build_mixer(mixer, width, **factory)
        self.norm = RMSNorm(width, **factory)
        self.project_out = nn.Linear(width, width, bias=False, **factory)

    def forward(
        self,
        x: Tensor,
        h0: tuple[Any, Any] | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Any, Any]]:
        """Map x (B, T, d); see ``Mixer.forward``."""
        conv, inner = self._split(h0)
        value, gate = self.project_in(x).chunk(2, dim=-1)
        value, conv = self.conv(value, conv, reset=reset, lengths=lengths)
        y, inner = self.mixer(value, inner, reset=reset, lengths=lengths)
        return mask_padding(self.project_out(self.norm(y, gate)), lengths), (conv, inner)

    def step(
        self, x: Tensor, state: tuple[Any, Any] | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, tuple[Any, Any]]:
        """Map one step x (B, d)."""
        conv, inner = self._split(state)
        value, gate = self.project_in(x).chunk(2, dim=-1)
        value, conv = self.conv.step(value, conv, reset)
        y, inner = self.mixer.step(value, inner, reset)
        return self.project_out(self.norm(y, gate)), (conv, inner)

    def _split(self, state: tuple[Any, Any] | None) -> tuple[Any, Any]:
        if state is None:
            return None, None
        check_tuple("h0", state, ("the convolution's", "the mixer's"))
        return state


class Block(Mixer):
    """A residual block around any mixer; its state is the mixer's.

    norm -> mixer -> scaled residual; then norm -> SwiGLU -> scaled residual. The scales are one
    learnable number a channel. A mixer that is not ``complete`` is ``Gated``.

    Args:
        width: Width d of input and output.
        mixer: Builds the mixer from its width, on ``device``, cast to ``dtype`` if given.
        kernel_size: Taps of the convolution.
        mlp_size: Width inside the SwiGLU; its default if None, and without one if 0.
        eps: What the norms add to the mean square; the precision of their numbers by default.
        recompute: Whether to keep the input alone for the backward pass, and to compute the rest
            anew there: less memory, a forward pass more, the same gradients (arXiv 1604.06174).
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        width: int,
        mixer: Callable[[int], Mixer],
        *,
        kernel_size: int = 4,
        mlp_size: int | None = None,
        eps: float | None = None,
        recompute: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.width, self.kernel_size, self.mlp_size = width, kernel_size, mlp_size
        self.eps, self.recompute = eps, recompute
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        gated = Gated(width, mixer, kernel_size, **factory)
        self.norm = RMSNorm(width, eps=eps, **factory)
        self.mixer = gated.mixer if gated.mixer.complete else gated
        self.scale = nn.Parameter(torch.ones(width, **factory))
        self.mlp = None
        if mlp_size != 0:
            self.norm_mlp = RMSNorm(width, eps=eps, **factory)
            self.mlp = SwiGLU(width, mlp_size, **factory)
            self.mlp_scale = nn.Parameter(torch.ones(width, **factory))

    @property
    def core(self) -> Mixer:
        """The mixer that the block was built with."""
        return self.mixer.mixer if isinstance(self.mixer, Gated) else self.mixer

    def forward(
        self,
        x: Tensor,
        h0: Any = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Map x (B, T, d); see ``Mixer.forward``."""
        if self.recompute and torch.is_grad_enabled():
            y: tuple[Tensor, Any] = checkpoint(
                self._forward, x, h0, reset, lengths, use_reentrant=False
            )
            return y
        return self._forward(x, h0, reset, lengths)

    def _forward(
        self, x: Tensor, h0: Any, reset: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Any]:
        check_sequence(x, reset, lengths)
        check_width(x, len(self.scale))
        y, state = self.mixer(self.norm(x), h0, reset=reset, lengths=lengths)
        return mask_padding(self._add(x, y), lengths), state

    def step(self, x: Tensor, state: Any = None, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        """Map one step x (B, d)."""
        check_step(x, reset)
        check_width(x, len(self.scale))
        y, state = self.mixer.step(self.norm(x), state, reset)
        return self._add(x, y), state

    def _add(self, x: Tensor, y: Tensor) -> Tensor:
        x = torch.addcmul(x, self.scale, y)
        if self.mlp is None:
            return x
        return torch.addcmul(x, self.mlp_scale, self.mlp(self.norm_mlp(x)))
