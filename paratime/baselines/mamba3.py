"""Mamba-3: a trapezoidal rule in time, a state that turns, and several inputs at a time."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.baselines import ssm
from paratime.baselines.mamba2 import count_heads
from paratime.cells.projection import check_width
from paratime.errors import InputError, check_at_least
from paratime.layers.mixer import Mixer, check_sequence, last_valid, mask_padding, step_once
from paratime.layers.norm import RMSNorm
from paratime.ops.operator import without_autocast
from paratime.ops.precision import precise
from paratime.ops.scan import scan
from paratime.ops.ssd import ssd
from paratime.solvers.base import restart

Mamba3State = tuple[Tensor, Tensor, Tensor, Tensor]
"""The state of each head (B, H, N, P), its last keys (B, R, H, N) and values (B, R, H, P), and its
angles (B, H, N / 4)."""

LEAST_DECAY = 1e-4
"""Of a unit of time."""


class Mamba3(Mixer):
    """The mixer of Mamba-3 (arXiv 2603.15569), without a convolution.

        S[t] = alpha S[t-1] + (1 - lam) dt alpha k[t-1] v[t-1]^T + lam dt k[t] v[t]^T,
        y[t] = S[t]^T q[t] + D v[t],  alpha = exp(-dt heavy_tail(A[t])),  lam = sigmoid(trap[t]),

    with queries and keys that are normed, moved by a bias, and turned, in pairs of neighbours on
    half of the state, by the angles theta[t] = theta[t-1] + pi tanh(angle[t]) dt; heavy_tail(x) is
    1 + x for x >= 0, and 1 / (1 - x) otherwise. At the first step of an episode nothing precedes.

    With a ``rank`` R above 1 (MIMO) there are R keys and queries, whose values are v times learnt
    weights; R outputs, each gated, are added up by weights, too.

    A value that is not finite may spoil its sequence beyond the next reset, unless that is at the
    first step: see ``paratime.ops.ssd``.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        state_size: N, a multiple of 4.
        head_size: P; by default 64, or the greatest power of two below it that fits.
        expand: Channels inside, in widths of the input.
        rank: R.
        dt_min: Least dt at the beginning. An angle grows by less than pi dt a step, so that a state
            that is to turn by half within one step has to find its way to a dt above 1.
        dt_max: Greatest dt at the beginning.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes that do not divide, or are below 1; a range of dt that is none.
    """

    complete = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        state_size: int = 128,
        head_size: int | None = None,
        expand: int = 2,
        rank: int = 1,
        dt_min: float = ssm.SMALLEST,
        dt_max: float = ssm.LARGEST,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = input_size if hidden_size is None else hidden_size
        check_at_least(1, input_size=input_size, hidden_size=self.hidden_size)
        check_at_least(1, expand=expand, rank=rank)
        inner = expand * input_size
        head = math.gcd(64, inner) if head_size is None else head_size
        heads, angles = count_heads(inner, head, 1), state_size // 4
        if state_size < 4 or state_size % 4:
            raise InputError(
                "state_size",
                expected="a multiple of 4",
                got=str(state_size),
                remedy="half of it is turned, in pairs",
            )
        if not 0 < dt_min <= dt_max:
            raise InputError(
                "dt_min and dt_max",
                expected="0 < dt_min <= dt_max",
                got=f"{dt_min} and {dt_max}",
                remedy="correct them",
            )
        self.head_size, self.state_size, self.expand, self.rank = head, state_size, expand, rank
        self.dt_min, self.dt_max = dt_min, dt_max
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.sizes = inner, inner, rank * state_size, rank * state_size, heads, heads, heads, angles
        self.shapes = {
            "state": (heads, state_size, head),
            "keys": (rank, heads, state_size),
            "values": (rank, heads, head),
            "angles": (heads, angles),
        }
        self.in_proj = nn.Linear(input_size, sum(self.sizes), bias=False, **factory)
        steps = ssm.initial_bias(torch.empty(heads, **factory), dt_min, dt_max)
        self.dt_bias = nn.Parameter(steps)
        self.B_bias = nn.Parameter(torch.ones(heads, rank, state_size, **factory))
        self.C_bias = nn.Parameter(torch.ones(heads, rank, state_size, **factory))
        self.B_norm = RMSNorm(state_size, eps=1e-5, **factory)
        self.C_norm = RMSNorm(state_size, eps=1e-5, **factory)
        self.D = nn.Parameter(torch.ones(heads, **factory))
        if rank > 1:
            shape = heads, rank, head
            self.mimo_x = nn.Parameter(torch.full(shape, 1 / rank, **factory))
            self.mimo_z = nn.Parameter(torch.ones(shape, **factory))
            self.mimo_o = nn.Parameter(torch.full(shape, 1 / rank, **factory))
        self.out_proj = nn.Linear(inner, self.hidden_size, bias=False, **factory)

    def forward(
        self,
        x: Tensor,
        h0: Mamba3State | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Mamba3State]:
        """Map x (B, T, input_size) to (B, T, hidden_size) and the state; see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        check_width(x, self.input_size)
        lengths = None if lengths is None else lengths.long()
        mixed = self.in_proj(x)
        before = ssm.start(mixed, h0, self.shapes)
        with without_autocast(x.device):
            gate, value, key, query, dt, decay, trap, angle = mixed.split(self.sizes, dim=-1)
            dt, reset = ssm.valid(ssm.softplus(dt, self.dt_bias), reset, lengths)
            log_decay = -dt * heavy_tail(precise(decay)).clamp(min=LEAST_DECAY)
            turns = dt.unsqueeze(-1) * (torch.pi * precise(angle).tanh()).unsqueeze(-2)
            angles = wrapped(summed(turns, before[3], reset))
            key = turned(self._biased(self.B_norm, self.B_bias, key), angles)
            query = turned(self._biased(self.C_norm, self.C_bias, query), angles)
            gate, value = (precise(v).unflatten(-1, (1, -1, self.head_size)) for v in (gate, value))
            if self.rank > 1:
                value, gate = value * self._weight(self.mimo_x), gate * self._weight(self.mimo_z)
            y, state = self._integrate(query, key, value, dt, log_decay, trap, before, reset)
            y = y * functional.silu(gate)
            if self.rank > 1:
                y = y * self._weight(self.mimo_o)
            y = y.sum(2).flatten(-2).to(mixed.dtype)
        ends = zip((key, value, angles.to(dt.dtype)), before[1:], strict=True)
        keys, values, turned_by = (last_valid(now, old, lengths) for now, old in ends)
        return mask_padding(self.out_proj(y), lengths), (state, keys, values, turned_by)

    def step(
        self, x: Tensor, state: Mamba3State | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Mamba3State]:
        """Map one step x (B, input_size) to (B, hidden_size) and the state."""
        return step_once(self, x, state, reset)

    def _integrate(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dt: Tensor,
        log_decay: Tensor,
        trap: Tensor,
        before: list[Tensor],
        reset: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return S^T q + D v of the trapezoidal rule, and the last state.

        From the next step on, k[s] v[s]^T counts lam[s] dt[s] + (1 - lam[s+1]) dt[s+1] times the
        decay since s; at s itself, the second part is not there yet.
        """
        share = precise(trap).sigmoid()
        now, later = share * dt, (1 - share) * dt
        follows = torch.cat([later, torch.zeros_like(later[:, :1])], dim=1)[:, 1:]
        state, old_key, old_value, _ = before
        entering = old_key.movedim(1, -1) @ old_value.transpose(1, 2)  # (B, H, N, P)
        state = torch.addcmul(state, later[:, 0, :, None, None], entering)
        skip = precise(self.D)
        y, state = ssd(query, key, value, now + follows, log_decay, skip, state, reset)
        scores = query.transpose(2, 3) @ key.movedim(2, -1)  # (B, T, H, R, R)
        early = scores @ (value * follows[:, :, None, :, None]).transpose(2, 3)
        return y - early.transpose(2, 3), state

    def _biased(self, norm: RMSNorm, bias: Tensor, x: Tensor) -> Tensor:
        """Return keys or queries (B, T, R, H, N) of the heads."""
        normed = precise(norm(x.unflatten(-1, (self.rank, -1))))
        return normed.unsqueeze(-2) + self._weight(bias)

    def _weight(self, weight: Tensor) -> Tensor:
        """Return weights (H, R, ...) as (R, H, ...)."""
        return precise(weight).transpose(0, 1)


def heavy_tail(x: Tensor) -> Tensor:
    """Return 1 + x for x >= 0, 1 / (1 - x) otherwise."""
    return torch.where(x >= 0, 1 + x, 1 / (1 - x.clamp(max=0)))


def summed(x: Tensor, start: Tensor, reset: Tensor | None) -> Tensor:
    """Return running sums of x (B, T, ...), from 0 at a reset, in float64."""
    x, start = x.double(), start.double()
    kept = restart(torch.ones_like(x), reset)
    return scan(kept.flatten(2), x.flatten(2), start.flatten(1)).view_as(x)


def wrapped(angle: Tensor) -> Tensor:
    """Return an angle within a turn."""
    return angle.remainder(2 * torch.pi)


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs of neighbours in the first numbers of x (B, T, R, H, N) by (B, T, H, N / 4)."""
    pairs, rest = x.split([2 * angles.shape[-1], x.shape[-1] - 2 * angles.shape[-1]], dim=-1)
    p, q = pairs.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = (v.to(x.dtype).unsqueeze(2) for v in (angles.cos(), angles.sin()))
    both = torch.stack([cos * p - sin * q, sin * p + cos * q], dim=-1)
    return torch.cat([both.flatten(-2), rest], dim=-1)
