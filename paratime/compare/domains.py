"""The domains of a comparison: how a trained model of each is measured, and shown."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import nan, prod
from typing import Any

import numpy as np
import torch
from lightning.pytorch.cli import LightningCLI
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.evaluation.backtest import Backtest, backtest
from paratime.forecast.model.task import ForecastTask
from paratime.language.generation.generate import generate
from paratime.language.generation.sampling import Sampling
from paratime.language.model.task import LanguageTask
from paratime.training.base import Task
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Layout, align_episode
from paratime.world.data.windows import Rows, Whole, padded
from paratime.world.evaluation.report import score_rollouts
from paratime.world.model.rollout import open_loop, split_context
from paratime.world.model.task import TrajectoryTask

Build = Callable[[list[str]], LightningCLI]
"""Builds trainer, task and data from the options of ``paratime fit``; the command line's own."""

Found = tuple[dict[str, float], list[dict[str, Any]]]
"""Metrics by name, lower is better, the headline first; and pictures as plain data."""

PROMPT, TOKENS = "ROMEO:\n", 300
"""What a language model continues, and by how many tokens."""

SERIES, HISTORY = 3, 3
"""Series that are shown, and horizons of history before their forecasts."""

LEVELS, COVERED = (0.1, 0.5, 0.9), 0.8
"""Quantiles that are shown, and the share of targets that should lie between the outer two."""

EPISODES, UNITS = 2, 4
"""Episodes that are shown, and units of an observation in them."""

HORIZON, EVERY = 50, 25
"""Steps of a rollout, and rows between the starts of two rollouts."""


class Domain(ABC):
    """A domain of data, by the task that is trained on it.

    Attributes:
        task: The task that its configs have.
        headline: Name of its first metric.
        unit: What its throughput counts.
        what: One sentence on the metrics.
    """

    task: type[Task]
    headline: str
    unit: str
    what: str

    @abstractmethod
    def read(self, task: Any, batch: Any) -> None:
        """Run the task's network over a training batch."""

    @abstractmethod
    def evaluate(self, trained: LightningCLI) -> Found:
        """Measure a trained model on the test data, and show what it does there."""


class Tokens(Domain):
    """Language models."""

    task = LanguageTask
    headline = "bits_per_byte"
    unit = "tokens"
    what = (
        "Scores of the documents held out for testing; of as many batches of them as"
        " trainer.limit_test_batches says, where it is set."
    )

    def read(self, task: LanguageTask, batch: Any) -> None:
        """Compute the loss of a batch."""
        task.losses(batch)

    def evaluate(self, trained: LightningCLI) -> Found:
        """Return the scores of ``paratime test``, and the model's continuation of a prompt."""
        (scores,) = trained.trainer.test(trained.model, trained.datamodule, verbose=False)
        quality = {name: scores[f"test/{name}"] for name in (self.headline, "perplexity")}
        assert isinstance(trained.model, LanguageTask)
        title = f"prompt {PROMPT.strip()}"
        return quality, [{"kind": "text", "title": title, "text": _written(trained.model)}]


def _written(model: LanguageTask) -> str:
    """Return a prompt and a model's continuation, or the reason why none exists.

    A model that diverged writes nothing, nor does one whose tokenizer lacks the characters.
    """
    try:
        return PROMPT + "".join(generate(model, PROMPT, Sampling(TOKENS, seed=0)))
    except InputError as error:
        return f"No text: {error}."


class Series(Domain):
    """Forecasters."""

    task = ForecastTask
    headline = "mean_wQL"
    unit = "steps"
    what = "Scores of forecasts of the last window of every series, which was held out for testing."

    def read(self, task: ForecastTask, batch: Any) -> None:
        """Forecast from the origins of a batch."""
        task(batch)

    def evaluate(self, trained: LightningCLI) -> Found:
        """Return the metrics of a backtest, and the forecasts of a few series."""
        task, data = trained.model, trained.datamodule
        assert isinstance(task, ForecastTask) and isinstance(data, SeriesData)
        found = backtest(
            task, data.collection, windows=data.test_windows, batch_size=data.batch_size
        )
        overall = found.overall
        quality = {name: overall[name] for name in (self.headline, "MASE")}
        quality["coverage_error"] = abs(overall["coverage_80"] - COVERED)
        series = found.windows.firsts
        chosen = np.unique(np.linspace(0, len(series) - 1, SERIES).round().astype(int))
        return quality, [_picture(found, int(series[i])) for i in chosen]


