"""The commands of the world-model slice beside Lightning's: ``paratime world ...``."""

import statistics
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch

from paratime import figures
from paratime.errors import InputError, check_at_least
from paratime.parser import check_checkpoint, run_commands
from paratime.world.dynamics_task import DynamicsTask
from paratime.world.environment import Gym, choices_of, make, run
from paratime.world.episode import Layout, aligned, vector
from paratime.world.hdf5 import write_minari
from paratime.world.latent_task import WorldTask
from paratime.world.npz import write_npz
from paratime.world.openloop import horizon_table
from paratime.world.planning import CEM, Agent, Planner
from paratime.world.source import Recording, Source
from paratime.world.sources import source_of
from paratime.world.task import TrajectoryTask
from paratime.world.windows import Rows

TASKS: dict[str, type[TrajectoryTask]] = {"DynamicsTask": DynamicsTask, "WorldTask": WorldTask}

Format = Literal["npz", "minari"]

FIRST_SEED = 10_000
"""Of the episodes that plans are tried on: training begins at 0."""


def collect(
    environment: str, out: str, episodes: int = 200, seed: int = 0, layout: Format = "npz"
) -> None:
    """Collect episodes of random actions in an environment.

    Args:
        environment: Gymnasium's id, such as Pendulum-v1.
        out: Folder to write.
        episodes: How many.
        seed: Seed of the first one.
        layout: npz (Dreamer's, a file an episode), or minari, whose folders are named like
            pendulum-v0.
    """
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
        out: Folder to write.
        layout: As for collect.
        data: As for inspect.
        source: As for inspect.
    """
    save(chosen(data, source).read(), out, layout)
    print(f"{'recording':<20} {out}")


def openloop(
    ckpt_path: str,
    data: str | None = None,
    source: Source | None = None,
    horizon: int = 50,
    every: int = 25,
    out: str | None = None,
) -> None:
    """Say how far ahead a model can be trusted, over all episodes of a recording.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        data: As for inspect.
        source: As for inspect.
        horizon: Steps of a rollout.
        every: Rows from one rollout's beginning to the next.
        out: Figure to write, .png, .svg or .pdf: true against imagined observations.
    """
    check_at_least(1, horizon=horizon, every=every)
    if out is not None:
        figures.check_figure(out)
    task, recording = load(ckpt_path), chosen(data, source).read()
    episodes = whole_episodes(recording, task.trajectories)
    print(horizon_table(task.network, episodes, horizon, every))
    if out is not None:
        from paratime.world.charts import draw

        figures.save(draw(task.network, episodes[:4], horizon), out)
        print(f"{'figure':<20} {out}")


def plan(
    ckpt_path: str,
    episodes: int = 10,
    planner: Planner = CEM(),  # noqa: B008 (frozen)
    environment: str | None = None,
    seed: int = FIRST_SEED,
) -> None:
    """Act in an environment by planning with a model, beside random actions on the same seeds.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        episodes: How many.
        planner: How to plan.
        environment: Gymnasium's id; that of the training data by default.
        seed: Seed of the first episode; the others follow.
    """
    check_at_least(1, episodes=episodes)
    task = load(ckpt_path)
    name = environment or task.trajectories["environment"]
    if name is None:
        raise InputError("environment", "Gymnasium's id", "none in the data", "name it")
    world = make(name)
    check_space(world, task.trajectories)
    agent = Agent(task.network, planner, task.trajectories["discrete"], seed=seed)
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
    share = agent.outside / max(1, agent.tried)
    print(f"{1000 * statistics.median(spent):.1f} ms a step; {share:.1%} of rollouts diverged")


def acting(agent: Agent, spent: list[float]) -> Callable[[Any], Any]:
    """Return a policy for one episode that notes how long it took to act."""
    agent.reset()

    def policy(observation: Any) -> Any:
        began = time.perf_counter()
        action = agent.act(torch.from_numpy(vector(observation)))
        spent.append(time.perf_counter() - began)
        return int(action.argmax()) if agent.discrete else action.numpy()

    return policy


def check_space(world: Any, trajectories: dict[str, Any]) -> None:
    """Refuse an environment whose actions or observations are not those of the training data."""
    choices = choices_of(world)
    actions = world.action_space.shape[0] if choices is None else choices
    size = len(vector(world.observation_space.sample()))
    ours = sum(int(np.prod(shape)) for shape in trajectories["observation"].values())
    expected = (trajectories["action"], trajectories["discrete"], ours)
    if expected != (actions, choices is not None, size):
        names = "{} actions, {}, and {} numbers observed"
        kinds = [
            names.format(a, "discrete" if d else "continuous", o)
            for a, d, o in (expected, (actions, choices is not None, size))
        ]
        remedy = "name the environment that the data is of"
        raise InputError("environment", kinds[0], kinds[1], remedy)


def whole_episodes(recording: Recording, trajectories: dict[str, Any]) -> list[Rows]:
    """Return episodes as the model reads them; refuse those of another layout than its data's."""
    layout = Layout.of(recording.episodes, recording.actions or trajectories["action"])
    found = {key: list(shape) for key, shape in layout.observation.items()}
    got = found, layout.action, layout.discrete
    expected = tuple(trajectories[key] for key in ("observation", "action", "discrete"))
    if got != expected:
        remedy = "give data like that of the training"
        raise InputError("data", f"(observation, action, discrete) {expected}", str(got), remedy)
    return [aligned(episode, layout) for episode in recording.episodes]


def load(ckpt_path: str) -> TrajectoryTask:
    """Return the task of a checkpoint of ``paratime fit``."""
    check_checkpoint(ckpt_path)
    saved = torch.load(ckpt_path, map_location="cpu", weights_only=True)["hyper_parameters"]
    name = str(saved.get("_class_path", "no class")).rpartition(".")[2]
    if name not in TASKS:
        remedy = "name what paratime fit has printed at its end"
        raise InputError(ckpt_path, f"a checkpoint of {' or '.join(TASKS)}", name, remedy)
    return TASKS[name].load_from_checkpoint(ckpt_path, map_location="cpu").eval()


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
    """Write a recording into a folder."""
    if layout == "minari":
        write_minari(recording, out)
    else:
        write_npz(recording.episodes, out)


def chosen(data: str | None, source: Source | None) -> Source:
    """Return the source that was given, one way or the other."""
    if (data is None) == (source is None):
        got = "neither" if data is None else "both"
        raise InputError("data", "a path, or a source instead", got, "give --data PATH")
    return source if data is None else source_of(data)  # type: ignore[return-value]


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
