"""Statistical forecasts as linear maps of the last values of a series."""

import numpy as np
import pytest
import torch
from forecast.estimators import TINY, waves

from paratime.forecast import Collection, ParaRNNEstimator, backtest, from_gluonts, seasonal_naive
from paratime.forecast.fitting.members import members
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.model.task import ForecastTask


def untrained(data: Collection, horizon: int) -> ForecastTask:
    estimator = ParaRNNEstimator(data.freq, horizon, **TINY)
    recipe = {name: x for name, x in TINY.items() if name != "max_steps"}
    return Recipe(**recipe).task(estimator._data(data, None).spec)


def forecasts(data: Collection, horizon: int) -> dict:
    task = untrained(data, horizon)
    found = {}
    for member in members(horizon, task.network.shape.season, task.network.remembered):
        task.network.calibration = member.calibration()
        found[member.name] = backtest(task, data, windows=3)
    return found


@pytest.mark.parametrize("horizon", [1, 5, 12, 30])
def test_seasonal_naive_is_the_baseline(horizon):
    data = from_gluonts(waves(3, 140))
    ours = forecasts(data, horizon)["seasonal naive"]
    theirs = seasonal_naive(ours.windows)
    assert np.allclose(ours.quantile(0.5), theirs.quantile(0.5), atol=1e-4)


def test_drift_continues_a_season_that_grows():
    t = np.arange(120)
    grown = [x | {"target": 3.0 * t + 10 * np.sin(2 * np.pi * t / 12)} for x in waves(1, 120)]
    found = forecasts(from_gluonts(grown), 24)["seasonal naive with drift"]
    assert np.allclose(found.quantile(0.5), found.windows.target, atol=1e-2)


def test_drift_continues_a_line_without_seasons():
    lines = [x | {"target": 5 - 0.5 * np.arange(60)} for x in waves(1, 60, freq="Y")]
    found = forecasts(from_gluonts(lines), 4)
    assert np.allclose(found["naive with drift"].quantile(0.5), found["naive"].windows.target)
    last = lines[0]["target"][found["naive"].windows.origin]
    assert np.allclose(found["naive"].quantile(0.5)[:, :, 0], last[:, None])


def test_intervals_of_a_random_walk_cover_their_share():
    random = np.random.default_rng(0)
    walks = [x | {"target": random.normal(size=300).cumsum()} for x in waves(40, 300, freq="Y")]
    found = forecasts(from_gluonts(walks), 6)["naive"]
    assert 0.7 < found.overall["coverage_80"] < 0.9


@pytest.mark.parametrize("horizon", [1, 7, 40])
@pytest.mark.parametrize("season", [1, 2, 7, 24])
def test_every_member_fits_what_is_remembered(season, horizon):
    for member in members(horizon, season, max(8, season) + season):
        assert member.weights.shape == (horizon, max(8, season) + season)
        assert member.spread.shape == (horizon,) and (member.spread > 0).all()
        assert torch.isfinite(member.weights).all()