def _picture(found: Backtest, window: int) -> dict[str, Any]:
    """Return a forecast of the first channel, and the history before it."""
    windows, horizon = found.windows, found.windows.prediction_length
    origin = int(windows.origin[window])
    first = max(0, origin + 1 - HISTORY * horizon)
    target = windows.values(window)[first : origin + 1 + horizon, 0]
    entry = windows.collection.entries[windows.series[window]]
    with quiet_periods():
        time = [str(entry["start"] + step) for step in range(first, first + len(target))]
    unknown = [None] * (origin + 1 - first)
    quantiles = {
        str(level): [*unknown, *_plain(found.quantile(level)[window, :, 0])] for level in LEVELS
    }
    return {
        "kind": "forecast",
        "title": entry["item_id"],
        "time": time,
        "target": _plain(target),
        "quantiles": quantiles,
    }


def _plain(values: Any) -> list[float | None]:
    return [None if np.isnan(x) else float(x) for x in values]


class Trajectories(Domain):
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
        """Return errors of rollouts throughout the test episodes, and a few rollouts.

        Errors are NaN where a rollout was not finite: means over the others would favour the model.
        """
        task, data = trained.model, trained.datamodule
        assert isinstance(task, TrajectoryTask) and isinstance(data, TrajectoryData)
        episodes = [align_episode(episode, data.layout) for episode in data.splits["test"]]
        task.eval()
        (scores,) = score_rollouts([task], episodes, horizon=HORIZON, every=EVERY)
        quality = {
            f"error@{h}": float(scores[f"nrmse@{h}"] / scores[f"persistence@{h}"])
            for h in (10, 1, HORIZON)
            if f"nrmse@{h}" in scores
        }
        quality["reward_error"] = float(scores.get("reward_nrmse", nan))
        if scores["not_finite"]:
            quality = dict.fromkeys(quality, nan)
        return quality, _rollouts(task, data.layout, episodes[:EPISODES])


@torch.inference_mode()
def _rollouts(task: TrajectoryTask, layout: Layout, episodes: list[Rows]) -> list[dict[str, Any]]:
    dataset = Whole(episodes)
    batch = padded([dataset[i] for i in range(len(dataset))])
    rollout = open_loop(task.network, batch, context=task.context, horizon=HORIZON)
    found, truth = rollout.prediction, rollout.truth
    reward = split_context(batch, task.context, HORIZON)[1]["prev_reward"]
    names = _names(layout)[:UNITS]
    return [
        {
            "kind": "rollout",
            "title": f"test episode {i + 1}",
            "steps": list(range(1, int(steps) + 1)),
            "truth": _channels(names, truth[i, :steps], reward[i, :steps]),
            "imagined": _channels(names, found.observation[i, :steps], found.reward[i, :steps]),
        }
        for i, steps in enumerate(rollout.valid.sum(1))
    ]


def _channels(names: list[str], observation: Tensor, reward: Tensor) -> dict[str, list[float]]:
    """Return the first units of observations (H, O), and the rewards (H,), by name."""
    columns = zip(names, observation.T.tolist(), strict=False)
    return dict(columns) | {"reward": reward.tolist()}


def _names(layout: Layout) -> list[str]:
    """Return the names of an observation's units, in their order."""
    sizes = {key: prod(shape) for key, shape in layout.observation.items() if len(shape) < 3}
    return [key if size == 1 else f"{key}[{i}]" for key, size in sizes.items() for i in range(size)]


DOMAINS: dict[str, Domain] = {
    "tokens": Tokens(),
    "series": Series(),
    "trajectories": Trajectories(),
}
"""By name in a config."""
