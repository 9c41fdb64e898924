"""Orders of items: the known ones are kept, and those of many items need no memory for each."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.language.data.windows import ShuffledWindows
from paratime.training.batches.permutation import CHUNK, shuffled
from paratime.training.batches.samplers import ShuffledSampler

COUNTS = [2, 3, 10, 63, 64, 65, 500, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]


def network(count, seed=0):
    """Return the order of many items for a few of them."""
    return [*shuffled(count, lambda count: None, np.random.default_rng(seed), known=1)]


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(2, 5000), st.integers(0, 2**32))
def test_each_number_comes_once(count, seed):
    assert sorted(network(count, seed)) == [*range(count)]


@pytest.mark.parametrize("count", COUNTS)
def test_so_it_does_around_the_size_of_chunks(count):
    assert sorted(network(count)) == [*range(count)]


@pytest.mark.parametrize("count", [1000, 1024, 5000])
def test_an_order_looks_random(count):
    """Neighbours are no closer than in a uniform order, no number keeps its place, seeds differ."""
    orders = np.array([network(count, seed) for seed in range(20)])
    assert len(np.unique(orders, axis=0)) == 20
    steps = np.abs(np.diff(orders, axis=1)).mean()
    assert steps == pytest.approx(count / 3, rel=0.03)
    assert np.mean(orders == np.arange(count)) < 5 / count
    assert np.abs(orders.mean(0) - count / 2).mean() < count / 12**0.5 / 20**0.5
    halves = np.mean(orders[:, : count // 2] < count / 2)
    assert halves == pytest.approx(0.5, abs=0.03)


def test_known_orders_are_those_of_before():
    sampler = ShuffledSampler(7, seed=3)
    random = np.random.default_rng([3, 0])
    seed = int(random.integers(2**63))
    assert [*sampler] == [(seed, int(x), False) for x in random.permutation(7)]


class Many:
    """A stream of as many windows as a corpus of 64 GiB has."""

    def __len__(self):
        return 2**36


@pytest.mark.parametrize(
    "sampler", [ShuffledSampler(2**28, 0), ShuffledWindows(Many(), 256, seed=0)]
)
def test_many_items_need_no_memory_for_each(sampler):
    tracemalloc.start()
    try:
        items = iter(sampler)
        found = [next(items) for _ in range(2 * CHUNK)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len({*found}) == 2 * CHUNK and peak < 16 * 2**20


def test_an_order_of_windows_of_tokens_is_torchs():
    class Few:
        def __len__(self):
            return 100

    sampler = ShuffledWindows(Few(), 10, seed=5)
    (seed,) = np.random.SeedSequence([5, 0]).generate_state(1)
    generator = torch.Generator().manual_seed(int(seed))
    offset = int(torch.randint(100 - 9 * 10, (), generator=generator))
    expected = [offset + 10 * x for x in torch.randperm(10, generator=generator).tolist()]
    assert [*sampler] == expected
