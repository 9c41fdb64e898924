"""A dot on a torus that its action moves, seen in pixels alone: learnt, and planned with."""

import re

import numpy as np
import pytest
import torch

from paratime import Encoder
from paratime.world.commands.plan import planning_policy
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.data.sources.gym import run_episode
from paratime.world.model.metrics import ImageError
from paratime.world.model.rollout import open_loop
from paratime.world.model.rssm import Categorical
from paratime.world.model.task import WorldTask
from paratime.world.planning.planners import CEM, Agent

MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))
SIDE, DOT, STEPS = 16, 4, 12
BLIND = 12 / 256
"""Least expected error without knowledge of the action: a quarter of a dot in each of 4 places."""


class Dots:
    """The dot moves by its own size; the upper left corner is worth 1, all else 0."""

    def reset(self, seed: int) -> tuple[np.ndarray, dict]:
        self.random, self.done = np.random.default_rng(seed), 0
        self.place = self.random.integers(SIDE // DOT, size=2)
        return self.image(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.done += 1
        self.place = (self.place + MOVES[action]) % (SIDE // DOT)
        return self.image(), float(not self.place.any()), False, self.done == STEPS, {}

    def image(self) -> np.ndarray:
        image = np.zeros((SIDE, SIDE, 1), np.uint8)
        row, column = self.place * DOT
        image[row : row + DOT, column : column + DOT] = 255
        return image

    def choice(self, _: np.ndarray) -> int:
        return int(self.random.integers(4))


def data() -> TrajectoryData:
    world = Dots()
    episodes = [run_episode(world, seed, world.choice) for seed in range(80)]
    return TrajectoryData(InMemory(Recording(episodes)), sequence_length=13, batch_size=8)


def trained(source: TrajectoryData, use_action: bool, steps: int) -> WorldTask:
    torch.manual_seed(0)
    encoder, spec = Encoder(48, 1, mlp_size=48), source.spec
    task = WorldTask(encoder, spec, Categorical(8, 8), use_action=use_action, prior_weight=3.0)
    optimizer, loader = torch.optim.AdamW(task.parameters(), lr=6e-3), source.train_dataloader()
    done = 0
    while done < steps:
        for batch in loader:
            loss, *_ = task.losses(batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.parameters(), 10.0)
            optimizer.step()
            done += 1
    return task.eval()


@torch.inference_mode()
def errors(task: WorldTask, source: TrajectoryData) -> dict[str, float]:
    metric = ImageError(5)
    for batch in (*source.val_dataloader(), *source.test_dataloader()):
        for context in (2, 4, 6):
            found = open_loop(task.network, batch, context=context, horizon=5).prediction
            assert not found.outside.any() and found.observation.shape[-1] == 0
            metric.update(found.images, batch, context)
    return {name: float(x) for name, x in metric.compute().items()}


def test_a_dot_is_learnt_with_its_actions_and_plans_move_it():
    source = data()
    spec = source.spec
    assert spec.observation == {"observation": [SIDE, SIDE, 1]}
    assert spec.moments.observation == ([], [])
    task, other = (trained(source, use_action, steps=200) for use_action in (True, False))
    found, blind = errors(task, source), errors(other, source)
    assert found["image_mse@1"] < 0.3 * BLIND and found["image_skill@1"] > 0.6
    assert found["image_mse@5"] < BLIND
    assert blind["image_mse@1"] > 0.8 * BLIND
    world, returns = Dots(), []
    agent = Agent(task.network, CEM(horizon=4, candidates=64, iterations=2), discrete=True)
    for seed in range(1000, 1005):
        planned, random = (
            run_episode(world, seed, planning_policy(agent, [])),
            run_episode(world, seed, world.choice),
        )
        returns.append((planned.reward.sum(), random.reward.sum()))
    planned, random = np.mean(returns, axis=0)
    assert planned > 2 * random + 1 and agent.tried == 5 * STEPS * 128


def test_commands_read_images(paratime, tmp_path, monkeypatch):
    gymnasium = pytest.importorskip("gymnasium")

    class Pixels(Dots, gymnasium.Env):
        action_space = gymnasium.spaces.Discrete(4)
        observation_space = gymnasium.spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)

        def reset(self, seed: int, options: object = None) -> tuple[np.ndarray, dict]:
            return super().reset(seed)

    monkeypatch.setenv("PARATIME_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    gymnasium.register("Dots-v0", Pixels, disable_env_checker=True)
    small = ("--model.encoder.width", 8, "--model.encoder.depth", 1, "--trainer.max_steps", 2)
    source = ("--data.source", "Gym", "--data.source.environment", "Dots-v0")
    few = ("--data.source.episodes", 12, "--data.batch_size", 4, "--trainer.logger", "false")
    fit = ("fit", "--model", "WorldTask", "--data", "TrajectoryData", *small, *source, *few)
    status, out, err = paratime(*fit)
    assert status == 0, err
    path = re.search(r"checkpoint +(\S+)", out)[1]
    status, out, err = paratime(
        *("world", "openloop", "--ckpt_path", path, "--data", "gym:Dots-v0"),
        *("--horizon", 5, "--gif", "dots.gif"),
    )
    assert status == 0, err
    assert "PSNR" in out and "nRMSE   median" not in out
    assert (tmp_path / "dots.gif").read_bytes().startswith(b"GIF")
    given = (*fit[1:], "--ckpt_path", path)
    status, out, err = paratime("test", *given)
    assert status == 0 and "test/image_skill@1" in out and "test/image " in out, err
    assert "nrmse@" not in out, "there are no numbers that it could be of"
    status, out, err = paratime("predict", *given)
    assert status == 0, err
    saved = torch.load(re.search(r"predictions +(\S+)", out)[1])
    assert saved[0]["prediction"]["observation_image"].shape == (2, 3, SIDE, SIDE, 1)
    plan = ("--episodes", 2, "--planner.horizon", 2, "--planner.candidates", 4)
    status, out, err = paratime("world", "plan", "--ckpt_path", path, "--planner", "CEM", *plan)
    assert status == 0, err
    assert [x.split()[0] for x in out.splitlines()[:3]] == ["seed", "10000", "10001"]
    status, _, err = paratime(
        "world", "plan", "--ckpt_path", path, "--environment", "CartPole-v1", *plan
    )
    assert status == 2 and err.count("\n") == 1
    assert "observation (16, 16, 1) observed, got 2 actions" in err
    del gymnasium.registry["Dots-v0"]
