"""Causal self-attention with rotary positions, whose cache is a streaming state."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.cells.init import UniformInit
from paratime.cells.projection import Projection
from paratime.errors import InputError
from paratime.layers.mixer import (
    Mixer,
    check_sequence,
    check_state,
    check_tuple,
    mask_padding,
    step_once,
)
from paratime.ops.operator import is_open, precise_dtype

AttentionState = tuple[Tensor, Tensor]
"""Keys and values of past steps, (B, N, 2, D), newest last and zero where there are none; and how
many of them each sequence may read, int64 (B,)."""


class Attention(Mixer):
    """Multi-head attention to the steps since the last reset (arXiv 1706.03762).

        y[t] = W_o concat_heads sum_s softmax_s(<R[t] q[t], R[s] k[s]> / sqrt(d)) v[s]

    over the s <= t that no reset separates from t, and s > t - window if there is a window. R[t]
    rotates pairs of numbers by t base^(-2 i / d), i = 0 .. d / 2 - 1 (RoPE, arXiv 2104.09864); only
    differences of positions matter, so that keys are kept unrotated, positions count from the
    oldest step at hand, and streams may be endless.

    The state is the cache. With a window it holds ``window - 1`` steps from the first step on, so
    that its memory is bounded and its shape constant; without, it grows by every step.

    An input that is no number may spoil all outputs of its sequence, across resets, too: torch's
    kernels weigh what a step may not read by zero.

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the output; ``input_size`` by default.
        heads: Number of heads, of an even width d = D / heads.
        window: Most steps that a step reads, itself included; all by default.
        base: Base of the rotary wavelengths.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes that do not divide, or an empty window.
    """

    complete = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        heads: int = 4,
        window: int | None = None,
        base: float = 10000.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        size = input_size if hidden_size is None else hidden_size
        if heads < 1 or size % (2 * heads):
            raise InputError(
                "heads",
                expected=f"a divisor of hidden_size / 2 = {size / 2:g}",
                got=str(heads),
                remedy="change heads or the width",
            )
        if window is not None and window < 1:
            raise InputError("window", "at least 1", str(window), "leave it out to read all")
        self.hidden_size, self.heads, self.window, self.base = size, heads, window, base
        self.input_size = input_size
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.project_in = Projection(input_size, 3, size, **factory)
        self.project_out = nn.Linear(size, size, bias=False, **factory)
        UniformInit().input_(self.project_in)

    def forward(
        self,
        x: Tensor,
        h0: AttentionState | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, AttentionState]:
        """Map x (B, T, input_size) to (B, T, D) and the cache; see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        u = self.project_in(x)
        query, kept = u[:, :, 0], u[:, :, 1:]
        past, known = self._past(kept, h0)
        cache = torch.cat([past, kept], dim=1)
        first = _first_step(reset, known, past.shape[1], x.shape[1])
        plain = h0 is None and reset is None and self._reaches(x.shape[1])
        mask = None if plain else self._mask(first, past.shape[1])
        y = self.project_out(self._attend(query, cache, mask))
        return mask_padding(y, lengths), self._final(cache, first, known, lengths)

    def step(
        self, x: Tensor, state: AttentionState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, AttentionState]:
        """Map one step x (B, input_size) to (B, D) and the cache."""
        return step_once(self, x, state, reset)

    def _reaches(self, steps: int) -> bool:
        """Return whether the last of some steps may read the first one."""
        if self.window is None:
            return True
        return not is_open(steps) and steps <= self.window

    def _past(self, kept: Tensor, h0: AttentionState | None) -> AttentionState:
        """Return the cache before the first step, empty for None."""
        if h0 is None:
            nothing = kept.new_zeros(kept.shape[0], dtype=torch.long)
            return kept[:, :0], nothing
        check_tuple("h0", h0, ("cache", "counts"))
        cache, known = h0
        is_cache = isinstance(cache, Tensor) and cache.dim() > 1
        steps = self.window - 1 if self.window else cache.shape[1] if is_cache else 1
        check_state("h0", cache, (kept.shape[0], steps, *kept.shape[2:]), like=kept)
        check_state("h0", known, (kept.shape[0],), like=kept, counts=True)
        return cache.to(kept.dtype), known

    def _mask(self, first: Tensor, past: int) -> Tensor:
        """Return which of the N + T steps at hand each of T steps may read, (B, 1, T, N + T)."""
        steps = torch.arange(past + first.shape[1], device=first.device)
        now = steps[past:]
        if self.window is not None:
            first = first.clamp(min=now - (self.window - 1))
        readable = (steps >= first.unsqueeze(-1)) & (steps <= now.unsqueeze(-1))
        return readable.unsqueeze(1)

    def _attend(self, query: Tensor, cache: Tensor, mask: Tensor | None) -> Tensor:
        key, value = (self._of_heads(x) for x in cache.unbind(2))
        query = self._rotated(self._of_heads(query), key.shape[-2] - query.shape[1])
        y = functional.scaled_dot_product_attention(
            query, self._rotated(key, 0), value, attn_mask=mask, is_causal=mask is None
        )
        return y.transpose(1, 2).flatten(-2)

    def _of_heads(self, x: Tensor) -> Tensor:
        """View x (B, T, D) as (B, heads, T, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _rotated(self, x: Tensor, begin: int) -> Tensor:
        """Rotate x (..., T, d), whose first step has the position ``begin``."""
        dtype = precise_dtype(x)
        half, device = x.shape[-1] // 2, x.device
        speed = self.base ** (-torch.arange(half, device=device, dtype=dtype) / half)
        position = torch.arange(begin, begin + x.shape[-2], device=device, dtype=dtype)
        angle = position.unsqueeze(-1) * speed
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        p, q = x.chunk(2, dim=-1)
        return torch.cat([cos * p - sin * q, sin * p + cos * q], dim=-1)

    def _final(
        self, cache: Tensor, first: Tensor, known: Tensor, lengths: Tensor | None
    ) -> AttentionState:
        """Return the newest steps of each sequence, zero where it may not read them."""
        batch, total, steps = *cache.shape[:2], first.shape[1]
        keep = total if self.window is None else self.window - 1
        rows = torch.arange(batch, device=cache.device)
        valid = torch.full_like(known, steps) if lengths is None else lengths.long()
        end = total - steps + valid
        begin = torch.where(valid > 0, first[rows, (valid - 1).clamp(min=0)], end - known)
        count = (end - begin).clamp(max=keep)
        back = torch.arange(keep, 0, -1, device=cache.device)
        where = (end.unsqueeze(-1) - back).clamp(min=0)
        unread = (back > count.unsqueeze(-1)).view(batch, keep, 1, 1)
        return cache[rows.unsqueeze(-1), where].masked_fill(unread, 0), count


def _first_step(reset: Tensor | None, known: Tensor, past: int, steps: int) -> Tensor:
    """Return the oldest step at hand since the last reset before each of T steps, (B, T)."""
    begin = (past - known).unsqueeze(-1)
    if reset is None:
        return begin.expand(-1, steps)
    now = torch.arange(past, past + steps, device=reset.device)
    return torch.where(reset, now, begin).cummax(dim=1).values
