"""Gradients that are to be differentiated again, of operators whose inputs depend on each other."""

import pytest
import torch
from torch import Tensor

from paratime.ops.conv import causal_conv
from paratime.ops.norm import rms_norm
from paratime.ops.selective import selective_scan


def norm(x: Tensor) -> Tensor:
    return rms_norm(x, x[0, 0].cos(), 2 * x, eps=1e-5)


def conv(x: Tensor) -> Tensor:
    return causal_conv(x, x[0, :2].cos(), x[0, 0], x[:, :1].sin())[0]


def scan(x: Tensor) -> Tensor:
    state, read = x[:, :1].cos(), x[..., :1]
    return selective_scan(x, x.exp(), -x[0, :1].exp(), read, read.sin(), x[0, 0], 2 * x, state)[0]


@pytest.mark.parametrize("function", (norm, conv, scan))
def test_gradients_are_the_same_when_a_graph_is_made_of_them(function, backend):
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    (plain,) = torch.autograd.grad(function(x).sin().sum(), x)
    (again,) = torch.autograd.grad(function(x).sin().sum(), x, create_graph=True)
    assert torch.allclose(again, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("function", (norm, conv, scan))
def test_second_derivatives(function, capability):
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(function, x)
