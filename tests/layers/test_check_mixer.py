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
