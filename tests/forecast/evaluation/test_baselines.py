"""Models to compare with: seasonal naive, predictors of GluonTS, statsforecast."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from forecast.backtests import H, same, series
from gluonts.model.forecast import QuantileForecast
from gluonts.model.seasonal_naive import SeasonalNaivePredictor

from paratime.errors import InputError
from paratime.forecast.evaluation.baselines import from_predictor, seasonal_naive, statistical
from paratime.forecast.evaluation.rolling import rolling


def test_seasonal_naive_is_that_of_gluonts_where_nothing_is_missing():
    w = rolling(series(nan=False), H, windows=5, stride=9)
    ours = seasonal_naive(w)
    theirs = from_predictor(w, SeasonalNaivePredictor(prediction_length=H, season_length=12))
    same(ours.mean, theirs.mean)
    same(ours.quantile(0.5), theirs.quantile(0.9))


def test_quantiles_of_seasonal_naive_grow_by_season():
    data = replace(series(lengths=(60,), nan=False), season=4)
    b = seasonal_naive(rolling(data, H, windows=2), levels=(0.35,))
    y, origin = data.entries[0]["target"].astype(np.float64), b.windows.origin[0]
    sigma = np.sqrt(np.mean((y[4 : origin + 1] - y[: origin - 3]) ** 2))
    spread = (b.quantile(0.9) - b.quantile(0.5))[0, :, 0]
    same(spread, 1.2815515655 * sigma * np.sqrt([1, 1, 1, 1, 2, 2]))
    assert all((b.quantile(x) < b.quantile(y)).all() for x, y in pairwise(b.levels))
    assert 0.35 in b.levels


def test_seasonal_naive_passes_over_what_is_missing():
    data = series(lengths=(40,), nan=False)
    y = data.entries[0]["target"]
    y[22] = np.nan
    expected = y[[10, 23, 24, 25, 26, 27]]
    same(seasonal_naive(rolling(data, H)).mean, expected)
    y[10] = np.nan
    same(seasonal_naive(rolling(data, H)).mean[0, 0], np.nanmean(y[:34].astype(np.float64)))
    y[:34] = np.nan
    b = seasonal_naive(rolling(data, H))
    assert (b.mean == 0).all() and (b.quantiles == 0).all()


class Recorder:
    """A predictor that keeps what it was given and forecasts the last value."""

    prediction_length = H

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def predict(self, dataset: list[dict[str, Any]]) -> Any:
        for entry in dataset:
            self.given.append(entry)
            last = np.repeat(entry["target"][:, -1:], H, axis=1).T
            arrays = np.stack([last, last + 1, last - 1])
            start = entry["start"] + entry["target"].shape[1]
            yield QuantileForecast(arrays, start, ["0.5", "0.9", "0.1"])


def test_predictors_see_the_series_as_it_was_at_the_origin():
    data = replace(series(channels=2, nan=False), static_real=())
    for entry in data.entries:
        entry["feat_static_real"] = np.zeros(0, dtype=np.float32)
    w, predictor = rolling(data, H, windows=3, stride=8), Recorder()
    b = from_predictor(w, predictor)
    for row, given in enumerate(predictor.given):
        known = w.origin[row] + 1
        assert given["target"].shape == (2, known)
        assert given["past_feat_dynamic_real"].shape == (1, known)
        assert given["feat_dynamic_real"].shape == (2, known + H)
        assert "feat_static_real" not in given and "feat_static_cat" in given
        same(b.quantile(0.9)[row], np.repeat(w.values(row)[known - 1 : known] + 1, H, axis=0))
    assert len(predictor.given) == len(w)
    with pytest.raises(InputError, match=r"prediction_length of the predictor.*5, got 6"):
        from_predictor(rolling(data, 5), predictor)


@pytest.mark.parametrize("model", ("AutoETS", "AutoTheta"))
def test_models_of_statsforecast(model):
    pytest.importorskip("statsforecast")
    w = rolling(series(lengths=(72, 60)), H, windows=2)
    b = statistical(w, model, levels=(0.05,))
    assert 0.05 in b.levels and np.isfinite(b.quantiles).all()
    assert (np.diff(b.quantiles, axis=-1) >= -1e-6).all()
    assert 0 < b.overall["MASE"] < 2 and b.overall["coverage_95"] > 0.5


def test_where_a_model_of_statsforecast_fails_seasonal_naive_stands_in():
    pytest.importorskip("statsforecast")
    w = rolling(series(lengths=(60, 9), nan=False), H)
    with pytest.warns(UserWarning, match="AutoETS failed on 1 of 2 windows"):
        b = statistical(w, "AutoETS")
    same(b.quantiles[1], seasonal_naive(w).quantiles[1])
    with pytest.raises(InputError, match=r"model.*'AutoMagic'"):
        statistical(w, "AutoMagic")
