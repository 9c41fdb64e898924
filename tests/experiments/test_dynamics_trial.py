"""The models of the comparison are of one size, and a run measures what it says."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
import trial
from mixers import DEPTH, MIXERS, MLP, WIDTH, encoder_of, parameters
from scoreboard import scores, solves
from systems import recording

from paratime import Encoder, ParaGRU
from paratime.layers.block import Block
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.sources.base import InMemory
from paratime.world.model.task import DynamicsTask


@pytest.mark.parametrize("mixer", MIXERS)
def test_all_models_have_as_many_parameters_within_two_percent(mixer):
    wanted = parameters(Encoder(WIDTH, DEPTH, ParaGRU, mlp_size=MLP))
    assert parameters(encoder_of(mixer)) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("mixer", MIXERS)
def test_all_models_roll_out_what_they_read(mixer):
    """Steps give what a pass over time gives: no model reads another way in rollouts."""
    encoder, x = encoder_of(mixer).eval(), torch.randn(2, 9, WIDTH)
    with torch.inference_mode():
        whole, state = encoder(x)[0], None
        for t in range(9):
            y, state = encoder.step(x[:, t], state)
            torch.testing.assert_close(y, whole[:, t], rtol=1e-4, atol=1e-4)


def test_without_a_mixer_nothing_but_the_convolution_remembers():
    block = encoder_of("Convolution").blocks[0]
    assert isinstance(block, Block)
    x = torch.randn(1, 12, WIDTH, requires_grad=True)
    block(x)[0][0, -1].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).tolist() == [False] * 8 + [True] * 4


@pytest.fixture
def small(monkeypatch):
    """Make episodes short and few."""
    for name, value in {
        "EPISODES": 4,
        "LENGTH": 70,
        "TESTED": 4,
        "HORIZON": 60,
        "STEPS": 2,
    }.items():
        monkeypatch.setattr(trial, name, value)


@pytest.mark.parametrize("model", ("ParaGRU", "ParaLSTM without actions"))
def test_a_run_measures_rollouts_and_solves(model, small):
    world = trial.WORLDS["Duffing, position"]
    found = trial.dynamics(world, model, seed=0)
    assert all(math.isfinite(x) for x in found.values())
    assert 0 < found["valid"] <= 60 * world.system.sample * world.system.exponent
    assert found["newton_alone_loop"] == found["newton_1_alone_loop"] == 0
    assert (found["sensitivity@50"] == 1) == ("without" in model)


def test_a_model_that_has_learnt_nothing_predicts_the_mean_change(small):
    """Its head begins at zero, so that its error is the deviation of the changes themselves."""
    world = trial.WORLDS["Lorenz-96, 3 of 6"]
    seen = recording(world.system, world.observed, 4, 70, seed=0)
    data = TrajectoryData(InMemory(seen), validation=0.0, test=0.0)
    spec = data.spec
    task = DynamicsTask(encoder_of("MinGRU"), spec).eval()
    batch = trial.unseen(world)
    mean, spread = torch.tensor(spec.moments.change)
    change = batch["observation"][:, trial.CONTEXT - 1 :].diff(dim=1)
    expected = ((change - mean) / spread).square().mean().sqrt()
    with torch.inference_mode():
        assert trial.one_step(task, batch) == pytest.approx(float(expected), rel=1e-5)


def test_noise_is_in_what_is_read_and_not_in_what_happened(small):
    clean, noisy = (trial.WORLDS[f"Lorenz-96, {name}"] for name in ("3 of 6", "noisy"))
    truth, seen = (trial.unseen(world)["observation"] for world in (clean, noisy))
    off = (seen - truth) / truth.std((0, 1))
    assert off[:, : trial.CONTEXT].std() == pytest.approx(noisy.noise, rel=0.15)
    assert not off[:, trial.CONTEXT :].any()
    found = trial.dynamics(noisy, "MinGRU", seed=0)
    assert math.isnan(found.pop("one_step")) and all(map(math.isfinite, found.values()))


def test_the_readme_has_the_tables():
    folder = Path(trial.__file__).parent
    table, readme = pd.read_csv(folder / "results.csv"), (folder / "README.md").read_text()
    for _, rows in table.groupby("data"):
        assert scores(rows) in readme
    assert solves(table) in readme


def test_simulations_of_different_seeds_are_close_in_climate(small):
    found = trial.floor(trial.WORLDS["Lorenz-96, 3 of 6"])
    assert 0 < found["histogram"] < 0.5
    assert found["variance"] == pytest.approx(1, abs=0.5)
