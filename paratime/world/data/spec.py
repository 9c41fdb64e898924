"""What a world model must know of its trajectories."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from paratime.training.spec import DataSpec
from paratime.world.data.environment import EnvironmentOptions
from paratime.world.data.episode import KNOWN, ROW, VECTOR
from paratime.world.data.windows import Rows


@dataclass(frozen=True)
class Moments:
    """Statistics of the training episodes; lists of O values, of A, or of one.

    Attributes:
        observation: Mean and standard deviation.
        change: Likewise of an observation's change in a step.
        reward: Likewise of rewards.
        lowest: Least observation.
        highest: Greatest observation.
        action_lowest: Least action.
        action_highest: Greatest action.
        reward_extent: Greatest distance of a reward from the mean, in standard deviations.
        images: By key, the mean of each channel, and the standard deviation around these.
    """

    observation: tuple[list[float], list[float]]
    change: tuple[list[float], list[float]]
    reward: tuple[list[float], list[float]]
    lowest: list[float]
    highest: list[float]
    action_lowest: list[float]
    action_highest: list[float]
    reward_extent: float = 0.0
    images: dict[str, tuple[list[float], float]] = field(default_factory=dict)

    @classmethod
    def of(cls, episodes: Sequence[Rows]) -> "Moments":
        """Compute them from aligned episodes."""
        known = _known(episodes, VECTOR)
        observation = np.concatenate(known)
        change = np.concatenate([np.diff(x, axis=0) for x in known])
        reward = np.concatenate([x["prev_reward"][1:, None] for x in episodes])
        action = np.concatenate([x["prev_action"][1:] for x in episodes])
        (mean,), (spread,) = of_reward = _moments(reward)
        keys = [key for key in episodes[0] if key not in ROW]
        return cls(
            _moments(observation),
            _moments(change),
            of_reward,
            observation.min(0).tolist(),
            observation.max(0).tolist(),
            action.min(0).tolist(),
            action.max(0).tolist(),
            float(np.abs(reward - mean).max() / spread),
            images={key: _image_moments(_known(episodes, key)) for key in keys},
        )


def _known(episodes: Sequence[Rows], key: str) -> list[np.ndarray]:
    return [x[key][x.get(KNOWN, ...)] for x in episodes]


def _moments(rows: np.ndarray) -> tuple[list[float], list[float]]:
    if not len(rows):  # no observation follows another
        return [0.0] * rows.shape[1], [1.0] * rows.shape[1]
    mean, spread = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
    return mean.tolist(), np.where(spread > 1e-9 * np.abs(mean), spread, 1.0).tolist()


def _image_moments(images: Sequence[np.ndarray]) -> tuple[list[float], float]:
    """Return means (C,) and the deviation from them, of bytes (T, H, W, C) as numbers in [0, 1]."""
    counts = np.zeros((images[0].shape[-1], 256))
    for episode in images:
        channels = np.moveaxis(episode, -1, 0)
        counts += [np.bincount(x.ravel(), minlength=256) for x in channels]
    share, level = counts / counts.sum(1, keepdims=True), np.arange(256) / 255
    mean = share @ level
    variance = (share * (level - mean[:, None]) ** 2).sum(1).mean()
    return mean.tolist(), float(np.sqrt(variance)) or 1.0


@dataclass(frozen=True)
class TrajectorySpec(DataSpec):
    """The trajectories of a world model.

    Attributes:
        moments: Statistics of the training episodes.
        observation: By key, the shape of an observation.
        action: Size of an action, or, if discrete, the number of choices.
        discrete: Whether actions are choices.
        environment: Gymnasium's id, where there is one.
        options: How the environment was made.
        names: Of the values of an observation that are no images, where the source knows them.
        action_names: Of the values of an action, where the source knows them.
        source: Name and options of the source of the trajectories, if they are plain.
        trained_on: Fingerprints of the training episodes; digests in checkpoints of version 0.1.
    """

    data: ClassVar[str] = "trajectories (TrajectoryData)"
    former: ClassVar[str] = "trajectories"

    moments: Moments
    observation: dict[str, list[int]] = field(default_factory=dict)
    action: int = 0
    discrete: bool = False
    environment: str | None = None
    options: EnvironmentOptions = field(default_factory=EnvironmentOptions)
    names: list[str] = field(default_factory=list)
    action_names: list[str] = field(default_factory=list)
    source: dict[str, Any] | None = None
    trained_on: list[list[float] | str] = field(default_factory=list)

    def labels(self) -> list[str]:
        """Return a name for each value of an observation that is no image's."""
        count = len(self.moments.lowest)
        if len(self.names) == count:
            return self.names
        shapes = {key: shape for key, shape in self.observation.items() if len(shape) < 3}
        found = [x for key, shape in shapes.items() for x in value_names(key, math.prod(shape))]
        return found if len(found) == count else value_names(VECTOR, count)


def value_names(key: str, count: int) -> list[str]:
    """Return names of the values under a key, numbered if there are several."""
    return [key] if count == 1 else [f"{key}[{i}]" for i in range(count)]
