"""Every config of ``configs/world`` beside what it must beat, on episodes that nobody has seen.

Beside each model stand the same one without actions, the same one around torch's GRU, for Pendulum
also one whose rollouts are one solve, and persistence. They are trained by ``paratime fit`` on one
thread; then come errors of rollouts by horizon, of rewards and of ends, on new episodes of random
actions, and on further seeds the returns of plans (the cross-entropy method at its defaults), of
random actions and of none.

    python experiments/world/compare.py                           # what is not in compare.csv
    python experiments/world/compare.py --config tmaze_memory     # one config, anew
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from paratime.world import (
    CEM,
    FIRST_SEED,
    HORIZONS,
    Gym,
    TrajectoryTask,
    load,
    make_environment,
    planning_agent,
    policies,
    run_episode,
    score_rollouts,
    unseen_episodes,
)

HERE = Path(__file__).parent
RESULTS, FIGURE = HERE / "compare.csv", HERE / "compare.png"
KEYS = ["config", "model"]
MODELS: dict[str, list[str]] = {
    "model": [],
    "without actions": ["--model.use_action", "false"],
    "torch's GRU": ["--model.encoder.mixer", "TorchGRU"],
    "one solve": ["--model.rollout", "solve", "--model.overshoot", "10"],
}
COLORS = dict(zip(MODELS, ("C0", "C1", "C2", "C3"), strict=True))
EVERYWHERE = ("model", "without actions", "torch's GRU")


@dataclass(frozen=True)
class World:
    """A config: what it is tried on, and which models stand beside it.

    Attributes:
        config: Name of the file.
        environment: Gymnasium's id.
        plans: Episodes that plans are tried on.
        models: Keys of ``MODELS``.
        arguments: What is changed in the config.
        horizon: Steps of a rollout.
    """

    config: str
    environment: str
    plans: int
    models: tuple[str, ...] = EVERYWHERE
    arguments: tuple[str, ...] = ()
    horizon: int = 50


def maze(length: int) -> World:
    """Return the T-maze of a length, whose rollouts go from the cue to the end."""
    name = f"paratime/TMaze{length}-v0"
    given = ("--data.source.environment", name)
    return World("tmaze_memory", name, 10, arguments=given, horizon=length + 1)


WORLDS = {
    "pendulum_dynamics": World("pendulum_dynamics", "Pendulum-v1", 10, (*EVERYWHERE, "one solve")),
    "pendulum_latent": World("pendulum_latent", "Pendulum-v1", 5),
    "cartpole_latent": World("cartpole_latent", "CartPole-v1", 3),
    "halfcheetah_dynamics": World("halfcheetah_dynamics", "HalfCheetah-v5", 1),
    "tmaze_memory, 16": maze(16),
    "tmaze_memory, 64": maze(64),
    "tmaze_memory, 256": maze(256),
}
EPISODES, EVERY = 50, 25


def main() -> None:
    """Run what was asked for, keep it, print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--config", choices=WORLDS, help="one config, anew")
    chosen = parser.parse_args().config
    done = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=KEYS)
    there = set(done[KEYS].itertuples(index=False, name=None))
    todo = [x for x in wanted(chosen) if chosen or x not in there]
    for config, model in tqdm(todo, desc="models"):
        keep({"config": config, "model": model} | measure(WORLDS[config], MODELS[model]))
    table = pd.read_csv(RESULTS)
    print(table.round(4).to_string(index=False))
    draw(table)


def wanted(chosen: str | None) -> Iterator[tuple[str, str]]:
    """Yield the runs that were asked for."""
    for config, world in WORLDS.items():
        if chosen in (None, config):
            for model in world.models:
                yield config, model


