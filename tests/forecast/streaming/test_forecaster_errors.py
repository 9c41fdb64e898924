"""What a stream refuses, in one line and without a change."""

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.streams import ALL, CASES, case
from forecast.tables import frame_of, refused

from paratime import Attention, Encoder
from paratime.errors import InputError
from paratime.forecast.data.sources.table import read_table
from paratime.forecast.streaming.forecaster import Forecaster

REFUSED = {
    "a value without end": (
        lambda f: f.update("a", "2024-03-01 01:00", [1.0, np.inf], ([1, 2], [3])),
        r"value of series 'a' at 2024-03-01 01:00:00: expected finite float32, got \[1.0, inf\]",
    ),
    "a value too large": (
        lambda f: f.update("a", "2024-03-01 01:00", [1.0, -1e39], ([1, 2], [3])),
        r"value of series 'a' at 2024-03-01 01:00:00: expected finite float32, got",
    ),
    "too few channels": (
        lambda f: f.update("a", "2024-03-01 01:00", 1.0, ([1, 2], [3])),
        r"value of series 'a' at .*: expected 2 of them, got 1",
    ),
    "no number": (
        lambda f: f.update("a", "2024-03-01 01:00", ["x", 1], ([1, 2], [3])),
        r"value of series 'a' at .*: expected numbers, got could not convert",
    ),
    "no covariates": (
        lambda f: f.update("a", "2024-03-01 01:00", [1, 2]),
        r"known covariates of series 'a' at .*: expected 2 of them, got none",
    ),
    "a covariate missing": (
        lambda f: f.update("a", "2024-03-01 01:00", [1, 2], {"known": [1, None], "past": [3]}),
        r"known covariates of series 'a' at .*: expected finite numbers, got nan; fill",
    ),
    "no past covariates": (
        lambda f: f.update("a", "2024-03-01 01:00", [1, 2], {"known": [1, 2]}),
        r"past covariates of series 'a' at .*: expected 1 of them, got none",
    ),
    "covariates by other names": (
        lambda f: f.update("a", "2024-03-01 01:00", [1, 2], {"price": 3}),
        r"covariates of series 'a' at .*: expected a mapping of known and past, or the pair",
    ),
    "a row of covariates": (
        lambda f: f.update("a", "2024-03-01 01:00", [1, 2], [1.0, 2.0, 3.0]),
        r"covariates of series 'a' at .*: expected a mapping of known and past, or the pair",
    ),
    "a gap with covariates": (
        lambda f: f.update("a", "2024-03-01 03:00", [1, 2], ([1, 2], [3])),
        r"covariates of series 'a' at 2024-03-01 01:00:00: .* got none; update each, nan",
    ),
    "off the grid": (
        lambda f: f.update("a", "2024-03-01 01:30", [1, 2], ([1, 2], [3])),
        r"timestamp of series 'a': expected steps of h, got 2024-03-01 01:30:00; "
        r".* such as 2024-03-01 01:00:00",
    ),
    "no date": (
        lambda f: f.update("a", "soon", [1, 2], ([1, 2], [3])),
        r"timestamp of series 'a': expected a date, got 'soon'; write 2024-03-31 13:30",
    ),
    "no time": (
        lambda f: f.update("a", pd.NaT, [1, 2], ([1, 2], [3])),
        r"timestamp of series 'a': expected a date, got NaT",
    ),
    "a number for a date": (
        lambda f: f.update("a", 3, [1, 2], ([1, 2], [3])),
        r"timestamp of series 'a': expected a date, got 3",
    ),
    "another frequency": (
        lambda f: f.update("a", pd.Period("2024-03-01", "D"), [1, 2], ([1, 2], [3])),
        r"timestamp of series 'a': expected periods of h, got D; use asfreq\('h'\)",
    ),
    "a wrong century": (
        lambda f: f.update("a", "2204-03-01", [1, 2], ([1, 2], [3])),
        r"timestamp of series 'a': expected at most 87648 steps after the last, got 2204-03-01",
    ),
    "a new series without its numbers": (
        lambda f: f.update("new", "2024-03-01 01:00", [1, 2], ([1, 2], [3])),
        r"static_real of series 'new', which start takes: expected 1 of them, got none",
    ),
    "a series begun twice": (
        lambda f: f.start("a", [1.0]),
        r"item_id: expected a new series, got 'a', which exists; continue it with update",
    ),
    "too many labels": (
        lambda f: f.start("new", [1.0], ["x", "y"]),
        r"static_cat of series 'new': expected 1 label: kind, got 2",
    ),
    "no future": (
        lambda f: f.predict("a"),
        r"future of series 'a': expected known covariates of 4 steps, \(4, 2\), got none",
    ),
    "a short future": (
        lambda f: f.predict("a", np.zeros((3, 2))),
        r"future of series 'a': expected .* \(4, 2\), got \(3, 2\); give as many",
    ),
    "a future with holes": (
        lambda f: f.predict("a", np.full((4, 2), np.nan)),
        r"known covariates of series 'a': expected finite numbers, got nan",
    ),
    "an unknown series": (
        lambda f: f.predict("new", np.zeros((4, 2))),
        r"item_id: expected a series with observations, got 'new'; update it first",
    ),
    "a level beyond 1": (
        lambda f: f.predict("a", np.zeros((4, 2)), levels=(0.5, 1.0)),
        r"levels: expected different numbers between 0 and 1, got \[0.5, 1.0\]",
    ),
    "a history again": (
        lambda f: f.add({"item_id": "a", "start": "2024-03-01", "target": [[1.0], [2.0]]}),
        r"item_id: expected a new series, got 'a', which exists",
    ),
    "a history without covariates": (
        lambda f: f.add({"item_id": "c", "start": "2024-03-01", "target": [[1.0], [2.0]]}),
        r"feat_dynamic_real of series 'c': expected 2 of them, got 0",
    ),
    "histories of another frequency": (
        lambda f: f.observe(read_table(frame_of("D"), **ALL)),
        r"freq: expected h as in training, got D",
    ),
    "histories with covariates in another order": (
        lambda f: f.observe(read_table(frame_of("h"), **ALL | {"known": ["holiday", "price"]})),
        r"covariates, known: expected \['price', 'holiday'\] as in training, got \['holiday'",
    ),
    "histories with other labels": (
        lambda f: f.observe(read_table(frame_of("h"), **ALL | {"static_cat": []})),
        r"labels of series: expected \['kind'\] as in training, got \[\]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_line_and_change_nothing(name):
    of, (act, pattern) = CASES["all"](torch.float32), REFUSED[name]
    forecaster = Forecaster(of.task)
    forecaster.start("a", [1.0], ["x"])
    forecaster.update("a", "2024-03-01", [1.0, 2.0], ([1, 2], [3]))
    future = np.ones((4, 2))
    before = forecaster.predict("a", future).forecast_array
    refused(pattern, lambda: act(forecaster))
    assert np.array_equal(forecaster.predict("a", future).forecast_array, before)
    assert len(forecaster) == 1 and not forecaster.late


def test_a_state_that_grows_cannot_be_streamed():
    endless = case(encoder=Encoder(8, 1, Attention, mlp_size=8))
    with pytest.raises(InputError, match="encoder: expected a state of constant size to stream"):
        Forecaster(endless.task)


def test_a_predictor_is_no_task():
    with pytest.raises(InputError, match=r"expected a ForecastTask, got str; pass the predictor's"):
        Forecaster("model")  # type: ignore[arg-type]
