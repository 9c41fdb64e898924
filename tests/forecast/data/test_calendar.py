"""Calendar features and seasons, from nanoseconds to years."""

import numpy as np
import pandas as pd
import pytest
from forecast.tables import SEASONS

from paratime.errors import InputError
from paratime.forecast.data.calendar import (
    calendar,
    calendar_features,
    check_frequency,
    quiet_periods,
    season_length,
)


@pytest.mark.parametrize("freq", SEASONS)
def test_seasons_and_features_of_every_frequency(freq):
    assert season_length(freq) == SEASONS[freq]
    with quiet_periods():
        start = pd.Period("2024-02-27 00:00", freq=freq)
    features = calendar(start, 800)
    assert features.shape == (800, calendar_features(freq)) and features.dtype == np.float32
    assert np.isfinite(features).all() and (np.abs(features) <= 1).all()


def test_the_ends_of_a_cycle_are_neighbours_and_not_the_same():
    months = calendar(pd.Period("2023-01", freq="M"), 25)
    assert np.allclose(months[0], months[12], atol=1e-6)
    steps = np.linalg.norm(np.diff(months, axis=0), axis=1)
    assert np.allclose(steps, steps[0], atol=1e-5) and steps[0] > 0.1


def test_a_forecast_goes_on_with_the_dates_of_the_series():
    start = pd.Period("2023-12-30 21:00", freq="h")
    assert np.array_equal(calendar(start, 100)[60:], calendar(start + 60, 40))


@pytest.mark.parametrize("freq", ("fortnight", "", "3 apples"))
def test_no_frequency(freq):
    with pytest.raises(InputError, match=r"freq.*equal length.*pandas frequency"):
        check_frequency(freq)
