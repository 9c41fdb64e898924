"""A level added to all values moves every forecast by itself, and units change nothing else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.backtests import LENGTHS, H, series
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paratime import Encoder
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.series import Collection, from_gluonts
from paratime.forecast.data.sources.table import Table, read_table
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import CovariateScaler
from paratime.forecast.evaluation.backtest import Backtest, backtest
from paratime.forecast.evaluation.baselines import seasonal_naive
from paratime.forecast.inference.direct import forecast
from paratime.forecast.inference.forecast_type import AsSamples
from paratime.forecast.inference.sample_paths import sample_paths
from paratime.forecast.model.outputs import Gaussian, Mixture, Output, Quantiles, StudentT
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.forecaster import Forecaster

OUTPUTS: dict[str, Output] = {
    "quantiles": Quantiles(),
    "squashed": Quantiles(squash=True),
    "student": StudentT(),
    "gaussian": Gaussian(),
    "mixture": Mixture(),
}
BASE = 2.0**14
"""A level from which zero is far: networks see how near it is, up to 50 scales."""

LEVELS = st.one_of(st.integers(0, 10**12), st.sampled_from([10**k for k in range(13)]))


def waves(channels: int = 1, lengths: tuple[int, ...] = LENGTHS, nan: bool = True) -> Collection:
    """Return series on a grid of 1/16, so a level can be added to them without rounding."""
    data = series(channels, lengths, nan)
    wholes = [np.round(16.0 * e["target"].astype(np.float64)) for e in data.entries]
    entries = [e | {"target": x / 16 + BASE} for e, x in zip(data.entries, wholes, strict=True)]
    return replace(data, entries=entries)


def changed(data: Collection, level: float = 0.0, unit: float = 1.0) -> Collection:
    entries = [e | {"target": unit * e["target"] + level} for e in data.entries]
    return replace(data, entries=entries)


def task_of(data: Collection, output: Output, dtype: torch.dtype = torch.float64) -> ForecastTask:
    torch.manual_seed(1)
    facts = SeriesSpec.describe(data, H, CovariateScaler.of(data.entries))
    task = ForecastTask(Encoder(8, 1, mlp_size=8), facts, output=output, squash=False)
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.2)
    return task.to(dtype).eval()


def ahead(data: Collection) -> Collection:
    """Return series whose covariates continue after their targets."""

    def cut(e: dict) -> dict:
        steps = e["target"].shape[-1] - H
        past = e["past_feat_dynamic_real"][:, :steps]
        return e | {"target": e["target"][..., :steps], "past_feat_dynamic_real": past}

    return replace(data, entries=[cut(e) for e in data.entries if e["target"].shape[-1] > 2 * H])


def allowed(level: float, unit: float = 1.0) -> float:
    """Return 1e-9 of a spread of 1, and what float64 can tell apart on the level."""
    return unit * 1e-9 + 64 * np.spacing(abs(level) + unit * BASE)


def streamed(task: ForecastTask, data: Collection) -> np.ndarray:
    """Return forecasts after series were read one step at a time."""
    forecaster, found = Forecaster(task), []
    for entry in data.entries:
        name = entry["item_id"]
        forecaster.start(name, entry["feat_static_real"], [data.categories["kind"][0]])
        known, past = entry["feat_dynamic_real"], entry["past_feat_dynamic_real"]
        steps = entry["target"].shape[-1]
        with quiet_periods():
            times = [entry["start"] + step for step in range(steps)]
        for step, time in enumerate(times):
            covariates = {"known": known[:, step], "past": past[:, step]}
            forecaster.update(name, time, entry["target"][..., step], covariates)
        found.append(forecaster.predict(name, known[:, steps:].T).forecast_array)
    return np.stack(found)


def quantiles(task: ForecastTask, data: Collection) -> np.ndarray:
    return np.stack([x.forecast_array for x in forecast(task, data)])


def samples(task: ForecastTask, data: Collection) -> np.ndarray:
    return np.stack([x.samples for x in forecast(task, data, AsSamples(9))])


WAYS = {
    "quantiles": quantiles,
    "samples": samples,
    "paths": lambda task, data: np.stack([x.samples for x in sample_paths(task, data, 9)]),
    "stream": streamed,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", OUTPUTS)
@settings(deadline=None, max_examples=3, derandomize=True)
@given(level=LEVELS, channels=st.sampled_from((1, 2)))
def test_forecasts_move_with_the_level(output, way, level, channels):
    data = ahead(waves(channels))
    task = task_of(data, OUTPUTS[output])
    found, moved = (WAYS[way](task, x) for x in (data, changed(data, level)))
    assert np.isfinite(found).all() and found.dtype == np.float64
    assert np.abs(moved - level - found).max() <= allowed(level)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", OUTPUTS)
@settings(deadline=None, max_examples=3, derandomize=True)
@given(power=st.integers(-60, 60))
def test_forecasts_have_the_units_of_the_series(output, way, power):
    data, unit = ahead(waves()), 2.0**power
    task = task_of(data, OUTPUTS[output])
    found, other = (WAYS[way](task, x) for x in (data, changed(data, unit=unit)))
    assert np.abs(other / unit - found).max() <= allowed(0.0)


def scores(made: Backtest) -> list[float]:
    return [made.overall[name] for name in ("MASE", "RMSE", "coverage_80", "coverage_95")]


@settings(deadline=None, max_examples=4, derandomize=True)
@given(level=st.integers(0, 10**9), channels=st.sampled_from((1, 2)))
def test_scores_of_a_backtest_do_not_depend_on_the_level(level, channels):
    data = waves(channels, LENGTHS[:2])
    task = task_of(data, Quantiles(), torch.float32)
    for make in (lambda x: backtest(task, x, windows=3, stride=2), _naive):
        found, moved = make(data), make(changed(data, level))
        assert np.abs(moved.quantiles - level - found.quantiles).max() <= 1e-3
        np.testing.assert_allclose(scores(moved), scores(found), rtol=1e-4)


def _naive(data: Collection) -> Backtest:
    task = task_of(data, Quantiles())
    return seasonal_naive(backtest(task, data, windows=3, stride=2).windows)


@pytest.mark.parametrize("level", (0.0, 1e6, -1e9))
def test_a_series_of_one_value_is_as_wide_as_series_usually_are(level):
    data = changed(waves(nan=False), level)
    task = task_of(data, Quantiles())
    first = [
        e | {"target": e["target"][:1], "past_feat_dynamic_real": np.zeros((1, 1))}
        for e in data.entries
    ]
    scale = task.network.scaling.usable(
        *torch.tensor([[level + BASE], [torch.nan]], dtype=torch.float64)
    )[1]
    assert 0.1 < scale < 3
    found = quantiles(task, replace(data, entries=first))
    assert np.isfinite(found).all() and np.abs(found - level - BASE).max() < 1e3


def test_values_of_a_table_stay_distinct(tmp_path):
    times = pd.date_range("2024-01-01", periods=50)
    values = 123456789 + np.arange(50) + 0.1
    frame = pd.DataFrame({"item_id": "a", "timestamp": times, "target": values})
    frame.to_csv(tmp_path / "a.csv", index=False)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": values}
    made = read_table(frame), Table(str(tmp_path / "a.csv")).read(), from_gluonts([entry])
    for data in made:
        assert data.entries[0]["target"].tolist() == values.tolist()
