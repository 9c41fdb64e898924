"""Backtests: one pass is what each origin alone would give, and metrics are those of GluonTS."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.ev.metrics import MASE, RMSE, SMAPE, MeanWeightedSumQuantileLoss
from gluonts.model.evaluation import evaluate_forecasts
from gluonts.model.forecast import QuantileForecast
from torch import nn

from paratime import Encoder
from paratime.errors import InputError
from paratime.forecast.data.datamodule import describe
from paratime.forecast.data.features import matched
from paratime.forecast.data.series import Collection
from paratime.forecast.data.windows import Standard
from paratime.forecast.evaluation import backtest as module
from paratime.forecast.evaluation.backtest import Backtest, backtest, with_required
from paratime.forecast.evaluation.metrics import METRICS, REQUIRED
from paratime.forecast.evaluation.rolling import Windows, rolling, with_future
from paratime.forecast.model.outputs import Output, Quantiles, StudentT
from paratime.forecast.model.task import ForecastTask
from paratime.testing import TOLERANCE

H, LENGTHS = 6, (60, 31, 7, 5)
CLOSE = TOLERANCE[torch.float64].value
GLUONTS = {
    "mean_wQL": MeanWeightedSumQuantileLoss(quantile_levels=REQUIRED[1:-1]),
    "MASE": MASE(),
    "sMAPE": SMAPE(),
    "RMSE": RMSE(),
}


def series(channels: int = 1, lengths: tuple[int, ...] = LENGTHS, nan: bool = True) -> Collection:
    random, entries = np.random.default_rng(0), []
    for number, length in enumerate(lengths):
        wave = 10 * (number + 1) + 3 * np.sin(np.arange(length) * np.pi / 6)
        target = (wave + 0.3 * random.normal(size=(channels, length))).astype(np.float32)
        if nan:
            target[random.random(target.shape) < 0.1] = np.nan
        entries.append(
            {
                "item_id": f"wave {number}",
                "start": pd.Period("2001-04", freq="M") + number,
                "target": target if channels > 1 else target[0],
                "feat_dynamic_real": random.normal(size=(2, length + 3)).astype(np.float32),
                "past_feat_dynamic_real": random.normal(size=(1, length)).astype(np.float32),
                "feat_static_cat": np.array([number % 2]),
                "feat_static_real": np.array([float(number)], dtype=np.float32),
            }
        )
    return Collection(
        "M", entries, ("a", "b"), ("past",), ("size",), {"kind": ("even", "odd")}, H, 12
    )


def make_task(data: Collection, output: Output = Quantiles()) -> ForecastTask:  # noqa: B008
    facts = describe(data, H, Standard.of(data.entries))
    task = ForecastTask(Encoder(16, 2, mlp_size=16), facts, output).double()
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.2)
    return task


def cut(data: Collection, steps: list[int], poison: float | None = None) -> Collection:
    """Cut series, or put an absurd value wherever only the future is."""
    entries = []
    for entry, known in zip(data.entries, steps, strict=True):
        if poison is None:
            target, past = entry["target"][..., :known], entry["past_feat_dynamic_real"][:, :known]
        else:
            target, past = entry["target"].copy(), entry["past_feat_dynamic_real"].copy()
            target[..., known:], past[:, known:] = poison, poison
        entries.append(entry | {"target": target, "past_feat_dynamic_real": past})
    return replace(data, entries=entries)


CASES = {"quantiles": (1, Quantiles()), "joint": (3, Quantiles()), "student": (1, StudentT())}


@pytest.mark.parametrize("case", CASES)
def test_one_pass_is_what_each_origin_alone_gives(case):
    channels, output = CASES[case]
    data = series(channels)
    task = make_task(data, output)
    found = backtest(task, data, windows=5, stride=4)
    w = found.windows
    assert len(w) == 5 + 5 + 1
    for row in range(len(w)):
        entry = data.entries[w.series[row]]
        known = int(w.origin[row]) + 1
        one = replace(data, entries=[entry | {"target": entry["target"][..., : known + H]}])
        alone = cut(one, [known], poison=1e6)
        again = backtest(task, alone, windows=1)
        assert np.abs(again.quantiles[0] - found.quantiles[row]).max() <= CLOSE
        assert np.abs(again.mean[0] - found.mean[row]).max() <= CLOSE
    assert np.isfinite(found.quantiles).all()


def test_what_comes_after_the_origins_changes_no_forecast():
    data = series()
    task = make_task(data)
    before = backtest(task, data, windows=2, stride=3)
    w = before.windows
    first = dict(zip(w.series[w.firsts].tolist(), w.origin[w.firsts].tolist(), strict=True))
    poisoned = cut(data, [first.get(i, -1) + 1 for i in range(len(LENGTHS))], poison=-1e7)
    after = backtest(task, poisoned, windows=2, stride=3)
    assert np.abs(after.quantiles - before.quantiles)[w.firsts].max() <= CLOSE
    assert np.abs(after.quantiles - before.quantiles).max() > 1, "later origins do see it"


def test_pieces_and_batches_change_nothing(monkeypatch):
    data = series()
    task = make_task(data)
    whole = backtest(task, data, windows=4, stride=2)
    monkeypatch.setattr(module, "PIECE", 1)
    pieces = backtest(task, data, windows=4, stride=2, batch_size=1)
    assert np.abs(whole.quantiles - pieces.quantiles).max() <= CLOSE
    assert task.training, "left as it was"


def test_the_history_is_read_once_for_all_origins():
    data = series()
    task = make_task(data)
    read: list[int] = []
    task.network.encoder.register_forward_hook(lambda _, x, y: read.append(x[0].shape[1]))
    backtest(task, data, windows=20, stride=1)
    assert read == [sum(n for n in LENGTHS if n > H)]


def test_windows_end_with_the_series_and_short_ones_have_fewer():
    w = rolling(series(), H, windows=3, stride=10)
    assert w.series.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert w.origin.tolist() == [33, 43, 53, 4, 14, 24, 0]
    assert w.item_id[-1] == "wave 2" and w.period[0] == pd.Period("2001-04", freq="M") + 33
    assert w.firsts.tolist() == [0, 3, 6]
    target = series().entries[1]["target"]
    assert np.array_equal(w.target[4, :, 0], target[15:21], equal_nan=True)
    assert rolling(series(), H, windows=2).origin.tolist() == [47, 53, 18, 24, 0]


def test_unusable_windows_are_refused():
    with pytest.raises(InputError, match=r"series.*more than 60 steps.*at most 60.*longer"):
        rolling(series(), 60)
    for options in ({"windows": 0}, {"stride": 0}):
        with pytest.raises(InputError, match=r"at least 1, got 0"):
            rolling(series(), H, **options)
    data = series()
    with pytest.raises(InputError, match=r"batch_size.*at least 1"):
        backtest(make_task(data), data, windows=1, batch_size=0)
    with pytest.raises(InputError, match=r"levels.*between 0 and 1"):
        backtest(make_task(data), data, windows=1, levels=(0.3, 1.0))


def test_series_of_another_kind_are_refused_and_categories_go_by_name():
    data = series()
    trained = describe(data, H, Standard.of(data.entries))
    for other in (series(channels=2), replace(data, known=("a",)), replace(data, freq="D")):
        with pytest.raises(InputError, match="as in training"):
            matched(other, trained)
    with pytest.raises(InputError, match="labels"):
        matched(replace(data, categories={"other": ("even", "odd")}), trained)
    moved = matched(replace(data, categories={"kind": ("new", "even", "odd")}), trained)
    assert [e["feat_static_cat"].tolist() for e in moved] == [[-1], [0], [-1], [0]]


def test_the_future_is_missing():
    data = series()
    longer = with_future(data, H)
    for entry, more in zip(data.entries, longer.entries, strict=True):
        steps = len(entry["target"])
        assert np.array_equal(more["target"][:steps], entry["target"], equal_nan=True)
        assert np.isnan(more["target"][steps:]).all() and len(more["target"]) == steps + H
        assert more["past_feat_dynamic_real"].shape[1] == steps + H


def random_forecasts(w: Windows) -> Backtest:
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


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-5)


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


@pytest.mark.parametrize("stride", (1, 7))
def test_seasonal_errors_are_those_of_the_history(stride):
    w = rolling(series(channels=2), H, windows=30, stride=stride)
    for row in range(len(w)):
        history = w.values(row)[: w.origin[row] + 1].astype(np.float64)
        m = w.collection.seasonality
        m = m if m <= len(history) else 1
        known = np.abs(history[m:] - history[: len(history) - m])
        for channel, expected in zip(w.seasonal_error[row], known.T, strict=True):
            there = expected[~np.isnan(expected)]
            assert np.isnan(channel) if not len(there) else np.isclose(channel, there.mean())
