"""Episodes to write and to read, and what to compare."""

import numpy as np
import pytest

from paratime.errors import InputError
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import Episode, make_episode
from paratime.world.data.sources.base import InMemory, Recording

KINDS = ("vector", "number", "discrete", "dict", "image")


def echo(kind="vector", steps=5, seed=0, terminated=True):
    """Return an episode of an environment whose observation holds its last action."""
    random = np.random.default_rng(seed)
    width = 1 if kind in ("number", "discrete") else 2
    action = random.normal(size=(steps, width)).astype(np.float32)
    if kind == "discrete":
        action = random.integers(3, size=(steps, 1))
        action[0] = 2  # the highest choice, which every episode has
    observation = {"observation": np.concatenate([np.full_like(action[:1], 9), action])}
    if kind == "dict":
        observation = {"z": observation["observation"], "a": random.normal(size=(steps + 1, 3))}
    if kind == "image":
        observation["image"] = random.integers(256, size=(steps + 1, 32, 33, 3)).astype(np.uint8)
    reward = random.normal(size=steps)
    return make_episode(f"echo {seed}", observation, action, reward, terminated)


def echoes(kind="vector"):
    """Return episodes of several lengths, one of them cut short."""
    return [echo(kind, steps, seed=steps, terminated=steps != 4) for steps in (5, 4, 1)]


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert [*one.observation] == [*other.observation]
        for a, b in zip(arrays(one), arrays(other), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        assert one.terminated == other.terminated


def arrays(episode):
    return [*episode.observation.values(), episode.action, episode.reward]


def aligned(episodes, key="observation"):
    """Check that an observation that is known holds the action before it, and not any other."""
    assert episodes
    for episode in episodes:
        action = episode.action.reshape(len(episode), -1)
        known = len(episode) + episode.complete
        observed = episode.observation[key]
        np.testing.assert_array_equal(observed[1:known], action[: known - 1])


def refused(pattern, function, *args, **options):
    with pytest.raises(InputError, match=pattern) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)


EPISODE_LENGTHS = (5, 1, 9, 3, 14)


def numbered(lengths: tuple[int, ...] = EPISODE_LENGTHS, discrete: bool = False) -> list[Episode]:
    """Return episodes of an environment whose observation is its last action, and its number."""
    random, made = np.random.default_rng(0), []
    for number, steps in enumerate(lengths):
        action = random.integers(3, size=steps) if discrete else random.normal(size=(steps, 1))
        last = np.concatenate([[0.0], action.reshape(steps)])
        observation = np.stack([last, np.full(steps + 1, number)], axis=1)
        reward = 10 * action.reshape(steps)
        made.append(make_episode(f"e{number}", observation, action, reward, number % 2 == 0))
    return made


def make_data(**options) -> TrajectoryData:
    source = InMemory(Recording(numbered(tuple(range(2, 22)))))
    return TrajectoryData(source, **{"sequence_length": 8, "batch_size": 4} | options)


def flat(**others):
    """Return rows in the layout of D4RL: episodes of 3, 1 and 2 rows; the last flag is not set."""
    action = np.arange(1.0, 13).reshape(6, 2)
    observed = np.concatenate([np.zeros((1, 2)), action[:-1]])
    observed[[3, 4]] = 0  # where an episode begins
    return {
        "observations": observed,
        "actions": action,
        "rewards": np.arange(6.0),
        "terminals": np.arange(6) == 2,
        "timeouts": np.arange(6) == 3,
    } | others
