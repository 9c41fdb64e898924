"""One model on one data set: trained by a task of paratime, and all that is measured of it.

Trajectories go through ``TrajectoryData``, ``DynamicsTask`` and its open-loop evaluation; the
series of the Tourism competition through ``SeriesData``, ``ForecastTask`` and its backtest.
"""

import math
import warnings
from dataclasses import dataclass

import lightning.pytorch as lightning
import torch
from measures import climate, valid_steps
from mixers import WINDOW, encoder_of, parameters
from systems import Duffing, Lorenz96, System, recording
from torch import Tensor

from paratime import Newton, Recurrent
from paratime.forecast import Competition, ForecastTask, SeriesData, backtest
from paratime.training import AdamW, DataModule, Task
from paratime.world import (
    DynamicsTask,
    InMemory,
    Layout,
    RolloutScores,
    TrajectoryData,
    Whole,
    align_episode,
    open_loop,
    padded,
    step_errors,
)

Batch = dict[str, Tensor]
Figures = dict[str, float]

WITHOUT = " without actions"
EPISODES, LENGTH = 500, 200
"""Training episodes, and their steps."""
TESTED, CONTEXT, HORIZON, NEAR = 100, WINDOW, 10 * WINDOW, 50
"""Test episodes; rows that are seen; steps of rollouts, and of those with actions of others."""


@dataclass(frozen=True)
class World:
    """A system, which numbers of its state are seen, and under how many deviations of noise."""

    system: System
    observed: tuple[int, ...]
    noise: float = 0.0


WORLDS = {
    "Lorenz-96, 3 of 6": World(Lorenz96(), (0, 2, 4)),
    "Lorenz-96, noisy": World(Lorenz96(), (0, 2, 4), noise=0.2),
    "Duffing, position": World(Duffing(), (0,)),
}
SERIES = "Tourism monthly"
STEPS, SERIES_STEPS = 800, 300
"""Of the optimiser."""

SOLVERS = {
    "newton": Newton(),
    "newton_alone": Newton(max_iters=HORIZON),
    "newton_1_alone": Newton(chunk=1, max_iters=2 * HORIZON),
}
"""Newton's method with the loop behind it, and alone; of segments of one step, alone."""


def dynamics(world: World, model: str, seed: int) -> Figures:
    """Train a model on trajectories, and measure its rollouts."""
    lightning.seed_everything(seed, verbose=False)
    seen = recording(world.system, world.observed, EPISODES, LENGTH, 0, world.noise)
    data = TrajectoryData(
        InMemory(seen), sequence_length=WINDOW, validation=0.0, test=0.0, seed=seed
    )
    task = DynamicsTask(
        encoder_of(model.removesuffix(WITHOUT)),
        data.spec,
        use_action=not model.endswith(WITHOUT),
        optimizer=AdamW(lr=3e-3, weight_decay=0.01),
    )
    fit(task, data, STEPS)
    task.eval()
    known = {"parameters": parameters(task)}
    with torch.inference_mode():
        batch = unseen(world)
        return known | rollouts(task, batch, world) | solves(task, batch)


def forecasts(model: str, seed: int) -> Figures:
    """Train a model on the series, by the recipe of ``ParaRNNEstimator``, and score its test."""
    lightning.seed_everything(seed, verbose=False)
    source = Competition("Tourism", "monthly")
    data = SeriesData(source, batch_size=8, validation_windows=0, test_windows=1, seed=seed)
    task = ForecastTask(
        encoder_of(model),
        data.spec,
        dropout=0.2,
        optimizer=AdamW(lr=3e-3, weight_decay=1.0),
    )
    fit(task, data, SERIES_STEPS)
    scores = backtest(task, data.collection, windows=1, batch_size=8).overall
    names = ("MASE", "mean_wQL", "coverage_80", "coverage_95")
    return {"parameters": parameters(task)} | {name: scores[name] for name in names}


def floor(world: World) -> Figures:
    """Return how far the climates of two finite simulations are apart."""
    found, truth = (unseen(world, seed)["observation"][:, CONTEXT:] for seed in (2, 1))
    return climate(found, truth)


def fit(task: Task, data: DataModule, steps: int) -> None:
    """Train a task, without what Lightning does beside it."""
    trainer = lightning.Trainer(
        max_steps=steps,
        gradient_clip_val=1.0,
        accelerator="cpu",
        limit_val_batches=0,
        barebones=True,
    )
    with warnings.catch_warnings(action="ignore"):  # of every figure that is not logged
        trainer.fit(task, data)


def unseen(world: World, seed: int = 1) -> Batch:
    """Return episodes of another simulation than that of the training, as one batch.

    The context is as noisy as the training; what is to be predicted is what happened.
    """
    clean, noisy = (episodes(world, seed, noise) for noise in (0.0, world.noise))
    there = torch.arange(clean["observation"].shape[1]) < CONTEXT
    seen = torch.where(there[:, None], noisy["observation"], clean["observation"])
    return clean | {"observation": seen}


def episodes(world: World, seed: int, noise: float) -> Batch:
    """Return whole episodes as one batch."""
    steps = CONTEXT + HORIZON - 1
    recorded = recording(world.system, world.observed, TESTED, steps, seed, noise).episodes
    layout = Layout.of(recorded)
    rows = Whole([align_episode(episode, layout) for episode in recorded])
    return padded([rows[n] for n in range(len(rows))])


def rollouts(task: DynamicsTask, batch: Batch, world: World) -> Figures:
    """Return errors of one step, and of rollouts behind the context, and their climate."""
    network = task.network
    rollout = open_loop(network, batch, context=CONTEXT, horizon=HORIZON)
    found, truth = rollout.prediction, rollout.truth
    errors = step_errors(found.observation, truth, network.observation[1], rollout.valid)
    valid = valid_steps(errors) * world.system.sample * world.system.exponent
    scores = RolloutScores(task.spec, NEAR)
    scores.update(network, batch, CONTEXT)
    kept = ("nrmse@", "persistence@", "sensitivity@")
    near = {name: float(x) for name, x in scores.compute().items() if name.startswith(kept)}
    figures = {
        "one_step": math.nan if world.noise else one_step(task, batch),
        "valid": float(valid.mean()),
        "valid_median": float(valid.median()),
        "left_range": float(found.outside.any(1).float().mean()),
    }
    return figures | climate(found.observation, truth) | near


def one_step(task: DynamicsTask, batch: Batch) -> float:
    """Return the root mean square error of changes behind the context, in their deviations."""
    numbers, _ = task.network(batch)
    change, _, _ = task.network.parts(numbers)
    off = (change - task.network.targets(batch)[0])[:, CONTEXT - 1 :]
    return float(off.square().mean().sqrt())


def solves(task: DynamicsTask, batch: Batch) -> Figures:
    """Return the iterations of solvers, most over the layers, and the steps left to the loop."""
    layers, figures = [m for m in task.modules() if isinstance(m, Recurrent)], Figures()
    for name, solver in SOLVERS.items() if layers else ():
        for layer in layers:
            layer.solver = solver
        task.network({key: x[:16] for key, x in batch.items()})
        report = task.solver_telemetry()
        figures[name] = float(report["solver/iterations"])
        figures[f"{name}_loop"] = float(report["solver/loop_share"])
    return figures
