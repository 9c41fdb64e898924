"""Training of every output, and runs that are resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from forecast.sources import Waves
from lightning.pytorch.callbacks import ModelCheckpoint

from paratime import Encoder
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.model.outputs import Gaussian, Mixture, NegativeBinomial, Quantiles, StudentT
from paratime.forecast.model.task import ForecastTask
from paratime.training.base import AdamW


def make_task(data: SeriesData, **options: Any) -> ForecastTask:
    torch.manual_seed(0)
    encoder = Encoder(16, 1, mlp_size=16)
    return ForecastTask(encoder, data.spec, optimizer=AdamW(lr=5e-3), **options)


def make_trainer(folder, steps: int, **options: Any) -> lightning.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return lightning.Trainer(
        default_root_dir=folder, max_steps=steps, accelerator="cpu", **quiet | options
    )


class Losses(lightning.Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.of: list[float] = []

    def on_train_batch_end(self, trainer, *_):
        self.of.append(float(trainer.callback_metrics["train/loss"]))


OUTPUTS = (
    Quantiles(),
    Quantiles(squash=True),
    StudentT(),
    Gaussian(),
    NegativeBinomial(),
    Mixture(),
)


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_training_lowers_the_loss_for_every_output(output, tmp_path):
    data = SeriesData(Waves(counts=output == NegativeBinomial()), batch_size=10)
    task = make_task(data, output=output)
    losses = Losses()
    trainer = make_trainer(tmp_path, 60, enable_checkpointing=False, callbacks=[losses])
    trainer.fit(task, data)
    assert np.mean(losses.of[-10:]) < np.mean(losses.of[:3])
    (scores,) = trainer.validate(task, data, verbose=False)
    assert 0 < scores["val/mean_wQL"] < 0.1 and np.isfinite(scores["val/loss"])


def test_joint_targets(tmp_path):
    data = SeriesData(Waves(channels=3), batch_size=10)
    task = make_task(data)
    make_trainer(tmp_path, 2, enable_checkpointing=False).fit(task, data)
    (batch,) = data.test_dataloader()
    assert task.quantiles(batch, (0.1, 0.5, 0.9)).shape == (3, 6, 3, 3)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    def run(checkpoint: Path | None = None) -> ForecastTask:
        data = SeriesData(Waves(), batch_size=2, seed=5)
        task = make_task(data)
        saves = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
        first = {"callbacks": [saves]} if checkpoint is None else {"enable_checkpointing": False}
        trainer = make_trainer(tmp_path, 7, limit_val_batches=0, **first)
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
        return task

    whole, resumed = run(), run(tmp_path / "step=3.ckpt")
    for x, y in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_data_and_task_say_what_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"series.*SeriesData"):
        make_trainer(tmp_path, 1).validate(ForecastTask(Encoder(8, 1)), [], verbose=False)
    with pytest.raises(InputError, match=r"series.*more than 200 steps.*hold out fewer"):
        SeriesData(Waves(), prediction_length=100).train_dataloader()


def test_weights_alone_bring_no_random_numbers(tmp_path):
    def run(**loaded: Any) -> ForecastTask:
        data = SeriesData(Waves(), batch_size=2, seed=5)
        task = make_task(data, dropout=0.5)
        task.on_load_checkpoint({"state_dict": task.state_dict()} | loaded)
        torch.manual_seed(0)
        make_trainer(tmp_path, 3, limit_val_batches=0, enable_checkpointing=False).fit(task, data)
        return task

    others = torch.Generator().manual_seed(9).get_state()
    plain, loaded = run(), run(random_state=others)
    for x, y in zip(plain.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(x, y)


def test_a_checkpoint_scales_as_it_did_whatever_the_data_of_the_trainer(tmp_path):
    data = SeriesData(Waves(), batch_size=2)
    task = make_task(data)
    old = replace(data.spec, variation=0.0, season=1, nonnegative=True)
    before = ForecastTask(task.network.encoder, old, lags=task.network.lags)
    trainer = make_trainer(tmp_path, 1)
    trainer.fit(before, data)
    trainer.save_checkpoint(tmp_path / "old.ckpt")
    quiet = {"verbose": False, "weights_only": True}
    found = make_trainer(tmp_path, 1).test(
        ForecastTask(Encoder(16, 1, mlp_size=16), lags=task.network.lags),
        datamodule=data,
        ckpt_path=tmp_path / "old.ckpt",
        **quiet,
    )
    again = make_trainer(tmp_path, 1).test(before, datamodule=data, verbose=False)
    assert found == again
