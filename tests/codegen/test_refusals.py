"""What no kernel is made for, and what is said of it."""

import logging

import pytest
import torch
from codegen.twin import PlainCell

from paratime.codegen.functor import plan_of
from paratime.codegen.running import path_of
from paratime.errors import InputError
from paratime.layers.recurrent import Recurrent
from paratime.solvers.sequential import Sequential


class OwnGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g


def decides(cell, u, h):
    return h + u if h.sum() > 0 else h - u


def counts(cell, u, h):
    return h * float(u.sum())


def draws(cell, u, h):
    return torch.nn.functional.dropout(u + h, 0.5)


def adds_noise(cell, u, h):
    return u + h * torch.randn_like(h)


def mixes_by_roll(cell, u, h):
    return torch.tanh(u + h.roll(1, -1))


def mixes_by_mean(cell, u, h):
    return torch.tanh(u + h.mean(-1, keepdim=True))


def mixes_by_matrix(cell, u, h):
    return torch.tanh(u + h @ cell.a)


def mixes_sequences(cell, u, h):
    return torch.tanh(u + h.flip(0))


def has_its_own_gradient(cell, u, h):
    return OwnGradient.apply(u + h)


def differs_by_channel(cell, u, h):
    return torch.tanh(u + h * torch.arange(3.0))


def writes(cell, u, h):
    out = torch.empty_like(h)
    out[..., 0] = u[..., 0]
    out[..., 1:] = h[..., 1:]
    return out


def sorts(cell, u, h):
    return torch.stack([u, h]).sort(0).values[0]


def casts(cell, u, h):
    return (u.half() + h.half()).to(h.dtype)


def another_shape(cell, u, h):
    return torch.stack([u, h])


REFUSED = {
    decides: "a decision or number that depends on values",
    counts: "a decision or number that depends on values",
    draws: "random numbers",
    adds_noise: "random numbers",
    mixes_by_roll: "one that reads the state of another",
    mixes_by_mean: "one that reads the state of another",
    mixes_by_matrix: "one that reads the state of another",
    mixes_sequences: "one that reads",
    has_its_own_gradient: "an autograd.Function",
    differs_by_channel: "keep what differs by channel in a parameter or buffer",
    writes: "stack or cat the parts of a state",
    sorts: "aten.sort",
    casts: "a cast from torch.float32 to torch.float16",
    another_shape: "return the next state in the form of the last one",
}


@pytest.mark.parametrize("step", REFUSED, ids=lambda step: step.__name__)
def test_a_refusal_says_what_where_and_what_to_do(step):
    cell = PlainCell(step, a=torch.randn(3, 3))
    with pytest.raises(InputError) as refused:
        plan_of(cell, torch.randn(2, 5, 3))
    message = str(refused.value)
    assert REFUSED[step] in message
    assert "\n" not in message and len(message) < 300


def test_a_refusal_names_the_line():
    with pytest.raises(InputError, match=r"^test_refusals\.py:\d+: .*sort\(0\).*: expected"):
        plan_of(PlainCell(sorts), torch.randn(2, 5, 3))


@pytest.mark.parametrize("step", [sorts, differs_by_channel], ids=lambda step: step.__name__)
def test_what_is_refused_runs_on_the_torch_solver(step):
    cell = PlainCell(step)
    x = torch.randn(2, 5, 3)
    y, _ = Recurrent(cell)(x)
    expected, _ = Recurrent(cell, Sequential())(x)
    torch.testing.assert_close(y, expected)


def test_a_gradient_that_is_stopped_is_stopped():
    def step(cell, u, h):
        with torch.no_grad():
            gate = torch.sigmoid(u)
        return gate * h + u

    cell, u = PlainCell(step), torch.randn(2, 5, 3)
    assert path_of(cell, u).key is not None
    found = []
    for solver in (None, Sequential()):
        x = u.clone().requires_grad_()
        Recurrent(cell, solver)(x)[0].sum().backward()
        found.append(x.grad)
    torch.testing.assert_close(*found)


def test_a_step_that_keeps_something_is_found_out(caplog):
    def step(cell, u, h):
        cell.calls = getattr(cell, "calls", 0) + 1
        return u + h * (1 if cell.calls == 1 else 2)

    with caplog.at_level(logging.WARNING, "paratime"):
        path = path_of(PlainCell(step), torch.randn(2, 5, 3))
    assert path.key is None and "differ in the state" in str(path.reason)
    assert "its kernel and its step differ" in caplog.text


def test_a_step_that_cannot_be_traced_runs_on_the_torch_solver(caplog):
    def step(cell, u, h):
        if len(u) != 3:
            raise RuntimeError("three sequences only")
        return torch.tanh(u + h)

    cell, x = PlainCell(step), torch.randn(3, 1, 3)
    with caplog.at_level(logging.WARNING, "paratime"):
        y, _ = Recurrent(cell)(x)
    torch.testing.assert_close(y, torch.tanh(x))
    assert "its step cannot be traced: RuntimeError: three sequences only" in caplog.text


@pytest.mark.parametrize(
    "step",
    [
        lambda cell, u, h: u + ((256 * h).long() / 256 - h).detach() + h,
        lambda cell, u, h: u + h.amax(-2, keepdim=True),
        lambda cell, u, h: torch.cat([h[..., :2], 0.9 * h[..., 2:3], h[..., 3:]], -1) * 0.5 + u,
    ],
    ids=("rounded", "extreme of three", "one channel among others"),
)
def test_what_would_be_wrong_runs_on_the_torch_solver(step):
    cell = PlainCell(step, (3, 4))
    assert path_of(cell, torch.randn(2, 5, 3, 4)).key is None
