"""Which features of a dataset are used, and what the forecasts of other series then need."""

import logging

import numpy as np
import pytest
from forecast.estimators import arrays, make_estimator, same_weights, waves
from gluonts.dataset.artificial import constant_dataset
from gluonts.evaluation import make_evaluation_predictions
from gluonts.model.predictor import Predictor

from paratime import forecast
from paratime.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # GluonTS's use of pandas

KEYS = {
    "feat_dynamic_real": lambda n, steps: np.full((2, steps), float(n)),
    "feat_static_real": lambda n, steps: np.array([n, 1.0, 2.0]),
    "feat_static_cat": lambda n, steps: np.array([n % 2]),
}
COUNTS = {"feat_dynamic_real": 2, "feat_static_real": 3, "feat_static_cat": 1}


def with_steps_ahead(data: list[dict], ahead: int) -> list[dict]:
    ends = [(0, 0), (0, ahead)]
    return [
        e | {"feat_dynamic_real": np.pad(e["feat_dynamic_real"], ends, constant_values=3.0)}
        for e in data
    ]


@pytest.mark.parametrize("key", KEYS)
def test_what_is_ignored_is_as_absent(key, tmp_path):
    present = waves(**{key: KEYS[key]})
    for entry in present:
        entry[key] = ["unreadable", np.nan]
    ignoring = make_estimator(**{f"num_{key}": 0}).train(present)
    plain = arrays(make_estimator().train(waves()).predict(waves()))
    ignoring.serialize(tmp_path)
    for predictor in (ignoring, Predictor.deserialize(tmp_path)):
        for data in (present, waves()):
            assert np.array_equal(arrays(predictor.predict(data)), plain)
    further = make_estimator(lr=0.0).train_from(ignoring, present)
    assert same_weights(further.task, ignoring.task)


@pytest.mark.parametrize("key", KEYS)
def test_the_number_is_that_of_the_data(key):
    data = waves(**{key: KEYS[key]})
    named = make_estimator(**{f"num_{key}": COUNTS[key]}).train(with_ahead(data))
    found = make_estimator().train(with_ahead(data))
    assert np.array_equal(
        arrays(named.predict(with_ahead(data))), arrays(found.predict(with_ahead(data)))
    )
    with pytest.raises(InputError, match=f"num_{key}: expected 5, got {COUNTS[key]} in the data"):
        make_estimator(**{f"num_{key}": 5}).train(data)
    with pytest.raises(InputError, match=f"num_{key}: expected at least 0, got -1"):
        make_estimator(**{f"num_{key}": -1})


def with_ahead(data: list[dict]) -> list[dict]:
    return with_steps_ahead(data, 6) if "feat_dynamic_real" in data[0] else data


def test_cardinality_makes_room_for_more_categories():
    data = waves(feat_static_cat=KEYS["feat_static_cat"])
    predictor = make_estimator(cardinality=[4]).train(data)
    assert predictor.spec.categories == {"feat_static_cat_0": ["0", "1", "2", "3"]}
    assert len(list(predictor.predict(data))) == 3
    for wrong in ([1], [2, 2], []):
        with pytest.raises(InputError, match=r"cardinality: expected at least \[2\]"):
            make_estimator(cardinality=wrong).train(data)
    ignored = make_estimator(cardinality=[9], num_feat_static_cat=0).train(data)
    assert ignored.spec.categories == {}


def test_covariates_that_end_with_the_target_are_known_up_to_the_present(caplog):
    data = waves(feat_dynamic_real=KEYS["feat_dynamic_real"])
    with caplog.at_level(logging.WARNING, "paratime"):
        predictor = make_estimator().train(data, validation_data=data)
    (line,) = caplog.messages
    assert "known up to the present: feat_dynamic_real_0, feat_dynamic_real_1" in line
    assert "specify num_feat_dynamic_real if known ahead" in line
    short, long = data, with_steps_ahead(data, 6)
    assert np.array_equal(arrays(predictor.predict(short)), arrays(predictor.predict(long)))
    past = [
        {"past_" * (k == "feat_dynamic_real") + k: x for k, x in entry.items()} for entry in data
    ]
    same = make_estimator().train(past, validation_data=past)
    assert np.array_equal(arrays(predictor.predict(short)), arrays(same.predict(past)))


