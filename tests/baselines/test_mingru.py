"""The linear recurrences against their published equations, one step after another."""

import pytest
import torch
from torch import Tensor

from paratime.baselines.mingru import MinGRU, MinLSTM, positive
from paratime.testing import TOLERANCE, relative_error


def published_gru(u: Tensor, h: Tensor) -> Tensor:
    z, candidate = torch.sigmoid(u[..., 0, :]), positive(u[..., 1, :])
    return (1 - z) * h + z * candidate


def published_lstm(u: Tensor, h: Tensor) -> Tensor:
    f, i = torch.sigmoid(u[..., 0, :]), torch.sigmoid(u[..., 1, :])
    return f / (f + i) * h + i / (f + i) * positive(u[..., 2, :])


LAYERS = {"MinGRU": (MinGRU, published_gru), "MinLSTM": (MinLSTM, published_lstm)}


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("steps", (1, 2, 63, 500))
@pytest.mark.parametrize("name", LAYERS)
def test_forward_is_the_published_recurrence(name, steps, dtype):
    build, published = LAYERS[name]
    layer = build(4, 6).to(dtype)
    x = (3 * torch.randn(2, steps, 4, dtype=dtype)).requires_grad_()
    h0 = torch.randn(2, 6, dtype=dtype, requires_grad=True)
    reset = torch.rand(2, steps) < 0.1
    states, h = [], h0
    for t in range(steps):
        h = published(layer.projection(x[:, t]), h * ~reset[:, t, None])
        states.append(h)
    truth, leaves = torch.stack(states, dim=1), (x, h0, *layer.parameters())
    y, end = layer(x, h0, reset=reset)
    assert (y - truth).abs().max() <= TOLERANCE[dtype].value and torch.equal(end, y[:, -1])
    gradients = [torch.autograd.grad(v.square().sum(), leaves) for v in (y, truth)]
    for a, b in zip(*gradients, strict=True):
        assert relative_error(a, b) <= TOLERANCE[dtype].gradient


def test_the_candidate_is_positive_and_continuous():
    v = torch.tensor([-50.0, -1e-6, 0.0, 2.0])
    expected = torch.tensor([0.0, 0.5, 0.5, 2.5])
    assert (positive(v) - expected).abs().max() <= TOLERANCE[v.dtype].value
    assert (positive(v) > 0).all()


def test_gates_that_both_vanish_share_alike():
    layer = MinLSTM(2)
    layer.projection.bias.data[:2] = -1000
    x = torch.zeros(1, 3, 2, requires_grad=True)
    y, _ = layer(x, torch.ones(1, 2))
    y.sum().backward()
    expected = (1 + positive(layer.projection.bias[2])) / 2
    assert (y[0, 0] - expected).abs().max() <= TOLERANCE[y.dtype].value
    assert x.grad.isfinite().all()
