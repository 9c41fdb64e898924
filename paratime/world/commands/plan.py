"""``paratime world plan``: act in an environment by planning with a model."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from paratime.errors import InputError, check_at_least
from paratime.world.commands.inspect import shape_text
from paratime.world.data.episode import VECTOR, image_shapes, observation_row
from paratime.world.data.sources.gym import action_choices, make_environment, run_episode
from paratime.world.data.spec import TrajectorySpec
from paratime.world.planning.planners import CEM, Agent, Planner

FIRST_SEED = 10_000
"""Of the episodes that plans are tried on; those of training data start at 0."""


def run(
    ckpt_path: str,
    episodes: int = 10,
    planner: Planner = CEM(),  # noqa: B008 (frozen)
    environment: str | None = None,
    seed: int = FIRST_SEED,
    cost: Callable[..., Any] | None = None,
) -> None:
    """Act in an environment by planning with a model, next to random actions on the same seeds.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        episodes: How many.
        planner: How to plan.
        environment: Gymnasium's id; that of the training data by default.
        seed: Seed of the first episode; the others follow.
        cost: Function, as module.name, of a Prediction of N candidates and H steps (observation
            (N, H, O), reward (N, H), in the environment's units) and actions (N, H, A): costs
            (N, H), which are subtracted from the predicted rewards.
    """
    from paratime.world.evaluation.loading import load

    check_at_least(1, episodes=episodes)
    check_at_least(0, seed=seed)
    task = load(ckpt_path)
    name = environment or task.spec.environment
    if name is None:
        raise InputError(
            "environment", "Gymnasium's id", "none in the data", "give --environment ID"
        )
    world = make_environment(name)
    check_space(world, task.spec)
    agent = Agent(task.network, planner, discrete=task.spec.discrete, cost=cost, seed=seed)
    spent: list[float] = []
    print(f"{'seed':>8} {'planned':>10} {'random':>10}")
    returns: list[tuple[float, float]] = []
    for number in range(seed, seed + episodes):
        returns.append(compare_with_random(world, number, agent, spent))
        print(f"{number:>8} {returns[-1][0]:>10.1f} {returns[-1][1]:>10.1f}", flush=True)
    for label, row in (("mean", np.mean(returns, 0)), ("std", np.std(returns, 0))):
        print(f"{label:>8} {row[0]:>10.1f} {row[1]:>10.1f}")
    share, pace = agent.outside / max(1, agent.tried), 1000 * statistics.median(spent)
    print(f"{pace:.1f} ms a step; {share:.1%} of rollouts left the range of the data")


def compare_with_random(
    world: Any, seed: int, agent: Agent, spent: list[float]
) -> tuple[float, float]:
    """Return the returns of an agent, and of random actions, on a seed.

    Args:
        world: The environment.
        seed: Of both episodes.
        agent: What plans.
        spent: Gets the seconds of each of the agent's steps.
    """
    planned = run_episode(world, seed, planning_policy(agent, spent))
    world.action_space.seed(seed)
    random = run_episode(world, seed, lambda _: world.action_space.sample())
    return float(planned.reward.sum()), float(random.reward.sum())


def planning_policy(agent: Agent, spent: list[float]) -> Callable[[Any], Any]:
    """Return a policy for one episode that notes how long each action took."""
    agent.reset()

    def policy(observation: Any) -> Any:
        began = time.perf_counter()
        row = observation_row(observation)
        action = agent.act({key: torch.from_numpy(x) for key, x in row.items()})
        spent.append(time.perf_counter() - began)
        return int(action.argmax()) if agent.discrete else action.numpy()

    return policy


def check_space(world: Any, spec: TrajectorySpec) -> None:
    """Refuse an environment whose actions or observations differ from the training data's."""
    choices = action_choices(world)
    actions = world.action_space.shape[0] if choices is None else choices
    row = observation_row(world.observation_space.sample())
    seen = {key: x.shape for key, x in row.items()}
    size = sum(int(np.prod(shape)) for shape in spec.observation.values() if len(shape) < 3)
    expected = _space_text(spec.action, spec.discrete, size=size, observation=spec.observation)
    got = _space_text(actions, choices is not None, size=seen[VECTOR][0], observation=seen)
    if expected != got:
        raise InputError("environment", expected, got, "name the environment that the data is of")


def _space_text(actions: int, discrete: bool, *, size: int, observation: Mapping[str, Any]) -> str:
    """Return an environment's actions, the size of its observation, and its images as text."""
    shapes = sorted(image_shapes(observation).items())
    images = "".join(f", {key} {shape_text(x)}" for key, x in shapes)
    kind = "discrete" if discrete else "continuous"
    return f"{actions} actions, {kind}, and {size} numbers observed{images}"
