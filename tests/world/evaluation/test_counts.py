"""How many rollouts figures are made of, and what is said where they are few."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from world.networks import LENGTHS, SPEC, network, rows

from paratime import Encoder
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import make_episode
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.data.windows import Whole, padded
from paratime.world.evaluation.report import (
    INDIFFERENT,
    known_horizon,
    score_tables,
    score_warnings,
)
from paratime.world.model.metrics import describe_few
from paratime.world.model.rollout import RolloutScores
from paratime.world.model.task import DynamicsTask


def test_every_figure_has_a_count():
    scores = RolloutScores(SPEC, 6).double()
    batch = padded([Whole(rows())[i] for i in range(3)])
    scores.update(network().float(), batch, 4)
    found = scores.compute()
    for h in (1, 5, 6):
        assert found[f"rollouts@{h}"] == sum(length + 1 - 4 >= h for length in LENGTHS)
    steps = sum(min(6, max(0, length + 1 - 4)) for length in LENGTHS)
    assert found["reward_steps"] == steps and found["ends"] == 0
    table = score_tables({"one": found}).splitlines()
    assert table[1].split()[:3] == ["steps", "rollouts", "persist"]
    assert [x.split()[1] for x in table[2:5]] == ["2", "2", "2"]
    assert "1 of 6 steps" in table[-1] and table[-1].startswith("warning: figures of fewer than 10")
    assert describe_few({"rollouts@5": torch.tensor(10.0), "nrmse@5": torch.tensor(1.0)}) is None


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.lists(st.integers(2, 60), min_size=1, max_size=14), st.integers(1, 60), st.integers(1, 30)
)
def test_horizons_are_those_that_rollouts_reach(lengths, horizon, every):
    def count(h):
        last = max(1, max(lengths) - h)
        contexts = {last, *range(1, last, every)}
        return sum(length - context >= h for length in lengths for context in contexts)

    found = known_horizon(lengths, horizon, every)
    assert 1 <= found <= horizon and count(found) >= 1
    longer = [count(h) for h in range(found + 1, min(horizon, max(lengths) - 1) + 1)]
    needed = min(10, len(lengths))
    assert all(x < needed for x in longer)
    enough = [h for h in range(1, horizon + 1) if h < max(lengths) and count(h) >= needed]
    assert found == max(enough) if enough else found == min(horizon, max(lengths) - 1)


def test_actions_that_do_not_matter_are_said():
    def found(ratio):
        return {"sensitivity@1": torch.tensor(0.9), "sensitivity@5": torch.tensor(ratio)}

    assert not score_warnings({"one": found(INDIFFERENT + 0.01)})
    (line,) = score_warnings({"one": found(0.97), "one without actions": found(0.97)})
    assert line.startswith("warning: one is as good with the actions of another episode")


def run(capsys, lengths, stage, seed=0):
    random = np.random.default_rng(0)
    episodes = [
        make_episode(
            f"e{n}",
            random.normal(size=(steps + 1, 2)),
            random.normal(size=(steps, 1)),
            random.normal(size=steps),
            False,
        )
        for n, steps in enumerate(lengths)
    ]
    source = InMemory(Recording(episodes))
    data = TrajectoryData(source, sequence_length=4, validation=0.1, test=0.5, seed=seed)
    task = DynamicsTask(Encoder(8, 1, mlp_size=8), data.spec, context=10, horizon=20)
    trainer = Trainer(
        max_epochs=1,
        limit_train_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        num_sanity_val_steps=0,
    )
    getattr(trainer, stage)(task, data)
    return [x for x in capsys.readouterr().out.splitlines() if x.startswith("warning")]


@pytest.mark.filterwarnings("ignore:.*number of training batches")
def test_training_says_what_its_figures_are_made_of(capsys):
    few = "warning: figures of fewer than 10 rollouts say little: 2 of 1 steps, 2 of 5 steps"
    assert [x[: len(few)] for x in run(capsys, [30] * 20, "fit")] == [few]
    assert not run(capsys, [30] * 100, "fit")


@pytest.mark.parametrize("stage", ("validate", "test", "predict"))
def test_episodes_without_a_prediction_are_counted(stage, capsys):
    lines = run(capsys, [6] * 20 + [30] * 4, stage)
    count, kind = (3, "scored") if stage == "validate" else (12, "scored")
    kind = "predicted" if stage == "predict" else kind
    assert any(f"of {count} episodes end within" in x and f"not {kind};" in x for x in lines)
    assert not [x for x in run(capsys, [30] * 24, stage) if "end within" in x]
