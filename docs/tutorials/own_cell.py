"""# Your own cell

A recurrence of your own, solved in parallel over time, with exact gradients, in every task of
paratime. You write one class with two methods.
"""

# %%
# ## Write the recurrence
#
# `drive` computes everything that depends on the input alone, for all steps at once. `step` maps a
# state to the next one. In `step`, a channel must not read another channel; layers mix channels
# through `drive`. `bound` promises that $|h| \le 1$ stays true, which lets the solver clamp wild
# predictions.

import torch
from torch import nn

from paratime import Cell, Recurrent, verify


class LeakyCell(Cell):
    """h' = h + sigmoid(tau) (tanh(u + a h) - h)."""

    bound = 1.0

    def __init__(self, input_size, hidden_size):
        super().__init__(hidden_size)
        self.projection = nn.Linear(input_size, hidden_size)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size).uniform_(-1, 1))
        self.tau = nn.Parameter(torch.zeros(hidden_size))

    def drive(self, x):
        return self.projection(x)

    def step(self, u, h):
        return h + self.tau.sigmoid() * (torch.tanh(u + self.weight_hh * h) - h)


# %%
# ## Compare it with the loop
#
# On a CPU with a C++ compiler, the first run makes a kernel of `step`; elsewhere Newton's method
# solves all steps at once. `verify` says which, and compares it with the plain loop, forward and
# backward, in two precisions. Differences are rounding.

torch.manual_seed(0)
layer = Recurrent(LeakyCell(16, 32))
rows = verify(layer, torch.randn(2, 1000, 16))

# %%
# ## Know its limits
#
# `check_cell` is the conformance test: agreement with the loop, gradients, resets, streaming.
# Large recurrent weights make any cell harder to solve by Newton's method, which is what a GPU
# uses. The result stays right: if Newton does not converge, the loop finishes, and `solution`
# reports it.

from paratime import Newton
from paratime.testing import check_cell

check_cell(LeakyCell(16, 32), torch.randn(2, 100, 16))

layer = Recurrent(layer.cell, Newton())
for scale in (0.5, 1.0, 2.0, 4.0):
    nn.init.normal_(layer.cell.weight_hh, std=scale)
    with torch.no_grad():
        layer(torch.randn(2, 1000, 16))
    print(f"scale {scale}: {layer.solution.message[:60]}")

# %%
# ## Train it
#
# A layer is an `nn.Module`. This one learns to remember: the input is zero but for rare pulses up
# or down, and every output must say which way the last pulse went. A channel can latch once its
# recurrent weight exceeds 1.

torch.manual_seed(0)
layer = Recurrent(LeakyCell(1, 32))
nn.init.uniform_(layer.cell.weight_hh, 0, 2)
head = nn.Linear(32, 1)
optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
for step in range(121):
    pulses = torch.randn(32, 60, 1).sign() * (torch.rand(32, 60, 1) < 0.1)
    pulses[:, 0] = 1
    last = torch.where(pulses != 0, torch.arange(60)[:, None], 0).cummax(1).values
    target = (pulses.gather(1, last) > 0).float()
    y, _ = layer(pulses)
    loss = nn.functional.binary_cross_entropy_with_logits(head(y), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 40 == 0:
        right = ((head(y) > 0) == (target > 0.5)).float().mean()
        print(f"step {step}: loss {loss.item():.3f}, right {100 * right:.0f} %")

# %%
# ## Use it everywhere
#
# A *mixer* is a layer made from its width alone. Saved in `mine.py`, the class below goes wherever
# `ParaGRU` goes: `paratime fit ... --model.encoder.mixer mine.MyLayer`, in every slice, and in
# `paratime compare`.


class MyLayer(Recurrent):
    """A mixer of leaky cells."""

    def __init__(self, width):
        super().__init__(LeakyCell(width, width))


from paratime import Encoder

encoder = Encoder(64, depth=2, mixer=MyLayer)
print(sum(p.numel() for p in encoder.parameters()), "parameters")
