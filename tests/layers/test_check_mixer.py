"""The conformance kit itself: what it lets pass, and what it finds."""

import pytest
import torch
from torch import Tensor, nn

from paratime.errors import InputError
from paratime.layers.mixer import Mixer, check_sequence, mask_padding, step_once
from paratime.testing import check_mixer

WIDTH = 3


class Average(Mixer):
    """An exponential average, as a user would write it."""

    def __init__(self, *, restarts_beyond: bool = False) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.zeros(WIDTH))
        self.frozen = nn.Parameter(torch.ones(WIDTH), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(WIDTH))
        self.restarts_beyond = restarts_beyond

    def forward(self, x, h0=None, *, reset=None, lengths=None):
        check_sequence(x, reset, lengths)
        rate, outputs = self.rate.sigmoid(), []
        h = torch.zeros_like(x[:, 0]) if h0 is None else h0
        for t in range(x.shape[1]):
            there = torch.ones(len(x), 1, dtype=torch.bool)
            if lengths is not None:
                there = (t < lengths).unsqueeze(-1)
            before = h
            if reset is not None:
                before = torch.where(reset[:, t, None], 0, h)
            kept = before if self.restarts_beyond else h
            h = torch.where(there, rate * before + (1 - rate) * self.frozen * x[:, t], kept)
            outputs.append(h)
        return mask_padding(torch.stack(outputs, dim=1), lengths), h

    def step(self, x: Tensor, state=None, reset=None):
        return step_once(self, x, state, reset)


@pytest.mark.parametrize("steps", (4, 17))
def test_parameters_may_be_frozen_or_unused(steps):
    check_mixer(Average, torch.randn(2, steps, WIDTH))


@pytest.mark.parametrize("steps", (4, 17))
def test_a_restart_beyond_the_end_is_found(steps):
    with pytest.raises(AssertionError, match=r"^lengths: its state: differ by"):
        check_mixer(lambda: Average(restarts_beyond=True), torch.randn(2, steps, WIDTH))


@pytest.mark.parametrize("shape", ((1, 9, WIDTH), (2, 3, WIDTH), (2, WIDTH)), ids=str)
def test_inputs_that_are_too_small_are_refused(shape):
    with pytest.raises(InputError, match=r"x: expected \(B >= 2, T >= 4, input_size\), got"):
        check_mixer(Average, torch.randn(shape))


class Faulty(Average):
    """An average whose outputs and state a fault changes after they were computed."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def forward(self, x, h0=None, *, reset=None, lengths=None):
        y, h = super().forward(x, h0, reset=reset, lengths=lengths)
        return self.fault(x, h0, y, h)


def of_output(x, h0, y, h):
    return y, y[:, -1] if torch.equal(y[:, -1], h) else h


def of_states(x, h0, y, h):
    return y, torch.stack([h, h], dim=1)[:, 0]


def as_output(x, h0, y, h):
    return (h.unsqueeze(1), h) if y.shape[1] == 1 and torch.equal(y[:, 0], h) else (y, h)


def as_input(x, h0, y, h):
    return y, h0 if h0 is not None and torch.equal(h0, h) else h


def as_numpy(x, h0, y, h):
    if y.requires_grad or y.dtype == torch.bfloat16 or not torch.equal(y[:, -1], h):
        return y, h
    return y, torch.from_numpy(y.numpy()[:, -1])


def written_input(x, h0, y, h):
    with torch.no_grad():
        x += 1
    return y, h


def written_state(x, h0, y, h):
    if h0 is not None:
        h0.zero_()
    return y, h


def of_gradient(x, h0, y, h):
    h = h.clone()
    return y + 0 * (h * h).unsqueeze(1), h


@pytest.mark.parametrize(
    ("fault", "message"),
    (
        (of_output, r"forward: its state keeps \d+ bytes alive for \d+; return a clone"),
        (of_states, r"forward: its state keeps \d+ bytes alive for \d+; return a clone"),
        (as_output, "forward: its state shares memory; return a clone"),
        (as_input, "forward: its state shares memory; return a clone"),
        (as_numpy, "forward: its state keeps"),
        (written_input, "forward: it writes to its inputs"),
        (written_state, "forward: it writes to its inputs"),
    ),
)
def test_memory_that_is_shared_is_found(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_mixer(lambda: Faulty(fault), torch.randn(2, 9, WIDTH))


class Pair(Mixer):
    """An average twice, whose faulty step returns one state for both."""

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.average, self.shared = Average(), shared

    def forward(self, x, h0=None, *, reset=None, lengths=None):
        y, h = self.average(x, h0 and h0[0], reset=reset, lengths=lengths)
        return y, (h, h if self.shared else h.clone())

    def step(self, x: Tensor, state=None, reset=None):
        return step_once(self, x, state, reset)


def test_parts_of_a_state_that_share_memory_are_found():
    check_mixer(lambda: Pair(shared=False), torch.randn(2, 4, WIDTH))
    with pytest.raises(AssertionError, match=r"^forward: its state shares memory"):
        check_mixer(lambda: Pair(shared=True), torch.randn(2, 4, WIDTH))


def test_a_state_that_the_gradient_of_the_output_reads_is_found():
    with pytest.raises(AssertionError, match="after a write to its state, its output has no grad"):
        check_mixer(lambda: Faulty(of_gradient), torch.randn(2, 4, WIDTH))
