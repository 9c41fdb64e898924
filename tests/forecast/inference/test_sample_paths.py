"""Paths that are drawn step after step: reproducible, long, and distributed as they should be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.sources import Waves

from paratime import Encoder
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.base import InMemory
from paratime.forecast.inference.sample_paths import sample_paths
from paratime.forecast.model.outputs import Gaussian, Quantiles, StudentT
from paratime.forecast.model.task import ForecastTask

H = 6


def task_for(data: Collection, **options) -> ForecastTask:
    torch.manual_seed(0)
    spec = SeriesData(InMemory(data), H, validation_windows=0, test_windows=0).spec
    return ForecastTask(Encoder(8, 1, mlp_size=8), spec, **options)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("output", [Quantiles(), StudentT()], ids=str)
def test_paths_are_a_function_of_the_seed(channels, output):
    data = Waves(channels=channels).read()
    task = task_for(data, output=output)
    one, two, other = (list(sample_paths(task, data, 5, seed=seed)) for seed in (3, 3, 4))
    shape = (5, H) if channels == 1 else (5, H, 2)
    for a, b, c, entry in zip(one, two, other, data.entries, strict=True):
        assert a.samples.shape == shape and np.isfinite(a.samples).all()
        assert np.array_equal(a.samples, b.samples)
        assert not np.array_equal(a.samples, c.samples)
        assert a.start_date == entry["start"] + entry["target"].shape[-1]
        assert a.item_id == entry["item_id"]


def walk(steps: int = 400) -> Collection:
    values = np.random.default_rng(0).normal(size=steps).cumsum()
    return from_gluonts([{"start": pd.Period("2020-01-01", "D"), "target": values}])


def test_the_first_step_of_paths_is_that_of_the_direct_forecast():
    data = walk()
    task = task_for(data, output=Gaussian())
    (found,) = sample_paths(task, data, 4000)
    batch = next(iter(SeriesData(InMemory(data), H).predict_dataloader()))
    direct = task.eval().quantiles(batch, (0.1, 0.5, 0.9))[0, 0, 0].detach().numpy()
    near = np.quantile(found.samples[:, 0], (0.1, 0.5, 0.9))
    assert near == pytest.approx(direct, abs=float(direct[2] - direct[0]) / 20)


def test_paths_may_be_longer_and_spread_as_they_go():
    data = walk()
    task = task_for(data, output=Gaussian())
    torch.nn.init.zeros_(task.network.skip)
    task.network.skip.data[:, 0] = 1.0  # each step forecasts the last value
    (found,) = sample_paths(task, data, 500, prediction_length=5 * H)
    assert found.samples.shape == (500, 5 * H)
    spread = found.samples.std(0)
    assert spread[-1] > 3 * spread[0], "steps of a path do not follow from each other"


def test_series_that_cannot_be_begun_or_end_too_early_are_refused():
    data = walk()
    task = task_for(data)
    empty = [data.entries[0] | {"target": np.zeros(0, np.float32)}]
    with pytest.raises(InputError, match=r"series '0': expected at least 1 step, got none"):
        next(sample_paths(task, replace(data, entries=empty)))
    waves = Waves().read()
    with pytest.raises(InputError, match=r"expected 7 steps after the last"):
        next(sample_paths(task_for(waves), waves, prediction_length=7))
