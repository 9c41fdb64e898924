"""How tokens are drawn: against slow twins, in torch and in native code."""

import math
from dataclasses import replace

import pytest
import torch

from paratime.errors import InputError
from paratime.language.generation.sampling import (
    DRAWS_AHEAD,
    Occurred,
    Sampler,
    Sampling,
    probabilities,
    sequence_seed,
)
from paratime.ops.program import Program

VOCABULARY = 11
WAYS = {
    "plain": Sampling(temperature=1.0),
    "cold": Sampling(temperature=0.3),
    "top_k": Sampling(temperature=1.0, top_k=4),
    "top_p": Sampling(temperature=1.0, top_p=0.7),
    "min_p": Sampling(temperature=1.0, min_p=0.2),
    "penalty": Sampling(temperature=1.0, repetition_penalty=1.7),
    "window": Sampling(temperature=1.0, repetition_penalty=1.7, repetition_window=3),
    "all": Sampling(3, 1.3, 2, 0.7, top_k=8, top_p=0.9, min_p=0.1),
    "greedy": Sampling(temperature=0.0),
    "greedy, penalty": Sampling(temperature=0.0, repetition_penalty=2.0, repetition_window=2),
}


OUT_OF_RANGE = {
    "max_new_tokens": 0,
    "repetition_penalty": 0.0,
    "repetition_window": 0,
    "temperature": -1.0,
    "top_k": 0,
    "top_p": 0.0,
    "min_p": 1.5,
    "stop": ("",),
}


def slow_probabilities(logits: list[float], how: Sampling, past: list[int]) -> list[float]:
    """Return the distribution of the next token, as the definitions say, number by number."""
    recent = past[-(how.repetition_window or len(past) or 1) :]
    c = how.repetition_penalty
    x = [(v / c if v > 0 else v * c) if i in recent else v for i, v in enumerate(logits)]
    if how.temperature == 0:
        return [float(i == x.index(max(x))) for i in range(len(x))]
    x = [(v - max(x)) / how.temperature for v in x]
    if how.top_k is not None:
        x = [v if v >= sorted(x, reverse=True)[how.top_k - 1] else -math.inf for v in x]
    p = [math.exp(v) / sum(map(math.exp, x)) for v in x]
    if how.top_p is not None:
        nucleus, mass = [], 0.0
        for i in sorted(range(len(p)), key=lambda i: -p[i]):
            if mass < how.top_p:
                nucleus.append(i)
            mass += p[i]
        p = [v if i in nucleus else 0.0 for i, v in enumerate(p)]
    p = [v if v >= (how.min_p or 0) * max(p) else 0.0 for v in p]
    return [v / sum(p) for v in p]


def drawn_by_program(logits, how, uniform, prompts) -> torch.Tensor:
    """Draw a token of each row for each column of random numbers, in native code."""
    occurred = Occurred(prompts, logits.shape[1], how.repetition_window)
    program = Program(len(logits), logits.dtype)
    history = torch.full(uniform.shape, -2)
    program.draw(
        logits,
        uniform,
        torch.zeros(len(logits), dtype=torch.long),
        history,
        occurred.counts,
        occurred.window,
        top_k=how.top_k or logits.shape[1],
        numbers=(how.repetition_penalty, how.temperature, how.top_p or 1.0, how.min_p or 0.0),
    )
    program.run(0, uniform.shape[1])
    return history


@pytest.mark.parametrize("name", WAYS)
def test_the_distribution_is_that_of_the_definitions(name):
    how, past = WAYS[name], [3, 5, 1, 5, 2]
    logits = 2 * torch.randn(4, VOCABULARY, dtype=torch.float64)
    logits[1, 4] = logits[1, 7]  # a tie
    occurred = Occurred([past] * 4, VOCABULARY, how.repetition_window)
    penalised = occurred.penalised(logits, how.repetition_penalty)
    for row in range(4):
        expected = torch.tensor(slow_probabilities(logits[row].tolist(), how, past))
        if how.temperature == 0:
            assert int(penalised[row].argmax()) == int(expected.argmax())
            continue
        p = probabilities(penalised, how)[row]
        assert torch.equal(p > 0, expected > 0)
        assert (p / p.sum() - expected).abs().max() < 1e-6


