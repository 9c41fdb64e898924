"""Actions and observations of any space become vectors, and vectors legal actions."""

from copy import deepcopy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st
from world.trajectories import refused

from paratime.testing import TOLERANCE
from paratime.world.data.environment import action_code, make_environment, vectors
from paratime.world.data.episode import Layout
from paratime.world.data.sources.gym import random_episodes, run_episode
from paratime.world.data.spaces import ActionCode, describe_space, joined, leaves_of, parts_by_path

few = st.integers(1, 3)
shapes = st.lists(few, min_size=0, max_size=2).map(tuple)
starts = st.integers(-3, 3)
LEAVES = st.one_of(
    st.builds(lambda shape: Box(-2, 3, shape), shapes),
    st.builds(lambda shape: Box(-2, 3, shape, np.float64), shapes),
    st.builds(lambda shape, low: Box(low, low + 4, shape, np.int64), shapes, starts),
    st.builds(lambda n, start: Discrete(n, start=start), few, starts),
    st.lists(few, min_size=1, max_size=3).map(MultiDiscrete),
    st.builds(lambda n: MultiDiscrete(np.array([[n, 2], [1, 3]])), few),
    few.map(MultiBinary),
    st.builds(lambda n: MultiBinary((2, n)), few),
)
SPACES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(Dict),
        st.lists(inner, min_size=1, max_size=3).map(Tuple),
    ),
    max_leaves=5,
)
many = settings(deadline=None, max_examples=40, derandomize=True)


class Echo(gymnasium.Env):
    """Observes actions, and checks them."""

    spec = None

    def __init__(self, space):
        self.action_space, self.observation_space = space, deepcopy(space)

    def reset(self, *, seed=None, options=None):
        self.time, self.taken = 0, []
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.time += 1
        self.taken.append(action)
        return action, np.ones(1), False, self.time == 3, {}


def drawn(space, seed=0):
    space.seed(seed)
    return space.sample()


def equal(about, one, other):
    ours, theirs = parts_by_path(about, one), parts_by_path(about, other)
    assert [*ours] == [*theirs]
    for key, x in ours.items():
        np.testing.assert_allclose(x, theirs[key], rtol=TOLERANCE[torch.float32].value)


@many
@given(SPACES, st.integers(0, 99))
def test_an_action_comes_back_from_its_vector(space, seed):
    about, action = describe_space(space), drawn(space, seed)
    code = ActionCode(about)
    rows = {key: np.asarray(x)[None] for key, x in parts_by_path(about, action).items()}
    vector = code.encode(rows)[0]
    equal(about, code.decode(vector), action)
    assert space.contains(code.decode(vector))
    assert code.choices is not None or len(vector) == code.size == len(code.names)
    equal(about, joined(about, parts_by_path(about, action)), action)


@many
@given(SPACES, st.integers(0, 99))
def test_any_vector_becomes_a_legal_action(space, seed):
    code = ActionCode(describe_space(space))
    if code.choices is None:
        low, high = (torch.tensor(x).float() for x in (code.low, code.high))
        raw = low + torch.rand(5, code.size, generator=torch.Generator().manual_seed(seed)) * (
            high - low
        )
        legal = code.legal(raw)
        torch.testing.assert_close(code.legal(legal), legal)
        for vector in (*legal.numpy(), code.none()):
            assert space.contains(code.decode(vector))
    else:
        assert space.contains(code.decode(code.none()))


@many
@given(SPACES)
def test_an_environment_of_any_space_runs(space):
    world = vectors(Echo(space))
    world.action_space.seed(3)
    episode = run_episode(world, 5, lambda _: world.action_space.sample())
    assert episode.reward.tolist() == [1] * 3
    layout = Layout.of([episode], action_code(world).choices)
    assert layout.action == action_code(world).size
    expected = [drawn(space, 3)]
    expected += [space.sample() for _ in range(2)]
    for ours, theirs in zip(expected, world.unwrapped.taken, strict=True):
        equal(describe_space(space), ours, theirs)


def test_plain_spaces_are_left_alone():
    for name in ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0"):
        assert not hasattr(make_environment(name), "action_code")


def test_what_is_observed_as_classes():
    known = {"a": Discrete(3, start=1), "b": MultiDiscrete([2, 2]), "c": Box(0, 1, (2,))}
    world = vectors(Echo(Dict(known)))
    seen, _ = world.reset(seed=0)
    assert {key: x.shape for key, x in seen.items()} == {"a": (3,), "b": (4,), "c": (2,)}
    assert seen["a"].sum() == 1 and seen["b"].sum() == 2
    assert world.observation_space.contains(seen)
    names = ActionCode(describe_space(Dict(known))).names
    assert names[:3] == ["a=1", "a=2", "a=3"] and names[-1] == "c[1]"
    assert [*leaves_of(describe_space(Dict({"x": Tuple([Discrete(2)])})))] == ["x/_index_0"]


@pytest.mark.parametrize("name", ("FrozenLake-v1", "Taxi-v4", "Blackjack-v1"))
def test_environments_of_gymnasium_that_observe_classes(name):
    (episode,) = random_episodes(name, [0])
    for key, x in episode.observation.items():
        assert set(np.unique(x)) <= {0, 1} and (x.sum(1) == 1).all(), key


REWARDS = {"text": "high", "two": np.ones(2), "words": ["a", "b"]}


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_that_are_no_number_are_refused(name):
    world = Echo(Box(-1, 1, (1,)))
    taken = world.step
    world.step = lambda action: (taken(action)[0], REWARDS[name], False, True, {})
    act = lambda _: np.zeros(1, np.float32)  # noqa: E731
    refused("reward of the environment: expected one number", run_episode, world, 0, act)


@pytest.mark.parametrize("dtype", (np.float16, np.float32, np.float64, np.int8, np.int32, np.uint8))
def test_vectors_at_and_beyond_the_bounds_become_legal_actions(dtype):
    ends = (0.1, 0.7) if np.dtype(dtype).kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    space = Box(*ends, (2,), dtype)
    world = vectors(Echo(space))
    world.reset(seed=0)
    code = action_code(world)
    for vector in (code.low, code.high, code.low - 1, code.high + 1, code.none()):
        assert space.contains(code.decode(np.asarray(vector, np.float32)))
    for vector in (code.low, code.high):
        plain = world is world.unwrapped
        world.step(np.asarray(vector, np.float32).clip(space.low, space.high) if plain else vector)


@pytest.mark.parametrize("bound", (1.0, np.inf))
def test_what_is_observed_is_no_image_by_chance(bound):
    world = vectors(Echo(Box(-1, 1, (1,))))
    inner = world.unwrapped
    inner.observation_space = Box(-bound, bound, (20, 20))
    inner.reset = lambda **_: (np.zeros((20, 20), np.float32), {})
    seen, _ = (world := vectors(inner)).reset()
    assert seen.shape == (400,) and world.observation_space.contains(seen)


TANGLED = {
    "inside": Dict({"a/b": Box(0, 1, (1,)), "a": Box(0, 1, (1,))}),
    "same": Dict({"a/b": Box(0, 1, (1,)), "a": Dict({"b": Box(0, 1, (1,))})}),
    "numbers": Dict({1: Box(0, 1, (1,)), 2: Discrete(2)}),
}


@pytest.mark.parametrize("name", TANGLED)
def test_keys_that_would_be_lost_are_refused(name):
    refused("keys of a space: expected", lambda: leaves_of(describe_space(TANGLED[name])))
