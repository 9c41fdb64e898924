"""Trajectories, and what a world model of them is good for."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch

from paratime.cli.parser import run_commands
from paratime.errors import InputError, check_at_least
from paratime.io.atomic import check_new, making
from paratime.world.commands.openloop import openloop
from paratime.world.data.episode import VECTOR, Layout, as_row, image_shapes
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.dreamer import write_npz
from paratime.world.data.sources.gym import Gym, choices_of, make, run
from paratime.world.data.sources.minari import write_minari
from paratime.world.evaluation.loading import chosen, load
from paratime.world.planning.planners import CEM, Agent, Planner

Format = Literal["npz", "minari"]

FIRST_SEED = 10_000
"""Of the episodes that plans are tried on: training begins at 0."""


def collect(
    environment: str, out: str, episodes: int = 200, seed: int = 0, layout: Format = "npz"
) -> None:
    """Collect episodes of random actions in an environment.

    Args:
        environment: Gymnasium's id, such as Pendulum-v1.
        out: Folder to write, new or empty.
        episodes: How many.
        seed: Seed of the first one.
        layout: npz (Dreamer's, a file an episode), or minari, whose folders are named like
            pendulum-v0.
    """
    check_new(out)
    recording = Gym(environment, episodes, seed).read()
    save(recording, out, layout)
    print(summary(recording))
    print(f"{'recording':<20} {out}")


def inspect(data: str | None = None, source: Source | None = None) -> None:
    """Say what is in a recording: how many episodes, how long, returns, observations, actions.

    Args:
        data: gym:ID, or a path of .hdf5 (Minari, D4RL) or .npz (Dreamer) episodes.
        source: A source with options, instead of a path.
    """
    print(summary(chosen(data, source).read()))


def convert(
    out: str, layout: Format, data: str | None = None, source: Source | None = None
) -> None:
    """Write a recording in another layout.

    Args:
        out: Folder to write, new or empty.
        layout: As for collect.
        data: As for inspect.
        source: As for inspect.
    """
    check_new(out)
    save(chosen(data, source).read(), out, layout)
    print(f"{'recording':<20} {out}")


def plan(
    ckpt_path: str,
    episodes: int = 10,
    planner: Planner = CEM(),  # noqa: B008 (frozen)
    environment: str | None = None,
    seed: int = FIRST_SEED,
    cost: Callable[..., Any] | None = None,
) -> None:
    """Act in an environment by planning with a model, beside random actions on the same seeds.

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
    check_at_least(1, episodes=episodes)
    check_at_least(0, seed=seed)
    task = load(ckpt_path)
    name = environment or task.trajectories["environment"]
    if name is None:
        raise InputError(
            "environment", "Gymnasium's id", "none in the data", "give --environment ID"
        )
    world = make(name)
    check_space(world, task.trajectories)
    agent = Agent(task.network, planner, task.trajectories["discrete"], cost, seed)
    spent: list[float] = []
    print(f"{'seed':>8} {'planned':>10} {'random':>10}")
    returns: list[tuple[float, float]] = []
    for number in range(seed, seed + episodes):
        planned = run(world, number, acting(agent, spent))
        world.action_space.seed(number)
        random = run(world, number, lambda _: world.action_space.sample())
        returns.append((float(planned.reward.sum()), float(random.reward.sum())))
        print(f"{number:>8} {returns[-1][0]:>10.1f} {returns[-1][1]:>10.1f}", flush=True)
    for label, row in (("mean", np.mean(returns, 0)), ("std", np.std(returns, 0))):
        print(f"{label:>8} {row[0]:>10.1f} {row[1]:>10.1f}")
    share, pace = agent.outside / max(1, agent.tried), 1000 * statistics.median(spent)
    print(f"{pace:.1f} ms a step; {share:.1%} of rollouts left the range of the data")


def acting(agent: Agent, spent: list[float]) -> Callable[[Any], Any]:
    """Return a policy for one episode that notes how long it took to act."""
    agent.reset()

    def policy(observation: Any) -> Any:
        began = time.perf_counter()
        action = agent.act({key: torch.from_numpy(x) for key, x in as_row(observation).items()})
        spent.append(time.perf_counter() - began)
        return int(action.argmax()) if agent.discrete else action.numpy()

    return policy


def check_space(world: Any, trajectories: dict[str, Any]) -> None:
    """Refuse an environment whose actions or observations are not those of the training data."""
    choices = choices_of(world)
    actions = world.action_space.shape[0] if choices is None else choices
    seen = {key: x.shape for key, x in as_row(world.observation_space.sample()).items()}
    ours = trajectories["observation"]
    numbers = sum(int(np.prod(shape)) for shape in ours.values() if len(shape) < 3)
    expected = in_words(trajectories["action"], trajectories["discrete"], numbers, ours)
    got = in_words(actions, choices is not None, seen[VECTOR][0], seen)
    if expected != got:
        remedy = "name the environment that the data is of"
        raise InputError("environment", expected, got, remedy)


def in_words(actions: int, discrete: bool, numbers: int, observation: Mapping[str, Any]) -> str:
    """Return what is done and seen in an environment: numbers, and images among the shapes."""
    images = "".join(f", {key} {_shape(x)}" for key, x in sorted(image_shapes(observation).items()))
    kind = "discrete" if discrete else "continuous"
    return f"{actions} actions, {kind}, and {numbers} numbers observed{images}"


def summary(recording: Recording) -> str:
    """Return an aligned table of what is in a recording."""
    episodes = recording.episodes
    layout = Layout.of(episodes, recording.actions)
    steps = [len(episode) for episode in episodes]
    returns = np.array([float(episode.reward.sum()) for episode in episodes])
    kind = "choices" if layout.discrete else "numbers"
    rows = {
        "environment": recording.environment or "",
        "episodes": f"{len(episodes):,}, {sum(e.terminated for e in episodes):,} terminated",
        "steps": f"{sum(steps):,}, {min(steps):,} to {max(steps):,} an episode",
        "return": f"{returns.mean():.4g} +- {returns.std():.3g}, {returns.min():.4g} to "
        f"{returns.max():.4g}",
        "action": f"{layout.action} {kind}",
        "observation": ", ".join(f"{k} {_shape(x)}" for k, x in layout.observation.items()),
    }
    return "\n".join(f"{name:<20} {value}" for name, value in rows.items() if value)


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def save(recording: Recording, out: str, layout: Format) -> None:
    """Write a recording into a folder, whole or not at all."""
    with making(out) as draft:
        if layout == "minari":
            write_minari(recording, draft)
        else:
            write_npz(recording.episodes, draft)


COMMANDS: dict[str, Callable[..., None]] = {
    "collect": collect,
    "inspect": inspect,
    "convert": convert,
    "openloop": openloop,
    "plan": plan,
}


def main() -> None:
    """Run ``paratime world ...`` from ``sys.argv``."""
    run_commands("paratime world", COMMANDS, str(__doc__))
