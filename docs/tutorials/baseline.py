"""# Adding a baseline

Compare your own layer with ParaGRU, Mamba, attention and the rest, on the same batches and with the
same number of parameters. A baseline is a `Mixer`: a layer over time with an explicit state.
"""

# %%
# ## A mixer
#
# The contract: `forward` returns outputs and the state after the last step; `step` continues from a
# state; a `reset` at t makes the state before step t the initial one. This one keeps an exponential
# moving average of each channel, which a linear scan computes for all steps at once.

import torch
from torch import nn

from paratime import Mixer, scan
from paratime.testing import check_mixer


class MovingAverage(Mixer):
    """h' = a h + (1 - a) W x, with a learned rate for each channel."""

    def __init__(self, width):
        super().__init__()
        self.input_size = self.hidden_size = width
        self.projection = nn.Linear(width, width)
        self.rate = nn.Parameter(torch.linspace(-2.0, 4.0, width))

    def forward(self, x, h0=None, *, reset=None, lengths=None):
        new, keep = self._drive(x)
        h0 = new.new_zeros(x.shape[0], self.hidden_size) if h0 is None else h0
        decay = keep.expand_as(new)
        if reset is not None:
            decay = decay.masked_fill(reset.unsqueeze(-1), 0)
        h = scan(decay, (1 - keep) * new, h0)
        if lengths is None:
            return h.to(x.dtype), h[:, -1].clone()
        states = torch.cat([h0.unsqueeze(1), h], dim=1)
        valid = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        y = torch.where(valid.unsqueeze(-1), h, 0).to(x.dtype)
        return y, states[torch.arange(len(states), device=x.device), lengths]

    def step(self, x, state=None, reset=None):
        new, keep = self._drive(x)
        state = torch.zeros_like(new) if state is None else state
        if reset is not None:
            state = state.masked_fill(reset.unsqueeze(-1), 0)
        h = keep * state + (1 - keep) * new
        return h.to(x.dtype), h.clone()

    def _drive(self, x):
        """Return projections and rates; states keep full precision in bfloat16, too."""
        new = self.projection(x)
        exact = torch.promote_types(new.dtype, torch.float32)
        return new.to(exact), self.rate.to(exact).sigmoid()


# %%
# ## Check the contract
#
# `check_mixer` compares streaming with whole sequences, hands states over, resets, pads, and checks
# that no gradient leaks. It raises with the name of the promise that is broken.

torch.manual_seed(0)
check_mixer(lambda: MovingAverage(8), torch.randn(3, 20, 8))
print("all promises kept")

# %%
# ## Compare
#
# Three mixers in the same encoder read rare pulses, up or down. At every step they must tell the
# direction of the last pulse. The average forgets at a fixed rate; gates can hold a value for as
# long as it takes.

from paratime import Encoder, MinGRU, ParaGRU


def pulses(steps):
    """Return rare pulses, and the direction of the last one at every step."""
    x = torch.randn(32, steps, 1).sign() * (torch.rand(32, steps, 1) < 0.05)
    x[:, 0] = 1
    last = torch.where(x != 0, torch.arange(steps)[:, None], 0).cummax(1).values
    return x, (x.gather(1, last) > 0).squeeze(-1).long()


def accuracy(mixer):
    """Train on 64 steps; return the share of right answers on 256."""
    torch.manual_seed(0)
    inlet, encoder, head = nn.Linear(1, 16), Encoder(16, depth=1, mixer=mixer), nn.Linear(16, 2)
    parts = nn.ModuleList([inlet, encoder, head])
    optimizer = torch.optim.AdamW(parts.parameters(), lr=0.01)
    for steps in (64,) * 100 + (256,):
        x, target = pulses(steps)
        logits = head(encoder(inlet(x))[0])
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float((logits.argmax(-1) == target).float().mean())


for mixer in (MovingAverage, MinGRU, ParaGRU):
    print(f"{mixer.__name__:<14} {100 * accuracy(mixer):.1f} % right")

# %%
# ## In every slice
#
# Saved as `mine.py`, the class trains wherever ParaGRU does:
#
# ```text
# paratime fit -c configs/language/quickstart.yaml --model.encoder.mixer mine.MovingAverage paratime
# compare -c configs/compare/quick.yaml --mixers "[ParaGRU, mine.MovingAverage]" --out runs/mine
# ```
#
# `compare` gives all mixers the same batches in the same order, and the same parameter count; see
# [the guide](../guides/comparisons.md). To contribute a baseline, read
# [Contributing](../../CONTRIBUTING.md).
