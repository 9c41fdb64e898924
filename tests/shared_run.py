"""A short run of a slice in one process or several; ``test_sharing.py`` compares them."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.tensor import DTensor

from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.base import InMemory as Series
from paratime.forecast.model.task import ForecastTask
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.base import Document
from paratime.language.data.sources.base import InMemory as Texts
from paratime.language.data.split import HoldOut
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder
from paratime.training.predictions import SavePredictions
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.episode import make_episode
from paratime.world.data.sources.base import InMemory as Episodes
from paratime.world.data.sources.base import Recording
from paratime.world.model.task import DynamicsTask

ROWS = 6
"""Items of a global batch."""

STEPS = 4
QUIET = dict.fromkeys(("enable_progress_bar", "enable_model_summary", "logger"), False)


class Note(Callback):
    """Notes the losses of training."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))


def language(batch_size: int, folder: Path):
    """Return a model of bytes, and documents of several lengths."""
    random = np.random.default_rng(0)
    texts = ["".join(random.choice([*"abcd "], n)) for n in random.integers(20, 400, 60)]
    data = TokenData(
        Texts([Document(f"{n}", text) for n, text in enumerate(texts)]),
        context_length=32,
        batch_size=batch_size,
        hold_out=HoldOut(0.2, 0.2),
        cache_dir=str(folder / "cache"),
    )
    return LanguageTask(Encoder(8, 1, mlp_size=8)), data


def forecast(batch_size: int, folder: Path):
    """Return a model of series of several lengths, some values of which are missing."""
    random, entries = np.random.default_rng(0), []
    for n in range(15):
        target = 5 + np.sin(np.arange(30 + 9 * n)) + random.normal(size=30 + 9 * n)
        target[random.uniform(size=len(target)) < 0.02 * n] = np.nan
        entries.append({"item_id": f"item {n}", "start": pd.Period("2020", "D"), "target": target})
    data = SeriesData(
        Series(from_gluonts(entries, "D")), prediction_length=4, batch_size=batch_size, origins=5
    )
    return ForecastTask(Encoder(8, 1, mlp_size=8)), data


def world(batch_size: int, folder: Path):
    """Return a model of episodes of several lengths."""
    random, episodes = np.random.default_rng(0), []
    for n in range(44):
        push = random.normal(size=(5 + n, 1))
        place = np.concatenate([[[0.0]], push.cumsum(0)])
        episodes.append(make_episode(f"e{n}", place, push, -np.abs(place[1:, 0]), n % 2 == 0))
    data = TrajectoryData(
        Episodes(Recording(episodes)),
        sequence_length=8,
        batch_size=batch_size,
        mode="pad",
        validation=0.25,
        test=0.25,
    )
    return DynamicsTask(Encoder(8, 1, mlp_size=8), context=3, horizon=10), data


SLICES = {x.__name__: x for x in (language, forecast, world)}


def strategy(processes: int, sharded: bool) -> str | ModelParallelStrategy:
    """Return how processes share a model: each has all of it, or a part."""
    if processes == 1:
        return "auto"
    if not sharded:
        return "ddp"
    return ModelParallelStrategy(data_parallel_size=processes, tensor_parallel_size=1)


def whole(weight: torch.Tensor) -> list[float]:
    """Return the values of a weight, the parts of other processes included."""
    full = weight.full_tensor() if isinstance(weight, DTensor) else weight
    return full.detach().flatten().tolist()


def run(name: str, processes: int, folder: Path, sharded: bool = False) -> dict[str, object]:
    """Train, validate, test and predict; return what was found."""
    seed_everything(0)
    task, data = SLICES[name](ROWS // processes, folder)
    note = Note()
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=strategy(processes, sharded),
        precision="32-true" if sharded else "64-true",  # which it cannot
        max_steps=STEPS,
        callbacks=[note, SavePredictions()],
        num_sanity_val_steps=0,
        gradient_clip_val=0.5,
        default_root_dir=folder,
        enable_checkpointing=False,
        **QUIET,
    )
    trainer.fit(task, data)
    data.batch_size = 2  # of one process or several: the partners of a rollout are in its batch
    found = {"losses": note.losses}
    for stage in (trainer.validate, trainer.test):
        (scores,) = stage(task, data, verbose=False)
        found |= scores
    found["weights"] = [whole(p) for p in task.parameters()]
    trainer.predict(task, data)
    return found


class Save(Callback):
    """Saves a run at a step, and continues."""

    def __init__(self, path: Path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step and not self.path.exists():
            trainer.strategy.barrier()
            trainer.save_checkpoint(self.path)


def resumed(processes: int, folder: Path) -> list[list[list[float]]]:
    """Return the weights of a run with dropout, and of one that resumed it half-way."""
    weights, path = [], folder / "half.ckpt"
    for given in (None, path):
        seed_everything(0)
        _, data = forecast(ROWS // processes, folder)
        task = ForecastTask(Encoder(8, 1, mlp_size=8), dropout=0.3)
        trainer = Trainer(
            accelerator="cpu",
            devices=processes,
            strategy="ddp",
            max_steps=2 * STEPS,
            callbacks=[Save(path, STEPS)],
            limit_val_batches=0,
            default_root_dir=folder,
            enable_checkpointing=False,
            **QUIET,
        )
        trainer.fit(task, data, ckpt_path=given)
        weights.append([p.detach().flatten().tolist() for p in task.parameters()])
    return weights


if __name__ == "__main__":
    torch.set_num_threads(1)
    processes, path = int(sys.argv[1]), Path(sys.argv[2])
    everything = {name: run(name, processes, path / name) for name in SLICES}
    for name in SLICES:
        everything[f"{name} in parts"] = run(name, processes, path / f"{name} in parts", True)
    everything["resumed"] = resumed(processes, path)
    if os.environ["LOCAL_RANK"] == "0":
        (path / "found.json").write_text(json.dumps(everything))
