"""Metrics are those of GluonTS."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from forecast.backtests import H, same, series
from gluonts.ev.metrics import MASE, RMSE, SMAPE, MeanWeightedSumQuantileLoss
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import QuantileForecast

from paratime.forecast.evaluation.backtest import Backtest, with_required
from paratime.forecast.evaluation.metrics import METRICS, REQUIRED
from paratime.forecast.evaluation.rolling import RollingWindows, rolling

GLUONTS = {
    "mean_wQL": MeanWeightedSumQuantileLoss(quantile_levels=REQUIRED[1:-1]),
    "MASE": MASE(),
    "sMAPE": SMAPE(),
    "RMSE": RMSE(),
}


def random_forecasts(w: RollingWindows) -> Backtest:
    random, levels = np.random.default_rng(1), with_required((0.35,))
    centre = np.nan_to_num(w.target, nan=20.0)[..., None]
    quantiles = np.sort(centre + 3 * random.normal(size=(*w.target.shape, len(levels))), axis=-1)
    return Backtest(w, levels, quantiles, quantiles.mean(-1))


def by_gluonts(b: Backtest, rows: Any, axis: Any = None) -> pd.DataFrame:
    """Evaluate some windows with GluonTS, from the data alone."""
    w, forecasts, pairs = b.windows, [], []
    names = [str(level) for level in b.levels] + ["mean"]
    for i in rows:
        values = np.concatenate([b.quantiles[i], b.mean[i][..., None]], axis=-1)
        arrays = np.moveaxis(values, -1, 0)
        arrays = arrays[..., 0] if arrays.shape[-1] == 1 else arrays
        forecasts.append(QuantileForecast(arrays, w.period[i] + 1, names))
        entry, known = w.collection.entries[w.series[i]], w.origin[i] + 1
        target = entry["target"]
        pairs.append((target[..., :known], target[..., known : known + H], entry["start"]))
    data = Pairs(pairs)
    with np.errstate(invalid="ignore"):
        return evaluate_forecasts(
            forecasts,
            test_data=data,
            metrics=[*GLUONTS.values()],
            axis=axis,
            seasonality=w.collection.seasonality,
        )


class Pairs:
    """Inputs and labels as GluonTS wants them."""

    def __init__(self, pairs: list[tuple[Any, Any, Any]]) -> None:
        self._input = [{"target": x, "start": start} for x, _, start in pairs]
        self._label = [{"target": y} for _, y, _ in pairs]

    input = property(lambda self: self._input)
    label = property(lambda self: self._label)


@pytest.mark.parametrize("channels", (1, 3))
@pytest.mark.parametrize("nan", (False, True), ids=("whole", "gaps"))
def test_metrics_are_those_of_gluonts(channels, nan):
    b = random_forecasts(rolling(series(channels, nan=nan), H, windows=4, stride=5))
    rows = range(len(b.windows))
    expected = by_gluonts(b, rows)
    steps = by_gluonts(b, rows, axis=0 if channels == 1 else (0, 1))
    for name, theirs in zip(GLUONTS, expected.columns, strict=True):
        same(b.overall[name], expected[theirs])
        same(b.per_step[name], steps[theirs])
    per_series = b.per_series
    assert per_series.item_id.tolist() == ["wave 0", "wave 1", "wave 2"]
    assert per_series.windows.tolist() == [4, 4, 1]
    for number, rows in enumerate(np.split(np.arange(len(b.windows)), b.windows.firsts[1:])):
        one = by_gluonts(b, rows)
        for name, theirs in zip(GLUONTS, one.columns, strict=True):
            same(per_series[name][number], one[theirs])
    assert np.isnan(per_series["MASE"][2]), "one known value has no seasonal error"


def test_without_a_meaning_metrics_are_what_gluonts_says():
    data = series(lengths=(40, 30), nan=False)
    data.entries[0]["target"][:] = 0  # no seasonal error, and sMAPE of 0 / 0
    w = rolling(data, H, windows=2)
    b = random_forecasts(w)
    b.quantiles[0], b.mean[0] = 0, 0
    expected = by_gluonts(b, range(len(w)))
    for name, theirs in zip(GLUONTS, expected.columns, strict=True):
        same(b.overall[name], expected[theirs])
    assert b.per_series["mean_wQL"][0] == np.inf and np.isnan(b.per_series["MASE"][0])
    b.quantiles[:2], b.mean[:2] = 0, 0
    silent = Backtest(w, b.levels, b.quantiles, b.mean).per_series
    assert silent.loc[0, ["mean_wQL", "MASE", "sMAPE"]].isna().all() and silent["RMSE"][0] == 0


def test_a_forecast_that_is_nan_is_never_a_good_one():
    b = random_forecasts(rolling(series(lengths=(60, 40), nan=False), H, windows=2))
    whole = b.per_series
    b.quantiles[0, -1], b.mean[0, -1] = np.nan, np.nan
    broken = Backtest(b.windows, b.levels, b.quantiles, b.mean)
    assert np.isnan([*broken.overall.values()]).all()
    names = [*METRICS]
    assert broken.per_series.loc[0, names].isna().all()
    same(broken.per_series.loc[1, names].astype(float), whole.loc[1, names].astype(float))
    steps = broken.per_step
    assert steps.loc[H].isna().all() and steps.loc[: H - 1].notna().all(axis=None)


def test_coverage_counts_what_lies_inside():
    w = rolling(series(lengths=(200,)), H, windows=20)
    target = np.nan_to_num(w.target)[..., None]
    offset = np.array(REQUIRED) - 0.5
    offset = np.broadcast_to(offset, (*w.target.shape, len(REQUIRED))).copy()
    offset[:5] += 10  # all above the target in a quarter of the windows
    b = Backtest(w, REQUIRED, target + offset, target[..., 0])
    there = ~np.isnan(w.target)
    share = there[5:].sum() / there.sum()
    assert b.overall["coverage_80"] == b.overall["coverage_95"] == pytest.approx(share)
    assert b.intervals.nominal.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.95])
    assert b.intervals.empirical.tolist() == pytest.approx([share] * 5)
    assert list(b.overall) == list(METRICS)
