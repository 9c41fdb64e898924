"""Schedules, groups of parameters, and the bound of recurrent weights."""

import math

import pytest
import torch
from torch import nn

from paratime.cells.gru import GRUCell
from paratime.cells.lstm import LSTMCell
from paratime.errors import InputError
from paratime.training.optimizer import (
    AdamW,
    Cosine,
    StableDecay,
    parameter_groups,
    recurrent_weights,
)


@pytest.mark.parametrize("decay", (Cosine(), StableDecay(0.3), StableDecay(1.0)), ids=str)
def test_a_decay_falls_from_the_peak_to_the_end(decay):
    shares = [decay.share(i / 100) for i in range(101)]
    assert shares[0] == 1 and shares[-1] == pytest.approx(0)
    assert shares == sorted(shares, reverse=True)


def test_a_stable_rate_does_not_depend_on_the_length_of_the_run():
    optimizer = AdamW(warmup=0.1, decay=StableDecay(0.2))
    rates = [optimizer.rate(step, 1000) for step in range(1001)]
    assert rates[0] == 0.01 and rates[99:820] == [1.0] * 721
    assert rates[821] < 1 and rates[1000] == pytest.approx(0)
    assert rates[910] == pytest.approx(1 - math.sqrt(0.5))


def test_the_rate_ends_at_its_last_share_whatever_the_decay():
    for decay in (Cosine(), StableDecay()):
        assert AdamW(final=0.1, decay=decay).rate(50, 50) == pytest.approx(0.1)


@pytest.mark.parametrize("cooldown", (0.0, 1.5, math.nan))
def test_an_impossible_cooldown(cooldown):
    with pytest.raises(InputError, match="cooldown: expected above 0, at most 1"):
        StableDecay(cooldown)


@pytest.mark.parametrize("bound", (0.0, -1.0, math.nan))
def test_an_impossible_bound(bound):
    with pytest.raises(InputError, match="max_recurrent: expected above 0"):
        AdamW(max_recurrent=bound)


def test_steps_bring_recurrent_weights_back_and_leave_others_alone():
    cells = nn.ModuleList([GRUCell(4, 8), LSTMCell(4, 8, block_size=2), nn.GRU(4, 8)])
    weights = recurrent_weights(cells)
    assert [w.shape[0] for w in weights] == [3, 3, 2]
    options = AdamW(lr=1.0, weight_decay=0.0, max_recurrent=0.5)
    optimizer = options.build(cells, parameter_groups(cells, 0.0))
    for parameter in cells.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    bound = {id(w) for w in weights}
    for parameter in cells.parameters():
        most = float(parameter.detach().abs().max())
        assert most == 0.5 if id(parameter) in bound else most > 0.5


def test_a_matrix_that_an_embedding_shares_is_not_decayed():
    embedding, head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    head.weight = embedding.weight
    decayed, others = parameter_groups(nn.ModuleList([embedding, head]), 0.1)
    assert decayed["params"] == [] and len(others["params"]) == 1
