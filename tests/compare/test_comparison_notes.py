"""Sentences of a comparison's page: how costs were measured, and what names mean."""

from dataclasses import replace

import pytest
from compare import grids

from paratime.compare import glossary, notes
from paratime.compare.cost import machine
from paratime.compare.summary import Summary


def summary(cost: dict, settings: dict, seeds: int = 1) -> Summary:
    """Return a comparison of one mixer on tokens, with these costs and settings."""
    domains = {"tokens": grids.GRID.domains["tokens"] | {"settings": settings}}
    grid = replace(grids.GRID, domains=domains, mixers=["ParaGRU"], seeds=[*range(seeds)])
    runs = [replace(grids.result(*key, 0), cost=cost) for key in grid.runs()]
    return Summary(grid, runs, {})


def test_it_says_how_costs_were_measured_and_on_what():
    found = summary({"machine": "A CPU, 2 cores", "load": 1.25}, {"threads": 2}, seeds=2)
    found.results[1] = replace(found.results[1], cost={"machine": "A CPU, 2 cores", "load": 3.0})
    said = notes.measured(found, "tokens")
    assert "Tokens per second: the median over the second half of the training steps" in said
    assert "Seconds: the sum over all training steps" in said
    assert said.endswith(
        "Measured with: A CPU, 2 cores; 2 threads a run;"
        " 1.2 to 3.0 processes in need of a core when runs ended."
    )
    assert "Measured with" not in notes.measured(summary({}, {}), "tokens")


def test_the_machine_is_named_in_one_line():
    assert "torch 2" in machine() and "cores" in machine() and "\n" not in machine()


def test_it_says_what_differs_from_the_config():
    given = {"overrides": {"data.context_length": 128, "trainer.limit_test_batches": 8}}
    said = notes.overrides(summary({}, given), "tokens")
    assert said.endswith(": data.context_length 128, trainer.limit_test_batches 8.")
    assert notes.overrides(summary({}, {"overrides": {}}), "tokens") == ""


@pytest.mark.parametrize("count, said", [(1, "other seeds may order"), (3, "over 3 seeds")])
def test_it_says_how_far_differences_mean_something(count, said):
    assert said in notes.seeds(summary({}, {}, count))


def test_names_are_in_order_of_their_horizons():
    names = ["error@10", "error@1", "error@50", "reward_error", "odd@a"]
    expected = ["error@1", "error@10", "error@50", "reward_error", "odd@a"]
    assert glossary.by_horizon(names) == expected


def test_each_name_is_explained_once_with_its_unit():
    found = glossary.explained("trajectories", ["val/nrmse@10", "nrmse@1", "train/loss", "mine"])
    assert [*found] == ["nrmse@h", "loss"]
    assert found["nrmse@h"].endswith("(standard deviations of the training data; lower is better)")
    assert glossary.explained("a domain of one's own", ["loss"]) == {}
