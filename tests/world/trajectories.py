"""Episodes to write and to read, and what to compare."""

import numpy as np
import pytest

from paratime.errors import InputError
from paratime.world.data.episode import make_episode

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
    """Check that an observation holds the action before it, and not any other."""
    assert episodes
    for episode in episodes:
        action = episode.action.reshape(len(episode), -1)
        np.testing.assert_array_equal(episode.observation[key][1:], action)


def refused(pattern, function, *args, **options):
    with pytest.raises(InputError, match=pattern) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