def test_every_use_of_a_forecaster_knows_the_roles():
    data = waves(**KEYS)
    task = make_estimator(num_feat_static_cat=0).train(data).task
    for given in (forecast.from_gluonts(data), forecast.from_gluonts(with_steps_ahead(data, 6))):
        found = arrays(forecast.forecast(task, given))
        stream = forecast.Forecaster(task)
        stream.observe(given)
        assert stream.predict("wave 0").mean == pytest.approx(found[0, -1], rel=1e-4, abs=1e-4)
        assert next(forecast.sample_paths(task, given, 2)).samples.shape == (2, 6)
        assert forecast.backtest(task, given, windows=1).windows.collection.known == ()
        assert np.isfinite(found).all()
    stream = forecast.Forecaster(task)
    stream.add(data[0])
    assert "wave 0" in stream


@pytest.mark.parametrize("options", [{}, {"num_feat_dynamic_real": 0}], ids=["found", "ignored"])
def test_the_constant_series_of_gluonts(options):
    about, train, test = constant_dataset()
    estimator = make_estimator(freq=about.metadata.freq, max_steps=40, **options)
    predictor = estimator.train(train, validation_data=test)
    for data in (train, test):
        found = list(predictor.predict(data))
        assert [x.item_id for x in found] == [e["item_id"] for e in data]
        ends = [e["start"] + len(e["target"]) for e in data]
        assert [x.start_date for x in found] == ends
    found, series = make_evaluation_predictions(test, predictor)
    for one, values in zip(found, series, strict=True):
        assert one.quantile(0.5) == pytest.approx(values.to_numpy()[-6:, 0], abs=0.5)


def test_explicit_numbers_are_known_ahead_whatever_the_training_data_ends_with():
    data = waves(feat_dynamic_real=KEYS["feat_dynamic_real"])
    predictor = make_estimator(num_feat_dynamic_real=2).train(data)
    ahead = arrays(predictor.predict(with_steps_ahead(data, 6)))
    other = with_steps_ahead(data, 6)
    other[0]["feat_dynamic_real"][:, -1] = -9.0
    assert not np.array_equal(ahead, arrays(predictor.predict(other)))
    with pytest.raises(InputError, match=r"known covariates of series 'wave 0'.*expected 6"):
        list(predictor.predict(data))


@pytest.mark.parametrize(
    ("options", "features", "line"),
    [
        ({}, {}, None),
        ({}, KEYS, "known ahead: feat_dynamic_real_0, feat_dynamic_real_1; values of a series: "),
        ({"num_feat_static_cat": 0}, KEYS, "; ignored: feat_static_cat"),
        (
            {"num_feat_dynamic_real": 0},
            KEYS,
            "; labels of a series: feat_static_cat_0 (2); ",
        ),
    ],
    ids=["none", "all", "labels", "covariates"],
)
def test_training_names_the_features_in_one_line(options, features, line, caplog):
    data = with_ahead(waves(**features))
    with caplog.at_level(logging.WARNING, "paratime"):
        make_estimator(**options).train(data, validation_data=data)
    assert len(caplog.messages) == (line is not None)
    assert line is None or line in caplog.messages[0]


def test_a_collection_keeps_its_roles():
    data = forecast.from_gluonts(waves(feat_dynamic_real=KEYS["feat_dynamic_real"]))
    assert make_estimator().train(data).spec.names["known"] == list(data.known)
    assert make_estimator(num_feat_dynamic_real=0).train(data).spec.names["known"] == []
