"""What GluonTS's estimators are usually put through, from training to forecasts."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from forecast.estimators import arrays, make_estimator, waves
from forecast.tables import SEASONS

from paratime.errors import InputError
from paratime.forecast.data.calendar import quiet_periods

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # GluonTS's use of pandas


def missing() -> list[dict]:
    data = waves(3)
    data[0]["target"][::3] = np.nan
    data[1]["target"][:] = np.nan
    data[2]["target"][-15:] = np.nan
    return data


def short() -> list[dict]:
    return [
        entry | {"target": entry["target"][:n]}
        for n, entry in zip((1, 2, 30), waves(), strict=True)
    ]


def constant() -> list[dict]:
    values = (0.0, 5.0, -1e6)
    return [entry | {"target": np.full(40, x)} for x, entry in zip(values, waves(), strict=True)]


def spiked() -> list[dict]:
    data = waves(3)
    data[0]["target"][[20, 35]] = 1e6
    return data


def many() -> list[dict]:
    return waves(1000, 12)


def extreme() -> list[dict]:
    data = waves(4)
    data[0]["target"][3] = -3.4e38
    data[1]["target"] *= 1e-44
    data[2]["target"] *= 1e9
    return data


SCENARIOS: dict[str, Callable[[], list[dict]]] = {
    "missing": missing,
    "short": short,
    "constant": constant,
    "spikes": spiked,
    "one": lambda: waves(1),
    "many": many,
    "extreme": extreme,
}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("squash", [False, True])
def test_any_series_are_forecast(name, squash):
    data = SCENARIOS[name]()
    predictor = make_estimator(squash=squash, dropout_rate=0.5).train(data)
    found = arrays(predictor.predict(data))
    assert found.shape[0] == len(data) and np.isfinite(found).all()
    parameters = predictor.task.parameters()
    assert all(x.isfinite().all() for x in parameters)


def test_what_is_constant_is_forecast_as_such():
    data = constant()
    found = arrays(make_estimator(max_steps=60).train(data).predict(data))
    assert found[1, 6] == pytest.approx(5.0, rel=0.1)
    assert found[2, 6] == pytest.approx(-1e6, rel=0.1)


@pytest.mark.parametrize("freq", SEASONS)
def test_every_frequency_over_leap_days(freq):
    with quiet_periods():
        start = pd.Period("2024-02-27 00:00", freq=freq)
        data = [{"start": start, "target": np.sin(np.arange(60.0))}]
        predictor = make_estimator(freq=freq).train(data)
        (found,) = predictor.predict(data)
        assert found.start_date == start + 60 and len(found.index) == 6
    assert np.isfinite(found.forecast_array).all()


def test_hours_around_a_change_of_the_clock_are_the_hours_of_utc():
    local = pd.date_range("2024-03-30", periods=48, freq="h", tz="Europe/Berlin")
    data = [{"start": local[0], "target": np.arange(48.0)}]
    (found,) = make_estimator(freq="h").train(data).predict(data)
    after = (local[-1] + pd.Timedelta(hours=1)).tz_convert("UTC").tz_localize(None)
    assert found.start_date.start_time == after


def known(ahead: int) -> list[dict]:
    return waves(feat_dynamic_real=lambda n, steps: np.ones((1, steps + ahead)) * n)


def test_covariates_that_end_too_early_are_named():
    predictor = make_estimator(num_feat_dynamic_real=1).train(known(0))
    assert len(list(predictor.predict(known(6)))) == 3
    expected = r"known covariates of series 'wave 0': expected 6 steps after.*got 5.*give them"
    with pytest.raises(InputError, match=expected):
        list(predictor.predict(known(5)))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({}, "covariates, known"),
        ({"feat_dynamic_real": lambda n, steps: np.ones((2, steps + 6))}, "covariates, known"),
        ({"past_feat_dynamic_real": lambda n, steps: np.ones((1, steps))}, "covariates"),
    ],
)
def test_other_features_than_those_of_training_are_refused(features, message):
    predictor = make_estimator(num_feat_dynamic_real=1).train(known(0))
    with pytest.raises(InputError, match=f"{message}.*as in training"):
        list(predictor.predict(waves(**features)))


def test_another_frequency_is_refused():
    predictor = make_estimator().train(waves())
    with pytest.raises(InputError, match=r"start of series 'wave 0'.*periods of M.*D.*"):
        list(predictor.predict(waves(freq="D")))


def test_unseen_items_and_labels():
    def labelled(codes):
        return [e | {"feat_static_cat": [c]} for e, c in zip(waves(), codes, strict=True)]

    predictor = make_estimator(max_steps=20).train(labelled([0, 1, 2]))
    seen = arrays(predictor.predict(labelled([0, 1, 2])))
    unseen = arrays(predictor.predict(labelled([-1, -1, -1])))
    new = [e | {"item_id": "new"} for e in labelled([7, 7, 7])]
    assert np.array_equal(arrays(predictor.predict(new)), unseen)
    assert not np.array_equal(seen, unseen)


def test_forecasts_do_not_depend_on_the_batch():
    data = waves(5)
    predictor = make_estimator().train(data)
    together = arrays(predictor.predict(data))
    alone = np.concatenate([arrays(predictor.predict([entry])) for entry in data])
    assert together == pytest.approx(alone, rel=1e-5, abs=1e-5)
