"""Trajectories: rollouts of the test episodes, and two of them."""

from math import nan, prod
from typing import Any

import torch
from lightning.pytorch.cli import LightningCLI
from torch import Tensor

from paratime.compare.kind import Found, Kind
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Layout, aligned
from paratime.world.data.windows import Rows, Whole, padded
from paratime.world.evaluation.report import scores_of
from paratime.world.model.rollout import imagined, split
from paratime.world.model.task import TrajectoryTask

HORIZON, EVERY = 50, 25
"""Steps of a rollout, and rows from one rollout's beginning to the next."""

SHOWN, NUMBERS = 2, 4
"""Episodes of the pictures, and numbers of an observation in them."""


class Trajectories(Kind):
    """World models."""

    task = TrajectoryTask
    headline = "error@10"
    unit = "steps"
    what = (
        "Errors of rollouts of the test episodes: the model sees the beginning of an episode, then"
        " imagines up to 50 steps from the actions alone."
    )

    def read(self, task: TrajectoryTask, batch: Any) -> None:
        """Compute the losses of a batch."""
        task.losses(batch)

    def evaluate(self, trained: LightningCLI) -> Found:
        """Return errors of rollouts all over the test episodes, and two rollouts.

        Errors are NaN where a rollout was not finite: means over the others would favour the model.
        """
        task, data = trained.model, trained.datamodule
        assert isinstance(task, TrajectoryTask) and isinstance(data, TrajectoryData)
        episodes = [aligned(episode, data.layout) for episode in data.splits["test"]]
        task.eval()
        (scores,) = scores_of([task], episodes, HORIZON, EVERY)
        quality = {
            f"error@{h}": float(scores[f"nrmse@{h}"] / scores[f"persistence@{h}"])
            for h in (10, 1, HORIZON)
            if f"nrmse@{h}" in scores
        }
        quality["reward_error"] = float(scores.get("reward_nrmse", nan))
        if scores["not_finite"]:
            quality = dict.fromkeys(quality, nan)
        return quality, _pictures(task, data.layout, episodes[:SHOWN])


@torch.inference_mode()
def _pictures(task: TrajectoryTask, layout: Layout, episodes: list[Rows]) -> list[dict[str, Any]]:
    dataset = Whole(episodes)
    batch = padded([dataset[i] for i in range(len(dataset))])
    found, truth, _, there = imagined(task.network, batch, task.context, HORIZON)
    reward = split(batch, task.context, HORIZON)[1]["prev_reward"]
    names = _names(layout)[:NUMBERS]
    return [
        {
            "kind": "rollout",
            "title": f"test episode {i + 1}",
            "steps": list(range(1, int(steps) + 1)),
            "truth": _channels(names, truth[i, :steps], reward[i, :steps]),
            "imagined": _channels(names, found.observation[i, :steps], found.reward[i, :steps]),
        }
        for i, steps in enumerate(there.sum(1))
    ]


def _channels(names: list[str], observation: Tensor, reward: Tensor) -> dict[str, list[float]]:
    """Return the first numbers of observations (H, O), and the rewards (H,), by name."""
    columns = zip(names, observation.T.tolist(), strict=False)
    return dict(columns) | {"reward": reward.tolist()}


def _names(layout: Layout) -> list[str]:
    """Return names of the numbers of an observation, in their order."""
    sizes = {key: prod(shape) for key, shape in layout.observation.items() if len(shape) < 3}
    return [key if size == 1 else f"{key}[{i}]" for key, size in sizes.items() for i in range(size)]
