"""Causal depthwise convolution over time, with a streaming state and taps cut at resets."""

import torch
from torch import Tensor, nn

from paratime.errors import InputError
from paratime.layers.mixer import Mixer, check_sequence, check_state, check_step, mask_padding


class CausalConv(Mixer):
    """Convolve each channel with its last ``kernel_size`` inputs since the last reset.

        y[t] = b + sum_k w[k] x[t - k],    over the k for which no reset lies in t - k + 1 .. t.

    The state is the last ``kernel_size - 1`` inputs, (B, kernel_size - 1, D), zero before the
    start and before a reset.

    Args:
        channels: Number of channels D.
        kernel_size: Taps, the current step included.
    """

    def __init__(self, channels: int, kernel_size: int = 4) -> None:
        super().__init__()
        if kernel_size < 2:
            remedy = "leave the convolution out instead"
            raise InputError("kernel_size", "at least 2", str(kernel_size), remedy)
        bound = kernel_size**-0.5
        self.weight = nn.Parameter(torch.empty(kernel_size, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Convolve x (B, T, D); see ``Mixer.forward``."""
        check_sequence(x, reset, lengths)
        memory, steps = self._memory(x[:, 0], h0), x.shape[1]
        padded = torch.cat([memory, x], dim=1)
        age = None if reset is None else _steps_since(reset)
        y = self.bias.to(x.dtype).expand_as(x)
        for k, tap in enumerate(self.weight):
            past = padded[:, len(self.weight) - 1 - k :][:, :steps]
            if age is not None and k:
                past = past.masked_fill((age < k).unsqueeze(-1), 0)
            y = torch.addcmul(y, past, tap.to(past.dtype))
        return mask_padding(y, lengths), self._final(padded, age, lengths)

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve one step x (B, D)."""
        check_step(x, reset)
        memory = self._memory(x, state)
        if reset is not None:
            memory = memory.masked_fill(reset.view(-1, 1, 1), 0)
        window = torch.cat([memory, x.unsqueeze(1)], dim=1)
        y = self.bias + (window * self.weight.flip(0)).sum(1)
        return y.to(x.dtype), window[:, 1:]

    def _memory(self, x: Tensor, state: Tensor | None) -> Tensor:
        taps, channels = self.weight.shape
        if x.shape[-1] != channels:
            remedy = "build the layer with as many channels as its input"
            raise InputError("x", f"{channels} channels", str(x.shape[-1]), remedy)
        shape = (x.shape[0], taps - 1, channels)
        if state is None:
            return x.new_zeros(shape)
        check_state("h0", state, shape)
        return state.to(x.dtype)

    def _final(self, padded: Tensor, age: Tensor | None, lengths: Tensor | None) -> Tensor:
        """Return the last inputs before each sequence's end, zero where a reset cut them off."""
        taps = self.weight.shape[0] - 1
        batch, steps = padded.shape[0], padded.shape[1] - taps
        back = torch.arange(taps, device=padded.device)
        end = torch.full((batch,), steps, device=padded.device) if lengths is None else lengths
        rows = torch.arange(batch, device=padded.device).unsqueeze(-1)
        memory = padded[rows, end.unsqueeze(-1) + back]
        if age is None:
            return memory
        last = torch.where(end > 0, age[rows[:, 0], (end - 1).clamp(min=0)], taps)
        return memory.masked_fill((last.unsqueeze(-1) < back.flip(0)).unsqueeze(-1), 0)


def _steps_since(reset: Tensor) -> Tensor:
    """Return the number of steps since the last reset, a very large one where there was none."""
    now = torch.arange(reset.shape[1], device=reset.device).expand_as(reset)
    start = torch.where(reset, now, -(2**40))
    return now - start.cummax(dim=1).values
