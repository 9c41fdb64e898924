"""``paratime world plan``: act in an environment by planning with a model."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from paratime.errors import InputError, check_at_least
from paratime.world.commands.convert import Format, check_observed, check_out, write_recording
from paratime.world.data.environment import (
    EnvironmentOptions,
    action_code,
    check_trusted,
    make_environment,
)
from paratime.world.data.episode import Episode, observation_row
from paratime.world.data.sources.base import Recording
from paratime.world.data.sources.gym import run_episode
from paratime.world.data.spec import TrajectorySpec
from paratime.world.planning.meaning import check_meaning, common_bounds, describe_bounds
from paratime.world.planning.planners import CEM, Agent, Planner

if TYPE_CHECKING:
    from paratime.world.model.task import TrajectoryTask

FIRST_SEED = 10_000
"""Of the episodes that plans are tried on; those of training data start at 0."""


def run(
    ckpt_path: str,
    episodes: int = 10,
    planner: Planner = CEM(),  # noqa: B008 (frozen)
    environment: str | None = None,
    seed: int = FIRST_SEED,
    cost: Callable[..., Any] | None = None,
    environment_args: dict[str, Any] | None = None,
    max_episode_steps: int | None = None,
    wrappers: list[Any] | None = None,
    out: str | None = None,
    layout: Format = "npz",
) -> None:
    """Act in an environment by planning, next to random actions and to none on the same seeds.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        episodes: How many.
        planner: How to plan.
        environment: Gymnasium's id; that of the training data by default, with its options.
        seed: Seed of the first episode; the others follow.
        cost: Function, as module.name, of a Prediction of N candidates and H steps (observation
            (N, H, O), reward (N, H), in the environment's units) and actions (N, H, A): costs
            (N, H), which are subtracted from the predicted rewards.
        environment_args: Keyword arguments of the environment, such as --environment_args.g 1.0;
            others remain those of the training data.
        max_episode_steps: Steps after which an episode is cut short.
        wrappers: Import paths of wrappers, the innermost first, instead of the training data's.
        out: Folder for the planned episodes, new or empty.
        layout: Of that folder, as for collect.
    """
    from paratime.world.evaluation.loading import load

    check_at_least(1, episodes=episodes)
    check_at_least(0, seed=seed)
    if out is not None:
        check_out(out, layout)
    task = load(ckpt_path)
    given = EnvironmentOptions.given(environment_args, max_episode_steps, wrappers)
    name, options = chosen_environment(environment, given, task.spec)
    world = make_environment(name, options)
    check_meaning(world, task.spec)
    if out is not None:
        check_observed(world, layout)
    agent = planning_agent(world, task, planner, cost=cost)
    spent, planned, returns = list[float](), list[Episode](), list[list[float]]()
    idle = "always 0" if agent.discrete else "no action"
    print(f"{'seed':>8} {'planned':>10} {'random':>10} {idle:>10}")
    for number in range(seed, seed + episodes):
        trio = [run_episode(world, number, x) for x in policies(world, number, agent, spent)]
        planned.append(trio[0])
        returns.append([float(episode.reward.sum()) for episode in trio])
        print(_line(str(number), returns[-1]), flush=True)
    print(_line("mean", np.mean(returns, 0)), _line("std", np.std(returns, 0)), sep="\n")
    print(f"{'environment':<20} {name}" + (f", {options.text()}" if options.text() else ""))
    print(f"{'actions':<20} {describe_bounds(world, task.spec)}")
    print(describe_rollouts(agent, spent))
    if out is not None:
        recording = Recording(
            planned,
            name,
            task.spec.action if agent.discrete else None,
            names=tuple(task.spec.names),
            options=options,
            action_names=tuple(task.spec.action_names),
        )
        write_recording(recording, out, layout)
        print(f"{'recording':<20} {out}")


def chosen_environment(
    environment: str | None, given: EnvironmentOptions, spec: TrajectorySpec
) -> tuple[str, EnvironmentOptions]:
    """Return which environment to act in, and its options: those given, over those of the data.

    Raises:
        InputError: Neither names one, or the data would choose code to run.
    """
    name = environment or spec.environment
    if name is None:
        raise InputError(
            "environment", "Gymnasium's id", "none in the data", "give --environment ID"
        )
    if name != spec.environment:
        return name, given
    named = replace(spec.options, wrappers=[]) if given.wrappers else spec.options
    check_trusted("" if environment else name, named)
    return name, given.over(spec.options)


def planning_agent(
    world: Any, task: "TrajectoryTask", planner: Planner, cost: Callable[..., Any] | None = None
) -> Agent:
    """Return an agent that plans with a task's model, and acts as an environment allows."""
    code, (mean,), (spread,) = action_code(world), *task.spec.moments.reward
    least = mean - task.spec.moments.reward_extent * spread
    return Agent(
        task.network,
        planner,
        discrete=task.spec.discrete,
        cost=cost,
        bounds=common_bounds(world, task.spec),
        legal=None if code.plain or task.spec.discrete else code.legal,
        idle=None if task.spec.discrete else torch.from_numpy(code.none()),
        floor=min(0.0, least),
    )


def policies(
    world: Any, seed: int, agent: Agent, spent: list[float]
) -> Iterator[Callable[[Any], Any]]:
    """Yield a policy that plans, a random one, and one that does nothing, for a seed's episodes.

    Args:
        world: The environment.
        seed: Of the episodes, of the planner's candidates, and of the random actions.
        agent: What plans.
        spent: Gets the seconds of each of the agent's steps.
    """
    yield planning_policy(agent, spent, seed)
    world.action_space.seed(seed)
    yield lambda _: world.action_space.sample()
    none = action_code(world).none()
    yield lambda _: np.copy(none)[()]


def planning_policy(
    agent: Agent, spent: list[float], seed: int | None = None
) -> Callable[[Any], Any]:
    """Return a policy for one episode that notes how long each action took.

    Args:
        agent: What plans.
        spent: Gets the seconds of each step.
        seed: Seed of the candidates; by default they follow those of earlier episodes.
    """
    agent.reset(seed)

    def policy(observation: Any) -> Any:
        began = time.perf_counter()
        row = observation_row(observation)
        action = agent.act({key: torch.from_numpy(x) for key, x in row.items()})
        spent.append(time.perf_counter() - began)
        return int(action.argmax()) if agent.discrete else action.numpy()

    return policy


def describe_rollouts(agent: Agent, spent: list[float]) -> str:
    """Return the pace of an agent, how many rollouts left the data, and a warning if most did."""
    share, pace = agent.outside / max(1, agent.tried), 1000 * statistics.median(spent)
    text = f"{pace:.1f} ms a step; {share:.1%} of rollouts left the range of the data"
    if share <= 0.5:
        return text
    return (
        f"{text}\nwarning: what the model predicts there is a guess, and so is the plan; "
        "shorten planner.horizon, or train on data that goes where plans lead"
    )


def _line(label: str, values: Iterable[float]) -> str:
    return " ".join([f"{label:>8}", *(f"{x:>10.1f}" for x in values)])
