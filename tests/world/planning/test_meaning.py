"""Plans act as the environment allows and as the data knows, and only where both mean the same."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space
from hypothesis import given, settings
from torch import Tensor, nn
from world.data.test_spaces import SPACES, Echo
from world.trajectories import refused

from paratime.world.commands.plan import planning_agent, policies
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.environment import action_code, vectors
from paratime.world.data.episode import make_episode
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.data.sources.gym import run_episode
from paratime.world.data.spec import TrajectorySpec
from paratime.world.model.base import Prediction
from paratime.world.planning.meaning import check_meaning, common_bounds, describe_bounds
from paratime.world.planning.planners import CEM


class Any(nn.Module):
    """Rewards large actions."""

    def __init__(self, spec: TrajectorySpec) -> None:
        super().__init__()
        ends = [spec.moments.action_lowest, spec.moments.action_highest]
        self.action_range = torch.tensor(ends)

    def imagine(self, observation: object, actions: Tensor, state: object) -> tuple:
        ones = actions.sum(-1)
        return Prediction(ones[..., None], ones, torch.ones_like(ones), ones > 0), state

    step = imagine


class Task:
    def __init__(self, spec: TrajectorySpec) -> None:
        self.spec, self.network = spec, Any(spec)


def spec_of(episodes: list, **known: object) -> TrajectorySpec:
    recording = Recording(episodes, **known)
    return TrajectoryData(InMemory(recording), validation=0, test=0).spec


def world_of(action: Space | None = None, seen: Space | None = None) -> gymnasium.Env:
    made = Echo(action or Box(-1, 1, (1,)))
    made.observation_space = seen or Box(-1, 1, (2,))
    return vectors(made)


def episode(actions: object, observation: object = None) -> object:
    observation = np.zeros((len(actions) + 1, 2)) if observation is None else observation
    return make_episode("e", observation, actions, np.zeros(len(actions)), False)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(SPACES)
def test_plans_in_any_space_are_legal(space):
    world = vectors(Echo(space))
    world.action_space.seed(1)
    found = [run_episode(world, s, lambda _: world.action_space.sample()) for s in range(3)]
    spec = spec_of(found, actions=action_code(world).choices)
    check_meaning(world, spec)
    agent = planning_agent(world, Task(spec), CEM(horizon=2, candidates=4, iterations=2))
    for policy in policies(world, 0, agent, []):
        planned = run_episode(world, 0, policy)  # Echo refuses what is not legal
    if not planned.discrete:
        low, high = common_bounds(world, spec).numpy()
        planned = run_episode(world, 0, next(policies(world, 0, agent, [])))
        assert (planned.action >= low).all() and (planned.action <= high).all()


RANGES = {
    "wide data": ((-3, 3), (-1, 1), (-1, 1)),
    "narrow data": ((-0.2, 0.2), (-1, 1), (-0.2, 0.2)),
    "shifted": ((0, 3), (-1, 1), (0, 1)),
    "unbounded environment": ((-3, 3), (-np.inf, np.inf), (-3, 3)),
    "one point": ((1, 1), (-1, 1), (1, 1)),
}


@pytest.mark.parametrize("name", RANGES)
def test_actions_are_of_the_intersection(name):
    data, allowed, expected = RANGES[name]
    world = world_of(Box(*allowed, (1,)))
    spec = spec_of([episode(np.array([[x] for x in data], np.float32))])
    check_meaning(world, spec)
    low, high = expected
    assert common_bounds(world, spec)[:, 0].tolist() == pytest.approx(expected)
    text = describe_bounds(world, spec)
    assert text.startswith(f"{low:g} to {high:g}, the intersection of the data {data[0]:g} to ")
    agent = planning_agent(world, Task(spec), CEM(horizon=1, candidates=64))
    taken = agent.act(torch.zeros(2))
    assert low - 1e-6 <= float(taken) <= high + 1e-6
    assert float(taken) == pytest.approx(high, abs=0.1 * (high - low) + 1e-6), "the best of these"


def test_no_common_action_is_refused():
    spec = spec_of([episode(np.array([[5.0], [6.0]]))])
    refused(r"actions: expected some between -1 to 1.*got 5 to 6", check_meaning, world_of(), spec)


def test_choices_that_the_data_lacks_are_not_planned():
    spec, world = spec_of([episode(np.array([0, 1]))]), world_of(Discrete(4))
    check_meaning(world, spec)
    assert describe_bounds(world, spec) == "2 of the environment's 4 choices"
    more = spec_of([episode(np.array([0, 5]))])
    refused("expected 6 actions, discrete.*got 4 actions", check_meaning, world, more)


PARTS = Dict({"angle": Box(-9, 9, (1,)), "speed": Box(-9, 9, (2,))})
ROWS = {"angle": np.zeros((2, 1)), "speed": np.zeros((2, 2))}
ONE = np.zeros((1, 1), np.float32)
MEANINGS = {
    "the same": (PARTS, ROWS, {}, None),
    "other keys": (PARTS, {"angle": ROWS["angle"], "pace": ROWS["speed"]}, {}, "pace"),
    "other shapes": (PARTS, {"angle": ROWS["speed"], "speed": ROWS["angle"]}, {}, r"angle \(2\)"),
    "one vector": (PARTS, np.zeros((2, 3)), {}, "3 numbers"),
    "named in order": (PARTS, np.zeros((2, 3)), ["angle", "speed[0]", "speed[1]"], None),
    "named in disorder": (
        PARTS,
        np.zeros((2, 3)),
        ["speed[0]", "speed[1]", "angle"],
        r"angle, speed\[0\], speed\[1\], in this order",
    ),
    "named otherwise": (PARTS, np.zeros((2, 3)), ["a", "b", "c"], "got a, b, c"),
    "classes as a number": (Discrete(3), np.zeros((2, 1)), {}, "1 numbers observed.*3 numbers"),
}


@pytest.mark.parametrize("name", MEANINGS)
def test_observations_are_compared_by_what_they_mean(name):
    space, rows, names, pattern = MEANINGS[name]
    spec = spec_of([episode(ONE, rows)], names=tuple(names))
    world = world_of(seen=space)
    if pattern is None:
        check_meaning(world, spec)
    else:
        refused(pattern, check_meaning, world, spec)


ACTIONS = {
    "numbers for choices": (Discrete(1), ONE, "expected 1 actions, continuous.*got 1 actions, dis"),
    "choices for numbers": (None, np.zeros(1, int), "expected 1 actions, discrete"),
    "other size": (Box(-1, 1, (2,)), ONE, "expected 1 actions.*got 2 actions"),
    "classes": (MultiDiscrete([2, 3]), np.zeros((1, 2)), "expected 2 actions.*got 5 actions"),
    "bits": (MultiBinary(1), ONE, None),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_are_compared_by_what_they_mean(name):
    space, actions, pattern = ACTIONS[name]
    spec, world = spec_of([episode(actions)]), world_of(space)
    if pattern is None:
        check_meaning(world, spec)
    else:
        refused(pattern, check_meaning, world, spec)


def test_actions_in_another_order_are_refused():
    parts = Dict({"grip": Box(-1, 1, (1,)), "turn": Box(-1, 1, (1,))})
    spec = spec_of([episode(np.zeros((1, 2)))], action_names=("turn", "grip"))
    refused("actions: expected grip, turn, in this order", check_meaning, world_of(parts), spec)
    check_meaning(world_of(Box(-1, 1, (2,))), spec)


def test_only_names_of_the_environment_tell_what_actions_are():
    columns = spec_of([episode(np.zeros((1, 2)))], action_names=("left", "right"))
    check_meaning(world_of(MultiBinary(2)), columns)
    turned = spec_of([episode(np.eye(5)[[0]])], action_names=tuple(action_names([2, 3])))
    check_meaning(world_of(MultiDiscrete([2, 3])), turned)
    refused("actions: expected", check_meaning, world_of(MultiDiscrete([3, 2])), turned)


def action_names(counts: list[int]) -> list[str]:
    return action_code(world_of(MultiDiscrete(counts))).names


def test_other_units_are_warned_of(caplog):
    world = world_of(seen=Box(-np.pi, np.pi, (2,)))
    check_meaning(world, spec_of([episode(ONE, np.full((2, 2), 3.0))]))
    assert not caplog.text
    degrees = np.array([[0.0, 0.0], [0.0, 180.0]])
    check_meaning(world, spec_of([episode(ONE, degrees)]))
    assert "observation 1 is 0 to 180 in the data, and -3.142 to 3.142 in the env" in caplog.text
