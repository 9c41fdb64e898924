"""Observations that are not known are neither read nor learnt; the rewards next to them are."""

import numpy as np
import pytest
import torch
from world.networks import LATENTS, double

from paratime import Encoder
from paratime.world.data.episode import Layout, align_episode, complete_part, make_episode
from paratime.world.data.spec import Moments, TrajectorySpec
from paratime.world.data.windows import PackedWindows, Whole, padded
from paratime.world.model.rollout import RolloutScores
from paratime.world.model.task import DynamicsTask, WorldTask

LENGTHS = (5, 1, 7)


def episodes(images: bool):
    random, made = np.random.default_rng(0), []
    for number, steps in enumerate(LENGTHS):
        observation = {"x": random.normal(size=(steps, 3))}
        if images:
            observation["eye"] = random.integers(256, size=(steps, 9, 8, 1), dtype=np.uint8)
        action, reward = random.normal(size=(steps, 2)), random.normal(size=steps)
        made.append(make_episode(f"e{number}", observation, action, reward, True, complete=False))
    return made


def changed(rows, places=("observation", "eye")):
    """Return rows with another last observation, which is not known."""
    other = {key: x.copy() for key, x in rows.items()}
    for key in places:
        if key in other:
            other[key][-1] = 9 if key == "observation" else 200
    return other


def task_of(kind, images):
    made = episodes(images)
    rows = [align_episode(x, Layout.of(made)) for x in made]
    shapes = {"x": [3], **({"eye": [9, 8, 1]} if images else {})}
    spec = TrajectorySpec(Moments.of(rows), shapes, action=2)
    torch.manual_seed(0)
    options = {} if kind is DynamicsTask else {"latent": LATENTS["classes"], "image_width": 2}
    task = kind(Encoder(8, 1, mlp_size=8), spec, overshoot=2, context=2, horizon=4, **options)
    for parameter in task.double().parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return task.eval(), rows


CASES = {
    "dynamics": (DynamicsTask, False),
    "latent": (WorldTask, False),
    "image": (WorldTask, True),
}


@pytest.mark.parametrize("case", CASES)
def test_an_unknown_observation_changes_nothing(case):
    task, rows = task_of(*CASES[case])
    results = []
    for version in (rows, [changed(x) for x in rows]):
        batch = double(padded([Whole(version)[i] for i in range(len(rows))]))
        scores = RolloutScores(task.spec, 4).double()
        scores.update(task.network, batch, 2)
        torch.manual_seed(1)
        results.append(
            {"loss": task.losses(batch)[0], "ahead": task.ahead(batch)} | scores.compute()
        )
    assert {*results[0]} == {*results[1]}
    for name, x in results[0].items():
        assert torch.equal(x, results[1][name]), name


@pytest.mark.parametrize("case", CASES)
def test_the_last_reward_and_end_are_learnt(case):
    task, rows = task_of(*CASES[case])
    batch = double(padded([Whole(rows)[i] for i in range(len(rows))]))
    before = task.losses(batch)[1]
    for key, part in (("prev_reward", "reward"), ("is_terminal", "cont")):
        other = {name: x.clone() for name, x in batch.items()}
        other[key][0, LENGTHS[0]] = 0
        after = task.losses(other)[1]
        assert {name for name in before if not torch.equal(before[name], after[name])} == {part}


def test_statistics_are_of_what_is_known():
    made = episodes(False)
    rows = [align_episode(x, Layout.of(made)) for x in made]
    known = np.concatenate([x.observation["x"][:-1] for x in made])
    moments = Moments.of(rows)
    np.testing.assert_allclose(moments.observation[0], known.mean(0), rtol=1e-5)
    steps = np.concatenate([np.diff(x.observation["x"][:-1], axis=0) for x in made])
    np.testing.assert_allclose(moments.change[1], steps.std(0), rtol=1e-5)
    alone = [align_episode(made[1], Layout.of(made))]
    assert Moments.of(alone).change == ([0.0] * 3, [1.0] * 3)
    window = PackedWindows(rows, 4)[0, 0, False]
    assert window["observed"].dtype == torch.bool


def test_the_complete_part_ends_before_the_last_action():
    first, single, _ = episodes(False)
    part = complete_part(first)
    assert part.complete and not part.terminated and len(part) == len(first) - 1
    assert np.array_equal(part.observation["x"], first.observation["x"][:-1])
    assert complete_part(single) is None and complete_part(part) is part
    whole = align_episode(part, Layout.of([part]))
    assert "observed" not in whole, "where all is known nothing says so"
