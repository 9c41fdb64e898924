"""Rolling windows, and seasonal errors up to their origins."""

import numpy as np
import pandas as pd
import pytest
from forecast.backtests import H, series

from paratime.forecast.evaluation.rolling import rolling, with_future


def test_windows_end_with_the_series_and_short_ones_have_fewer():
    w = rolling(series(), H, windows=3, stride=10)
    assert w.series.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert w.origin.tolist() == [33, 43, 53, 4, 14, 24, 0]
    assert w.item_id[-1] == "wave 2" and w.period[0] == pd.Period("2001-04", freq="M") + 33
    assert w.firsts.tolist() == [0, 3, 6]
    target = series().entries[1]["target"]
    assert np.array_equal(w.target[4, :, 0], target[15:21], equal_nan=True)
    assert rolling(series(), H, windows=2).origin.tolist() == [47, 53, 18, 24, 0]


def test_the_future_is_missing():
    data = series()
    longer = with_future(data, H)
    for entry, more in zip(data.entries, longer.entries, strict=True):
        steps = len(entry["target"])
        assert np.array_equal(more["target"][:steps], entry["target"], equal_nan=True)
        assert np.isnan(more["target"][steps:]).all() and len(more["target"]) == steps + H
        assert more["past_feat_dynamic_real"].shape[1] == steps + H


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