@pytest.mark.parametrize("name", ("plain", "top_k", "top_p", "all"))
def test_tokens_occur_as_often_as_they_are_likely(name):
    """Chi-square: the 0.999 quantile for up to 10 degrees of freedom is below 29.6."""
    how = replace(WAYS[name], repetition_penalty=1.0, repetition_window=None)
    logits = torch.randn(1, VOCABULARY, dtype=torch.float64)
    sampler, count = Sampler(how, seeds=[7], prompts=[[]], vocab_size=VOCABULARY), 20 * DRAWS_AHEAD
    tokens = torch.cat([sampler(logits) for _ in range(count)])
    expected = count * torch.tensor(slow_probabilities(logits[0].tolist(), how, []))
    observed = tokens.bincount(minlength=VOCABULARY)
    there = expected > 0
    assert observed[~there].sum() == 0
    assert ((observed - expected)[there] ** 2 / expected[there]).sum() < 29.6


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
@pytest.mark.parametrize("name", WAYS)
def test_native_code_draws_the_tokens_of_torch(name, dtype, capability):
    how, rows, prompts = WAYS[name], 3, [[3, 5, 1, 5, 2], [], [9]]
    logits = (2 * torch.randn(rows, VOCABULARY)).to(dtype)
    logits[1, 4] = logits[1, 7]
    sampler = Sampler(how, seeds=range(rows), prompts=prompts, vocab_size=VOCABULARY)
    uniform = Sampler(how, seeds=range(rows), prompts=prompts, vocab_size=VOCABULARY).uniform()
    expected = torch.stack([sampler(logits) for _ in range(DRAWS_AHEAD)], dim=1)
    assert torch.equal(drawn_by_program(logits, how, uniform, prompts), expected)


def test_a_window_forgets():
    """In a window of 2 a greedy model that is penalised for repetition takes turns of three."""
    how = Sampling(temperature=0.0, repetition_penalty=100.0, repetition_window=2)
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    sampler = Sampler(how, seeds=[0], prompts=[[]], vocab_size=4)
    assert [int(sampler(logits)) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_window_of_more_than_there_is_takes_no_memory():
    every, window = Sampling(9, 1.7), Sampling(9, 1.7, 10**15)
    logits = torch.randn(2, VOCABULARY)
    tokens = [
        [sampler(logits).tolist() for _ in range(9)]
        for sampler in (
            Sampler(how, seeds=[0, 1], prompts=[[3], []], vocab_size=VOCABULARY)
            for how in (every, window)
        )
    ]
    assert tokens[0] == tokens[1]


def test_a_sequence_keeps_its_numbers_when_others_end():
    how, prompts = WAYS["window"], [[1], [2], [3], [4]]
    logits = torch.randn(4, VOCABULARY)
    whole, part = (
        Sampler(how, seeds=range(4), prompts=prompts, vocab_size=VOCABULARY) for _ in range(2)
    )
    for turn in range(DRAWS_AHEAD + 20):
        if turn == DRAWS_AHEAD - 30:
            part.keep([1, 3])
        rows = [1, 3] if turn >= DRAWS_AHEAD - 30 else [0, 1, 2, 3]
        assert whole(logits)[rows].tolist() == part(logits[rows]).tolist()


def test_streams_differ_by_seed_prompt_and_sample():
    seeds = {
        sequence_seed(seed, prompt, n) for seed in (0, 1) for prompt in ("", "a") for n in (0, 1)
    }
    assert len(seeds) == 8 and sequence_seed(3, "a", 1) == sequence_seed(3, "a", 1)


@pytest.mark.parametrize("value", (math.nan, math.inf, -math.inf))
def test_logits_that_are_no_numbers_give_no_token(value):
    logits = torch.randn(2, VOCABULARY)
    logits[1, 5] = value
    for how in WAYS.values():
        tokens = Sampler(how, seeds=[0, 1], prompts=[[], []], vocab_size=VOCABULARY)(logits)
        uniform = torch.rand(2, 4, dtype=torch.float64)
        history = drawn_by_program(logits, how, uniform, [[], []])
        assert tokens[0] >= 0 and tokens[1] == -1
        assert (history[0] >= 0).all() and (history[1] == -1).all()


@pytest.mark.parametrize("temperature", (0.0, 1.0))
def test_a_penalty_beyond_numbers_gives_no_token(temperature, capability):
    """A token beyond the vocabulary would have the native code read what is not there."""
    how = Sampling(temperature=temperature, repetition_penalty=1e-320)
    logits = torch.rand(2, VOCABULARY) + 1
    sampler = Sampler(how, seeds=[0, 1], prompts=[[3], []], vocab_size=VOCABULARY)
    assert sampler(logits)[0] == -1
    history = drawn_by_program(logits, how, torch.rand(2, 1, dtype=torch.float64), [[3], []])
    assert history[0] == -1 and 0 <= history[1] < VOCABULARY


@pytest.mark.parametrize("temperature", (5e-324, 1e308))
def test_extreme_temperatures(temperature, capability):
    how, prompts = Sampling(temperature=temperature), [[], []]
    logits = torch.randn(2, VOCABULARY, dtype=torch.float64)
    uniform = torch.rand(2, 9, dtype=torch.float64)
    tokens = drawn_by_program(logits, how, uniform, prompts)
    expected = [
        logits.argmax(-1) if temperature < 1 else (column * VOCABULARY).long()
        for column in uniform.T
    ]
    assert torch.equal(tokens, torch.stack(expected, dim=1))


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_options_out_of_range(name):
    with pytest.raises(InputError, match=name):
        Sampling(**{name: OUT_OF_RANGE[name]})
    if isinstance(OUT_OF_RANGE[name], float):
        with pytest.raises(InputError, match=name):
            Sampling(**{name: math.nan})
    with pytest.raises(InputError, match="a tuple"):
        Sampling(stop="abc")
