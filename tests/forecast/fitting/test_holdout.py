"""Windows that are held out of the training, and what they choose."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from forecast.estimators import make_estimator, waves
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.forecast import Backtest, from_gluonts, rolling
from paratime.forecast.evaluation.backtest import with_required
from paratime.forecast.fitting.holdout import TOLERANCE, hold_out, trust, widths
from paratime.forecast.model.calibration import doubts


def series(lengths, value=lambda n: np.arange(float(n))):
    start = pd.Period("2000-01", "M")
    return from_gluonts(
        [{"item_id": str(i), "start": start, "target": value(n)} for i, n in enumerate(lengths)]
    )


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=12),
    st.integers(1, 30),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_no_target_of_a_window_is_trained_on(lengths, horizon):
    held = hold_out(series(lengths), horizon)
    if held is None:
        assert max(lengths) < 4
        return
    trained = {e["item_id"]: e["target"].shape[-1] for e in held.training.entries}
    assert trained.keys() == {str(i) for i in range(len(lengths))}
    windows = rolling(held.collection, horizon, held.windows, held.stride)
    assert np.isfinite(windows.target).any() and held.independent >= 1
    assert 0 <= held.share <= 0.5
    for name, origin in zip(windows.item_id, windows.origin, strict=True):
        assert origin + 1 >= trained[name], "a target was trained on"


@given(
    st.lists(st.tuples(*[st.integers(0, 60)] * 3), min_size=1, max_size=8),
    st.integers(1, 30),
    st.integers(0, 1),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_windows_and_what_is_trained_on_hold_values_of_each_channel(parts, horizon, late):
    """Series begin and end with missing steps; a second channel begins later."""
    data = series([max(2, sum(x)) for x in parts])
    for entry, (before, known, _) in zip(data.entries, parts, strict=True):
        target = np.full((1 + late, entry["target"].shape[0]), np.nan)
        target[0, before : before + known] = 1.0
        target[1:, before + known // 2 : before + known] = 1.0
        entry["target"] = target
    if (held := hold_out(data, horizon)) is None:
        return
    windows = rolling(held.collection, horizon, held.windows, held.stride)
    assert np.isfinite(windows.target).any(), "nothing to score"
    for channel in range(1 + late):
        assert any(np.isfinite(e["target"][channel]).any() for e in held.training.entries)
    trained = {e["item_id"]: e["target"] for e in held.training.entries}
    for name, origin in zip(windows.item_id, windows.origin, strict=True):
        assert origin + 1 >= trained[name].shape[-1], "a target was trained on"


def test_windows_without_values_are_no_evidence():
    data = waves(4, 40)
    predictor = make_estimator().train(data, [e | {"target": missing_end(e)} for e in data])
    calibration = predictor.task.network.calibration
    assert calibration.evidence.windows == 0 and calibration.weight == 0
    assert "no windows were held out" in doubts(calibration)
    half = [e | {"target": missing_end(e)} for e in data[:2]] + data[2:]
    assert make_estimator().train(data, half).task.network.calibration.evidence.windows == 2


def missing_end(entry):
    return np.concatenate([entry["target"][:-6], np.full(6, np.nan)])


@pytest.mark.parametrize("lengths, horizon", [([108], 12), ([150], 7), ([52_608], 48)])
def test_one_series_holds_out_several_windows_but_most_of_it_is_trained_on(lengths, horizon):
    held = hold_out(series(lengths), horizon)
    assert held.windows > held.independent >= 2 and held.share < 0.26


def forecasts(target, level):
    """Return forecasts of 0 with intervals of ``level`` around, for targets (N, H)."""
    data = series([target.shape[1] + 2] * len(target))
    for entry, row in zip(data.entries, target, strict=True):
        entry["target"] = np.concatenate([[0.0, 0.0], row])
    levels = with_required(())
    places = level * np.array([2 * x - 1 for x in levels]) / 0.8
    shape = (*target.shape, 1, len(levels))
    windows = rolling(data, target.shape[1])
    return Backtest(windows, levels, np.broadcast_to(places, shape), np.zeros(shape[:-1]))


@pytest.mark.parametrize("spread", [0.2, 1.0, 3.0])
def test_widths_cover_their_share(spread):
    growing = spread * np.sqrt(np.arange(1, 7))
    random = np.random.default_rng(0)
    factor = widths(forecasts(random.normal(size=(400, 6)) * growing, 1.2816), 400)
    again = random.normal(size=(4000, 6)) * growing
    inside = np.abs(again) <= 1.2816 * factor
    assert np.allclose(inside.mean(0), 0.8, atol=0.05)


def test_few_windows_widen_only_and_no_further_than_they_are_worth():
    near, far = np.full((2, 3), 0.01), np.full((2, 3), 50.0)
    assert np.array_equal(widths(forecasts(near, 1.0), 2), np.ones(3))
    assert np.allclose(widths(forecasts(far, 1.0), 2), 10 ** trust(2))


def test_steps_that_no_window_tells_of_take_the_width_before():
    target = np.random.default_rng(0).normal(size=(200, 5)) * 3
    target[:, 3:] = np.nan
    factor = widths(forecasts(target, 1.0), 200)
    assert (factor > 1.5).all() and factor[3] == factor[4] == factor[2]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.15])
def test_intervals_of_equal_values_do_not_lose_what_they_are_worth(share):
    random = np.random.default_rng(0)
    found = forecasts(np.where(random.random((200, 4)) < share, 5.0, 0.0), 1.0)
    factor = widths(found, 200)
    centre, places = 0.0, found.quantiles
    narrow = replace(found, quantiles=centre + factor[:, None, None] * places)
    assert narrow.overall["mean_wQL"] <= TOLERANCE * found.overall["mean_wQL"]
