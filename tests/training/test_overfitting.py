"""Runs that overfit some batches: always the same, and those that other runs begin with."""

from itertools import islice

import lightning.pytorch as lightning
import pytest
import torch
from forecast.sources import Waves
from language.runs import make_data as make_text
from world.trajectories import make_data as make_episodes

from paratime import Encoder
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.gluonts.estimator import ParaRNNEstimator
from paratime.forecast.model.task import ForecastTask
from paratime.language.data.datamodule import TokenData
from paratime.language.model.task import LanguageTask
from paratime.world.model.task import DynamicsTask


class Note(lightning.Callback):
    """Keeps the batches of training, and those of validation."""

    def __init__(self) -> None:
        self.train, self.val = [], []

    def on_train_batch_start(self, trainer, task, batch, *_):
        self.train.append(batch)

    def on_validation_batch_start(self, trainer, task, batch, *_):
        self.val.append(batch)


def text(mode):
    def make(folder):
        data = make_text(folder)
        given = {"context_length": 32, "batch_size": 8, "cache_dir": str(folder)}
        return TokenData(data.source, mode=mode, **given), LanguageTask(Encoder(8, 1, mlp_size=8))

    return make


def episodes(mode):
    def make(folder):
        data = make_episodes(mode=mode, batch_size=2)
        return data, DynamicsTask(Encoder(8, 1, mlp_size=8), overshoot=0)

    return make


def series(folder):
    return SeriesData(Waves(), batch_size=2), ForecastTask(Encoder(8, 1, mlp_size=8))


DATA = {f"text, {mode}": text(mode) for mode in ("packed", "stream")}
DATA |= {f"episodes, {mode}": episodes(mode) for mode in ("packed", "stream", "pad", "episode")}
DATA["series"] = series


@pytest.mark.parametrize("name", DATA)
def test_the_batches_are_the_first_of_an_ordinary_run(name, tmp_path):
    def run(**options):
        torch.manual_seed(0)
        (data, task), note = DATA[name](tmp_path), Note()
        quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
        lightning.Trainer(
            **dict.fromkeys(quiet, False) | options,
            accelerator="cpu",
            callbacks=[note],
            num_sanity_val_steps=0,
            default_root_dir=tmp_path,
        ).fit(task, data)
        return note

    ordinary, overfit = run(max_epochs=1), run(max_epochs=3, overfit_batches=2)
    assert len(overfit.train) == 6
    for n, batch in enumerate(overfit.train):
        assert same(batch, ordinary.train[n % 2])
    for batch, other in zip(overfit.val, islice(ordinary.val, 2), strict=False):
        assert same(batch, other)


def same(batch, other) -> bool:
    assert batch.keys() == other.keys()
    return all(torch.equal(x.nan_to_num(9), other[k].nan_to_num(9)) for k, x in batch.items())


def test_an_estimator_overfits_too(tmp_path):
    kwargs = {"overfit_batches": 1, "default_root_dir": str(tmp_path)}
    size = {"hidden_size": 8, "num_layers": 1, "max_steps": 3, "batch_size": 2}
    estimator = ParaRNNEstimator("D", 6, **size, trainer_kwargs=kwargs)
    assert estimator.train_on(SeriesData(Waves(), 6, batch_size=2)) is not None
