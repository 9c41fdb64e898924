"""The compiled exp, sigmoid and tanh, number by number."""

import math

import pytest
import torch
from torch import Tensor

from paratime.ops.native import library

FUNCTIONS = {"exp": torch.exp, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
ULPS = {torch.float32: 4, torch.float64: 8}
"""Errors in float64 are against torch's own float64, which is off by some ulps itself."""


def compiled(name: str, x: Tensor) -> Tensor:
    y = torch.empty_like(x)
    library.call(library.symbol(f"{name}_{library.FORMATS[x.dtype]}"), x.numel(), x, y)
    return y


def ulps(y: Tensor, truth: Tensor) -> Tensor:
    """Return errors in units of the last place of the truth, which is a normal number."""
    exponent = torch.frexp(truth.abs())[1] - 1
    return (y.double() - truth).abs() / (torch.finfo(y.dtype).eps * torch.exp2(exponent.double()))


@pytest.mark.parametrize("dtype", ULPS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_in_units_of_the_last_place(name, dtype, capability):
    dense = torch.linspace(-120, 120, 2_000_001, dtype=torch.float64)
    small = torch.logspace(-30, 2, 200_001, dtype=torch.float64)
    x = torch.cat([dense, small, -small]).to(dtype)
    truth = FUNCTIONS[name](x.double())
    y, finfo = compiled(name, x), torch.finfo(dtype)
    normal = (truth.abs() >= finfo.tiny) & (truth.abs() <= finfo.max)
    assert ulps(y[normal], truth[normal]).max() <= ULPS[dtype]
    tiny = truth.abs() < finfo.tiny
    assert ((y[tiny].double() - truth[tiny]).abs() <= finfo.tiny).all()


@pytest.mark.parametrize("dtype", ULPS, ids=str)
def test_ends(dtype, capability):
    x = torch.tensor([-math.inf, -1e30, -0.0, 0.0, 1e30, math.inf, math.nan], dtype=dtype)
    expected = {
        "exp": [0, 0, 1, 1, math.inf, math.inf, math.nan],
        "sigmoid": [0, 0, 0.5, 0.5, 1, 1, math.nan],
        "tanh": [-1, -1, 0, 0, 1, 1, math.nan],
    }
    for name, values in expected.items():
        torch.testing.assert_close(
            compiled(name, x), torch.tensor(values, dtype=dtype), rtol=0, atol=0, equal_nan=True
        )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_a_whole_vector_and_of_one_lane_agree_to_the_bit(name, capability):
    x = torch.randn(67)
    alone = torch.cat([compiled(name, x[i : i + 1].clone()) for i in range(67)])
    assert torch.equal(compiled(name, x), alone)
