"""Mamba-2: a matrix of state for each head, which decays by a number."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from paratime.baselines import mamba_ssm, ssm
from paratime.baselines.mamba import MambaState
from paratime.cells.base import describe
from paratime.cells.projection import check_width
from paratime.errors import InputError, check_at_least
from paratime.layers.mixer import Mixer, check_sequence, mask_padding, step_once
from paratime.ops.norm import rms_norm_of_gated
from paratime.ops.operator import without_autocast
from paratime.ops.precision import precise
from paratime.ops.ssd import ssd


class Mamba2(Mixer):
    """The mixer of Mamba-2 (arXiv 2405.21060): state space duality after a convolution, gated.

        z, (v, b, c), dt = W_in x,  v, b, c = silu(conv(v, b, c)),  dt = softplus(dt + bias),
        S[t] = exp(-dt[t] exp(A)) S[t-1] + dt[t] b[t] v[t]^T,
        y = W_out norm((S^T c + D v) silu(z)),

    with a state S (N, P) for each head, whose v has P numbers; heads of a group share b and c.

    A value that is not finite may spoil its sequence beyond the next reset, unless that is at the
    first step: see ``paratime.ops.ssd``.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        state_size: N.
        head_size: P; by default 64, or the greatest power of two below it that fits.
        groups: Number of groups of heads.
        expand: Channels inside, in widths of the input.
        kernel_size: Taps of the convolution.
        backend: Whose kernels run the scan; ``mamba_ssm`` is for CUDA, see ``mamba_ssm.py``.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes that do not divide, or are below 1, or a backend that is none.
    """

    complete = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        state_size: int = 128,
        head_size: int | None = None,
        groups: int = 1,
        expand: int = 2,
        kernel_size: int = 4,
        backend: mamba_ssm.Backend = "paratime",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = input_size if hidden_size is None else hidden_size
        check_at_least(1, input_size=input_size, hidden_size=self.hidden_size)
        check_at_least(1, state_size=state_size, expand=expand, kernel_size=kernel_size)
        inner = expand * input_size
        head = math.gcd(64, inner) if head_size is None else head_size
        heads = count_heads(inner, head, groups)
        self.groups, self.head_size, self.state_size = groups, head, state_size
        self.expand, self.kernel_size, self.backend = expand, kernel_size, backend
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.scan = mamba_ssm.choose_scan(backend, ssd, mamba_ssm.ssd_triton)
        self.sizes = inner, inner + 2 * groups * state_size, heads
        self.inside = inner, groups * state_size, groups * state_size
        self.shapes = {
            "memory": (kernel_size - 1, self.sizes[1]),
            "state": (heads, state_size, head),
        }
        self.in_proj = nn.Linear(input_size, sum(self.sizes), bias=False, **factory)
        self.conv1d = ssm.Conv1d(self.sizes[1], kernel_size, **factory)
        self.dt_bias = nn.Parameter(ssm.initial_bias(torch.empty(heads, **factory)))
        self.A_log = nn.Parameter(torch.empty(heads, **factory).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads, **factory))
        self.norm = GatedNorm(inner, groups, **factory)
        self.out_proj = nn.Linear(inner, self.hidden_size, bias=False, **factory)

    def forward(
        self,
        x: Tensor,
        h0: MambaState | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, MambaState]:
        """Map x (B, T, input_size) to (B, T, hidden_size) and the state; see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        check_width(x, self.input_size)
        lengths = None if lengths is None else lengths.long()
        gate, mixed, dt = self.in_proj(x).split(self.sizes, dim=-1)
        memory, state = ssm.start(mixed, h0, self.shapes)
        mixed, memory = self.conv1d(mixed, memory, reset, lengths)
        with without_autocast(x.device):
            value, b, c = precise(mixed).split(self.inside, dim=-1)
            value = value.unflatten(-1, (1, -1, self.head_size))
            dt, reset = ssm.valid(ssm.softplus(dt, self.dt_bias), reset, lengths)
            b, c = (v.unflatten(-1, (1, self.groups, -1)) for v in (b, c))
            decay, skip = -dt * precise(self.A_log).exp(), precise(self.D)
            y, state = self.scan(c, b, value, dt, decay, skip, state, reset)
        y = self.norm(y.flatten(2).to(mixed.dtype), gate)
        return mask_padding(self.out_proj(y), lengths), (memory, state)

    def step(
        self, x: Tensor, state: MambaState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, MambaState]:
        """Map one step x (B, input_size) to (B, hidden_size) and the state."""
        return step_once(self, x, state, reset)


class GatedNorm(nn.Module):
    """A root-mean-square norm of x silu(z), group by group; unlike ``RMSNorm``, it gates first.

    Args:
        channels: Number of channels.
        groups: Parts of the channels that are normalised separately.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        channels: int,
        groups: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, device=device, dtype=dtype))
        self.channels, self.groups = channels, groups

    def extra_repr(self) -> str:
        """Return the sizes."""
        return describe(self)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Norm x (..., D), gated by z like it."""
        return rms_norm_of_gated(x, self.weight, gate, eps=1e-5, parts=self.groups)


def count_heads(inner: int, head_size: int, groups: int) -> int:
    """Return the number of heads; refuse sizes that do not divide."""
    if head_size < 1 or inner % head_size:
        raise InputError(
            "head_size",
            expected=f"a divisor of {inner}",
            got=str(head_size),
            remedy="change head_size or the width",
        )
    heads = inner // head_size
    if groups < 1 or heads % groups:
        raise InputError(
            "groups",
            expected=f"a divisor of {heads} heads",
            got=str(groups),
            remedy="change groups or head_size",
        )
    return heads
