"""Series to batches, and training: splits by time, origins by seed, and forecasts that learn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from paratime import Encoder
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData, ShuffledSeries, TrainingSeries
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.windows import Standard, packed, prepare, with_origins
from paratime.forecast.model.outputs import Gaussian, Mixture, NegativeBinomial, Quantiles, StudentT
from paratime.forecast.model.task import ForecastTask
from paratime.training.base import AdamW

LENGTHS = (60, 90, 33, 5)


@dataclass(frozen=True)
class Waves(Source):
    """Seasonal series with noise, covariates and labels."""

    channels: int = 1
    counts: bool = False

    def read(self) -> Collection:
        random, entries = np.random.default_rng(0), []
        for number, length in enumerate(LENGTHS):
            t = np.arange(length)
            wave = 10 * (number + 1) + 3 * np.sin(np.pi * t / 6)[None]
            target = wave + 0.3 * random.normal(size=(self.channels, length))
            target = target.round() if self.counts else target
            target[:, 7:9] = np.nan
            entries.append(
                {
                    "item_id": f"wave {number}",
                    "start": pd.Period("2001-04", freq="M") + number,
                    "target": (target[0] if self.channels == 1 else target).astype(np.float32),
                    "feat_dynamic_real": random.normal(size=(2, length + 6)).astype(np.float32),
                    "past_feat_dynamic_real": 100 + t[None].astype(np.float32),
                    "feat_static_cat": np.array([number % 2]),
                    "feat_static_real": np.array([float(number)], dtype=np.float32),
                }
            )
        labels = {"kind": ("even", "odd")}
        return Collection("M", entries, ("a", "b"), ("past",), ("size",), labels, 6)


def make_task(data: SeriesData, **options: Any) -> ForecastTask:
    torch.manual_seed(0)
    encoder = Encoder(16, 1, mlp_size=16)
    return ForecastTask(encoder, data.facts["series"], optimizer=AdamW(lr=5e-3), **options)


def make_trainer(folder, steps: int, **options: Any) -> lightning.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return lightning.Trainer(
        default_root_dir=folder, max_steps=steps, accelerator="cpu", **quiet | options
    )


def test_series_lie_end_to_end_without_padding():
    entries = Waves().read().entries
    series = [prepare(x, Standard.of(entries), 6) for x in entries]
    batch = packed(series)
    assert batch["target"].shape == (1, sum(LENGTHS), 1)
    assert batch["reset"][0].nonzero()[:, 0].tolist() == [0, 60, 150, 183]
    assert batch["series"][0, [0, 59, 60, 187]].tolist() == [0, 0, 1, 3]
    assert torch.equal(batch["known"][0, 60:149], series[1].known[1:90]), "of the next step"


def test_what_lies_ahead_of_an_origin_is_not_beyond_the_series():
    entries = Waves().read().entries
    series = [prepare(x, Standard.of(entries), 6) for x in entries]
    places = ([0, 57], [], [10], [4])
    batch = with_origins(series, [torch.tensor(x, dtype=torch.long) for x in places], 6)
    assert batch["origin"].tolist() == [0, 57, 160, 187]
    target = batch["target"][0]
    assert torch.equal(batch["future_target"][2], target[161:167])
    assert torch.equal(batch["future_target"][1, :2], target[58:60])
    assert batch["future_target"][1, 2:].isnan().all() and batch["future_target"][3].isnan().all()
    assert torch.equal(batch["future"][2], series[2].known[11:17])


def test_splits_are_by_time_and_never_overlap():
    data = SeriesData(Waves(), validation_windows=2, test_windows=1, batch_size=10)
    (train,) = data.train_dataloader()
    assert train["target"].shape[1] == sum(n - 18 for n in LENGTHS if n > 18)
    (val,), (test,), (ends,) = (
        loader() for loader in (data.val_dataloader, data.test_dataloader, data.predict_dataloader)
    )
    assert val["target"].shape[1] == sum(n - 6 for n in LENGTHS if n > 6)
    assert val["origin"].tolist() == [41, 47, 54 + 71, 54 + 77, 54 + 84 + 14, 54 + 84 + 20]
    assert test["origin"].tolist() == [53, 60 + 83, 150 + 26]
    assert ends["origin"].tolist() == [59, 149, 182, 187]


def test_covariates_are_standardised_by_the_training_part_alone():
    data = SeriesData(Waves(), validation_windows=1, test_windows=1)
    loc, scale = data.facts["series"]["standard"]["past"][0]
    seen = np.concatenate([100 + np.arange(n - 12) for n in LENGTHS if n > 12])
    assert loc == pytest.approx(seen.mean()) and scale == pytest.approx(seen.std())


def test_origins_are_a_function_of_seed_and_epoch():
    entries = Waves().read().entries
    series = TrainingSeries([prepare(x, Standard.of(entries), 6) for x in entries], 24)
    order = ShuffledSeries(len(series), seed=3)

    def epoch(number: int) -> list[tuple[str, list[int]]]:
        order.set_epoch(number)
        return [(x.item_id, o.tolist()) for x, o in (series[i] for i in order)]

    assert epoch(1) == epoch(1) != epoch(2)
    for name, origins in epoch(0):
        length = LENGTHS[int(name.split()[1])]
        assert len(set(origins)) == min(24, length - 1) and max(origins) <= length - 2


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


def test_data_and_task_say_what_is_missing():
    with pytest.raises(InputError, match=r"series.*SeriesData"):
        ForecastTask(Encoder(8, 1))
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