def measure(world: World, arguments: list[str]) -> dict[str, float]:
    """Train a model, and return all that is known of it."""
    with tempfile.TemporaryDirectory() as folder:
        path, seconds = fit(world, arguments, folder)
        task = load(path)
    recording = Gym(world.environment, EPISODES, seed=20_000).read()
    episodes = unseen_episodes(recording, task.spec)
    scores = score_rollouts([task], episodes, horizon=world.horizon, every=EVERY)[0]
    found = {name: float(x) for name, x in scores.items()}
    return {"training_s": seconds} | plan(world, task) | found


def fit(world: World, arguments: list[str], folder: str) -> tuple[str, float]:
    """Run ``paratime fit``; return the checkpoint, and how long it took."""
    config = HERE.parents[1] / "configs" / "world" / f"{world.config}.yaml"
    command = [sys.executable, "-m", "paratime", "fit", "-c", str(config), *world.arguments]
    command += [*arguments, "--trainer.logger", "false", "--trainer.default_root_dir", folder]
    began = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = time.perf_counter() - began
    checkpoint = re.search(r"^checkpoint +(.+)$", done.stdout, re.MULTILINE)
    assert checkpoint is not None
    return checkpoint[1], seconds


def plan(world: World, task: TrajectoryTask) -> dict[str, float]:
    """Return means and deviations of planned, random and idle returns, and how long a plan took.

    Seeds are those of ``paratime world plan``.
    """
    environment, spent = make_environment(world.environment), list[float]()
    agent = planning_agent(environment, task, CEM())
    returns = [
        [
            run_episode(environment, seed, x).reward.sum()
            for x in policies(environment, seed, agent, spent)
        ]
        for seed in tqdm(range(FIRST_SEED, FIRST_SEED + world.plans), desc="plans", leave=False)
    ]
    found = {"plan_ms": 1e3 * float(np.median(spent)), "outside": agent.outside / agent.tried}
    for policy, column in zip(("planned", "random", "idle"), np.transpose(returns), strict=True):
        found |= {policy: column.mean(), f"{policy}_std": column.std()}
    return found


def keep(row: dict[str, object]) -> None:
    """Put a run into the table, in the place of an earlier one; other processes may do so, too."""
    table = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=KEYS)
    rows = {(x["config"], x["model"]): x for x in [*table.to_dict("records"), row]}
    table = pd.DataFrame([rows[key] for key in wanted(None) if key in rows])
    table.to_csv(RESULTS, index=False, float_format="%.5g")


def draw(table: pd.DataFrame) -> None:
    """Draw errors by horizon, a panel a config, and errors of the maze's rewards by its length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    *panels, maze_panel, last = figure.subplots(2, 3).flat
    for axes, config in zip(panels, WORLDS, strict=False):
        rows = table[table["config"] == config].set_index("model")
        stay = rows.iloc[0][[f"persistence@{h}" for h in HORIZONS]]
        axes.plot(HORIZONS, stay, color="0.6", linestyle="--", label="persistence")
        for model, row in rows.iterrows():
            axes.plot(
                HORIZONS,
                row[[f"nrmse@{h}" for h in HORIZONS]],
                marker="o",
                color=COLORS[str(model)],
                label=model,
            )
        axes.set(title=config, xlabel="steps ahead", ylabel="nRMSE", xscale="log", yscale="log")
        axes.set_xticks(HORIZONS, HORIZONS)
        axes.minorticks_off()
    mazes = table[table["config"].str.startswith("tmaze_memory")]
    lengths = mazes["config"].str.split().str[-1].astype(int)
    for model, rows in mazes.groupby("model", sort=False):
        maze_panel.plot(
            lengths[rows.index], rows["reward_nrmse"], marker="o", color=COLORS[str(model)]
        )
    maze_panel.set(title="tmaze_memory", xlabel="steps from cue to junction", xscale="log")
    maze_panel.set(ylabel="nRMSE of rewards", yscale="log")
    maze_panel.set_xticks(sorted(set(lengths)), sorted(set(lengths)))
    maze_panel.minorticks_off()
    last.axis("off")
    last.legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.savefig(FIGURE, dpi=130)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
