"""The Mamba family against transformers' modules and against plain loops."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.baselines.mamba3 import Mamba3
from paratime.errors import InputError
from paratime.layers.mixer import count_parameters
from paratime.ops.ssd import CHUNK

CLOSE, EXACT = 1e-5, 1e-10
WIDTH = 24


def stirred(layer: nn.Module) -> nn.Module:
    """Move all parameters, so that none is what it is at first."""
    torch.manual_seed(1)
    for parameter in layer.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return layer


def published(kind: str) -> nn.Module:
    """Make transformers' module, whose CPU path is torch's."""
    transformers = pytest.importorskip("transformers")
    if kind == "Mamba":
        from transformers.models.mamba.modeling_mamba import MambaMixer

        config = transformers.MambaConfig(
            hidden_size=WIDTH, state_size=5, time_step_rank=3, use_mambapy=False
        )
        return MambaMixer(config, 0)
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = transformers.Mamba2Config(
        hidden_size=WIDTH, num_heads=6, head_dim=8, state_size=5, n_groups=2, chunk_size=16
    )
    return Mamba2Mixer(config, 0)


OURS = {
    "Mamba": lambda: Mamba(WIDTH, state_size=5, dt_rank=3),
    "Mamba2": lambda: Mamba2(WIDTH, state_size=5, head_size=8, groups=2),
}


@pytest.mark.parametrize("steps", (1, 7, CHUNK + 9))
@pytest.mark.parametrize("kind", OURS)
def test_outputs_and_gradients_are_those_of_transformers(kind, steps):
    theirs = stirred(published(kind))
    ours = OURS[kind]()
    ours.load_state_dict(theirs.state_dict())
    assert count_parameters(ours) == count_parameters(theirs)
    x = torch.randn(2, steps, WIDTH)
    results = []
    for layer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y = y[0] if isinstance(y, tuple) else y
        weight = torch.arange(y.numel()).cos().view_as(y)
        named = dict(layer.named_parameters())
        found = torch.autograd.grad((y * weight).sum(), [leaf, *named.values()])
        results.append(dict(zip(("y", "x", *named), (y, *found), strict=True)))
    mine, expected = results
    assert sorted(mine) == sorted(expected)
    for name, truth in expected.items():
        error = (mine[name] - truth).abs().max() / (1 + truth.abs().max())
        assert error <= CLOSE, f"{name}: {error:.1e}"


def rotated(x: Tensor, theta: Tensor) -> Tensor:
    """Turn x (N,) by complex multiplication."""
    count = 2 * len(theta)
    z = torch.view_as_complex(x[:count].reshape(-1, 2)) * torch.polar(torch.ones_like(theta), theta)
    return torch.cat([torch.view_as_real(z).flatten(), x[count:]])


def published_mamba3(layer: Mamba3, x: Tensor, reset: Tensor) -> Tensor:
    """Run the recurrence of the paper for one sequence x (T, D), head by head, step by step."""
    heads, rank, size = layer.B_bias.shape
    normed = {name: getattr(layer, f"{name}_norm").weight for name in "BC"}
    outputs = []
    states = [torch.zeros(size, layer.head_size).double() for _ in range(heads)]
    past = [torch.zeros_like(state) for state in states]
    angles = torch.zeros(heads, size // 4).double()
    for u, begins in zip(x, reset, strict=True):
        z, v, b, c, dd_dt, dd_a, trap, angle = (layer.in_proj.weight @ u).split(layer.sizes)
        z, v = z.view(heads, -1), v.view(heads, -1)
        b, c = (
            w.view(rank, size) / (w.view(rank, size).square().mean(-1, keepdim=True) + 1e-5).sqrt()
            for w in (b, c)
        )
        b, c = b * normed["B"], c * normed["C"]
        row = []
        for h in range(heads):
            dt = functional.softplus(dd_dt[h] + layer.dt_bias[h])
            a = 1 + dd_a[h] if dd_a[h] >= 0 else 1 / (1 - dd_a[h])
            alpha = torch.exp(-dt * max(a, torch.tensor(1e-4)))
            lam = torch.sigmoid(trap[h])
            if begins:
                states[h], past[h] = torch.zeros_like(states[h]), torch.zeros_like(past[h])
                angles[h] = 0
            angles[h] += math.pi * torch.tanh(angle) * dt
            many = rank > 1
            values = [v[h] * layer.mimo_x[h, r] if many else v[h] for r in range(rank)]
            keys = [rotated(b[r] + layer.B_bias[h, r], angles[h]) for r in range(rank)]
            queries = [rotated(c[r] + layer.C_bias[h, r], angles[h]) for r in range(rank)]
            now = sum(torch.outer(k, w) for k, w in zip(keys, values, strict=True))
            states[h] = alpha * states[h] + (1 - lam) * dt * alpha * past[h] + lam * dt * now
            past[h] = now
            out = torch.zeros_like(v[h])
            for r in range(rank):
                y = queries[r] @ states[h] + layer.D[h] * values[r]
                gate = z[h] * layer.mimo_z[h, r] if many else z[h]
                y = y * functional.silu(gate)
                out = out + (y * layer.mimo_o[h, r] if many else y)
            row.append(out)
        outputs.append(layer.out_proj.weight @ torch.cat(row))
    return torch.stack(outputs)


@pytest.mark.parametrize("rank", (1, 3))
@torch.no_grad()
def test_mamba3_is_the_published_recurrence(rank):
    layer = stirred(Mamba3(WIDTH, state_size=8, head_size=16, rank=rank)).double()
    x = torch.randn(2, CHUNK + 5, WIDTH).double()
    reset = torch.rand(2, CHUNK + 5) < 0.1
    y, _ = layer(x, reset=reset)
    truth = torch.stack([published_mamba3(layer, *row) for row in zip(x, reset, strict=True)])
    assert (y - truth).abs().max() <= EXACT


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match="head_size: expected a divisor of 48, got 10"):
        Mamba2(WIDTH, head_size=10)
    with pytest.raises(InputError, match="groups: expected a divisor of 3 heads, got 2"):
        Mamba2(WIDTH, head_size=16, groups=2)
    with pytest.raises(InputError, match="state_size: expected a multiple of 4, got 6"):
        Mamba3(WIDTH, state_size=6)
    with pytest.raises(InputError, match="rank: expected at least 1, got 0"):
        Mamba3(WIDTH, rank=0)
    for least, most in ((0.0, 1.0), (1.0, 0.5)):
        with pytest.raises(InputError, match="0 < dt_min <= dt_max"):
            Mamba3(WIDTH, dt_min=least, dt_max=most)
    with pytest.raises(InputError, match="x: expected 24 channels, got 8"):
        Mamba(WIDTH)(torch.zeros(1, 2, 8))
    with pytest.raises(InputError, match="h0: expected a tuple of memory, state, got Tensor"):
        Mamba(WIDTH)(torch.zeros(1, 2, WIDTH), torch.zeros(1, 3))


def test_steps_of_mamba3_begin_in_their_range():
    for least, most in ((1e-3, 0.1), (0.5, 2.0)):
        layer = Mamba3(64, head_size=1, dt_min=least, dt_max=most)
        dt = functional.softplus(layer.dt_bias)
        assert least * 0.999 <= dt.min() < dt.max() <= most * 1.001
        assert dt.log().std() > 0.2 * math.log(most / least)
