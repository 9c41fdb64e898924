"""Series to batches: splits by time, and origins by seed."""

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.sources import LENGTHS, Waves
from forecast.tables import frame_of, refused

from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData, ShuffledSeries, TrainingSeries
from paratime.forecast.data.sources.base import InMemory
from paratime.forecast.data.sources.table import read_table
from paratime.forecast.data.windows import CovariateScaler, pack_series, to_tensors, with_origins
from paratime.forecast.evaluation.backtest import backtest
from paratime.forecast.evaluation.baselines import seasonal_naive
from paratime.forecast.model.task import ForecastTask
from paratime.layers.encoder import Encoder


def test_series_lie_end_to_end_without_padding():
    entries = Waves().read().entries
    series = [to_tensors(x, CovariateScaler.of(entries), 6) for x in entries]
    batch = pack_series(series)
    assert batch["target"].shape == (1, sum(LENGTHS), 1)
    assert batch["reset"][0].nonzero()[:, 0].tolist() == [0, 60, 150, 183]
    assert batch["series"][0, [0, 59, 60, 187]].tolist() == [0, 0, 1, 3]
    assert torch.equal(batch["known"][0, 60:149], series[1].known[1:90]), "of the next step"


def test_what_lies_ahead_of_an_origin_is_not_beyond_the_series():
    entries = Waves().read().entries
    series = [to_tensors(x, CovariateScaler.of(entries), 6) for x in entries]
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


def of_lengths(*lengths, **options):
    frame = pd.concat([frame_of(steps=n, items=(f"{n} {k}",)) for k, n in enumerate(lengths)])
    return frame, lambda f: SeriesData(
        InMemory(read_table(f)), 3, validation_windows=0, test_windows=1, **options
    )


def test_a_season_of_the_users_own():
    frame = frame_of(steps=40)[["item_id", "timestamp", "target"]]
    numbered = frame.assign(timestamp=frame.groupby("item_id").cumcount())
    for data, default in ((read_table(frame), 7), (read_table(numbered), 1)):
        assert SeriesData(InMemory(data), 4).spec.season == default
        own = SeriesData(InMemory(data), 4, season=5)
        assert own.spec.season == own.collection.seasonality == 5
        task = ForecastTask(Encoder(8, 1), own.spec)
        assert task.network.scaling.season == 5
        windows = backtest(task, data, windows=2).windows
        assert windows.collection.seasonality == 5
        assert seasonal_naive(windows).windows.collection.seasonality == 5
    with pytest.raises(InputError, match="season: expected at least 1, got 0"):
        SeriesData(InMemory(data), 4, season=0)


def test_prediction_says_what_it_leaves_out():
    frame = frame_of(steps=12)[["item_id", "timestamp", "target", "price"]]
    frame.loc[frame["item_id"] == "b", "target"] = np.nan
    frame.loc[frame.groupby("item_id").cumcount() >= 6, "target"] = np.nan
    new = frame["item_id"] == "b"
    frame = frame[~new | (frame.groupby("item_id").cumcount() >= 6)]
    data = SeriesData(InMemory(read_table(frame, known=["price"])), 3, validation_windows=0)
    assert [e["target"].size for e in data.collection.entries] == [6, 0, 6]
    with pytest.warns(UserWarning, match=r"1 series without history are left out \(b\)"):
        assert len(data.predict_dataloader().dataset) == 2


def test_what_training_leaves_out_is_said():
    frame, series = of_lengths(20, 20, 4, 3, 2, 5, 6)
    assert series(frame[frame["item_id"].str.startswith("20")]).left_out == ""
    frame.loc[frame["item_id"].isin(["20 1", "6 6"]), "target"] = np.nan
    data = series(frame)
    assert data.left_out == (
        "trains on 2 of 7 series, not on 3 with fewer than 5 steps, 3 of them held out"
        " (4 2, 3 3, 2 4), 2 with no value before the 3 steps held out (20 1, 6 6)"
    )
    (batch,) = data.train_dataloader()
    assert batch["target"].shape[1] == 17 + 2


@pytest.mark.parametrize("known", ([], ["price"]), ids=("plain", "known"))
def test_a_target_without_values_is_refused(known):
    frame, _ = of_lengths(20, 9)
    empty = frame.assign(target=np.nan)
    for target in ("target", ["second", "target"]):
        data = SeriesData(InMemory(read_table(empty, target=target, known=known)), 3)
        for use in (lambda data=data: data.spec, data.train_dataloader):
            refused("target.*: expected values, got none in 2 series; check its column$", use)
    early = frame.assign(target=frame["target"].where(frame.groupby("item_id").cumcount() > 14))
    data = SeriesData(InMemory(read_table(early)), 3)
    refused("target: expected values, got none in 2 series before the 6", data.train_dataloader)


def test_covariates_are_standardised_by_the_training_part_alone():
    data = SeriesData(Waves(), validation_windows=1, test_windows=1)
    loc, scale = data.spec.standard.past[0]
    seen = np.concatenate([100 + np.arange(n - 12) for n in LENGTHS if n > 12])
    assert loc == pytest.approx(seen.mean()) and scale == pytest.approx(seen.std())


def test_origins_are_a_function_of_seed_and_epoch():
    entries = Waves().read().entries
    series = TrainingSeries([to_tensors(x, CovariateScaler.of(entries), 6) for x in entries], 24)
    order = ShuffledSeries(len(series), seed=3)

    def epoch(number: int) -> list[tuple[str, list[int]]]:
        order.set_epoch(number)
        return [(x.item_id, o.tolist()) for x, o in (series[i] for i in order)]

    assert epoch(1) == epoch(1) != epoch(2)
    for name, origins in epoch(0):
        length = LENGTHS[int(name.split()[1])]
        assert len(set(origins)) == min(24, length - 1) and max(origins) <= length - 2
