"""Every output in every kind of forecast, under the tools that users of GluonTS bring."""

import copy
import pickle
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.estimators import TINY, make_estimator, waves
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import DateSplitter, split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import (
    Evaluator,
    MultivariateEvaluator,
    backtest_metrics,
    make_evaluation_predictions,
)
from gluonts.model.evaluation import evaluate_model
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import ParallelizedPredictor, Predictor

from paratime import forecast
from paratime.errors import InputError
from paratime.forecast.gluonts.estimator import ParaRNNEstimator
from paratime.forecast.gluonts.predictor import ParaRNNPredictor
from paratime.forecast.inference.forecast_type import AsDistribution, AsQuantiles, AsSamples
from paratime.forecast.model.outputs import Gaussian, Mixture, NegativeBinomial, Quantiles, StudentT

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # GluonTS's use of pandas
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]

OUTPUTS = (Quantiles(), StudentT(), Gaussian(), NegativeBinomial(), Mixture(2))
FORECASTS = (AsQuantiles(), AsSamples(9), AsDistribution())
PAIRS = [
    pytest.param(output, kind, id=f"{type(output).__name__}-{type(kind).__name__}")
    for output, kind in product(OUTPUTS, FORECASTS)
    if not (isinstance(output, Quantiles) and isinstance(kind, AsDistribution))
]
SCORES = [MASE(), MeanWeightedSumQuantileLoss([0.1, 0.5, 0.9])]


def counts(channels: int = 1) -> list[dict]:
    """Return series with gaps, with items and remarks that are no text."""
    data = waves(4)
    for number, entry in enumerate(data):
        rows = np.abs(entry["target"]).round()
        rows[3 : 5 + number] = np.nan
        entry["target"] = rows if channels == 1 else np.stack([rows] * channels)
        entry |= {"item_id": number, "info": {"shop": [number]}}
    return data


@cache
def trained(output, kind, channels: int = 1) -> ParaRNNPredictor:
    return make_estimator(output=output, forecasts=kind).train(counts(channels))


@pytest.mark.parametrize(("output", "kind"), PAIRS)
def test_forecasts_are_of_their_entries(output, kind):
    data = counts()
    found = list(trained(output, kind).predict(data))
    assert [x.item_id for x in found] == [0, 1, 2, 3]
    assert [x.info for x in found] == [e["info"] for e in data]
    for one, entry in zip(found, data, strict=True):
        assert one.start_date == entry["start"] + 40 == one.index[0]
        assert one.prediction_length == len(one.index) == 6
        levels = np.stack([one.quantile(q) for q in (0.1, 0.5, "0.9", "p95")])
        assert levels.shape == (4, 6) and (np.diff(levels, axis=0) >= 0).all()
        assert one.mean.shape == (6,) and np.isfinite(one.mean).all()


@pytest.mark.parametrize(("output", "kind"), PAIRS)
def test_every_tool_scores_it(output, kind):
    predictor, data = trained(output, kind), counts()
    found, series = make_evaluation_predictions(data, predictor, num_samples=7)
    found = list(found)
    if isinstance(found[0], SampleForecast):
        assert {x.num_samples for x in found} == {7}
        assert {x.num_samples for x in predictor.predict(data)} == {9}
    scores, items = Evaluator(num_workers=0)(series, found)
    assert np.isfinite(scores["mean_wQuantileLoss"]) and [*items["item_id"]] == [0, 1, 2, 3]
    _, template = split(data, offset=-12)
    windows = template.generate_instances(6, windows=2)
    table = evaluate_model(predictor, test_data=windows, metrics=SCORES)
    assert np.isfinite(table.to_numpy()).all()


@pytest.mark.parametrize(("output", "kind"), PAIRS)
def test_it_can_be_stored_and_sent(output, kind, tmp_path):
    predictor, data = trained(output, kind), counts()
    predictor.serialize(tmp_path)
    for again in (Predictor.deserialize(tmp_path), pickle.loads(pickle.dumps(predictor))):
        assert again == predictor
    restored = Predictor.deserialize(tmp_path)
    for one, two in zip(predictor.predict(data), restored.predict(data), strict=True):
        assert np.array_equal(one.quantile(0.9), two.quantile(0.9))
        assert np.array_equal(pickle.loads(pickle.dumps(one)).mean, two.mean)


@pytest.mark.parametrize(("output", "kind"), PAIRS)
def test_every_tool_scores_several_channels(output, kind):
    predictor = trained(output, kind, channels=2)
    found, series = make_evaluation_predictions(counts(2), predictor)
    found = list(found)
    assert found[0].quantile(0.5).shape == found[0].mean.shape == (6, 2)
    if not isinstance(kind, AsDistribution):  # whose forecasts GluonTS cannot take apart
        evaluator = MultivariateEvaluator(quantiles=(0.1, 0.9), num_workers=0)
        assert np.isfinite(evaluator(series, found)[0]["mean_wQuantileLoss"])


@pytest.mark.parametrize("kind", FORECASTS, ids=lambda kind: type(kind).__name__)
def test_scores_do_not_depend_on_the_processes(kind):
    data, predictor = counts(), trained(StudentT(), kind)

    def scores(workers: int) -> dict[str, float]:
        found, series = make_evaluation_predictions(data, predictor)
        return Evaluator(num_workers=workers)(series, found, num_series=4)[0]

    one, two = scores(0), scores(2)
    assert one["mean_wQuantileLoss"] == pytest.approx(two["mean_wQuantileLoss"])


def test_predictions_do_not_depend_on_the_processes():
    data, predictor = counts(), trained(Quantiles(), AsQuantiles())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(1_000_000).exp()  # so that torch has threads, which a fork lacks
    many = [*ParallelizedPredictor(predictor, num_workers=2, chunk_size=2).predict(data)]
    torch.set_num_threads(before)
    for one, two in zip(many, predictor.predict(data), strict=True):
        assert one.forecast_array == pytest.approx(two.forecast_array)
        assert (one.item_id, one.info) == (two.item_id, two.info)


def test_a_backtest_by_gluonts_of_data_in_its_own_form():
    data = ListDataset(counts(), freq="M")
    splitter = DateSplitter(pd.Period("2003-06", "M"))
    train, template = split(data, date=splitter.date)
    predictor = make_estimator().train(train, validation_data=train)
    scores, items = backtest_metrics(data, predictor, Evaluator(num_workers=0))
    assert np.isfinite(scores["MSE"]) and len(items) == 4
    found = [*predictor.predict(template.generate_instances(6).input)]
    assert {str(x.start_date) for x in found} == {"2003-07"}


def test_arguments_arrive_as_text_and_from_the_data():
    made = ParaRNNEstimator.from_hyperparameters(
        freq="M", prediction_length="6", num_feat_dynamic_real="0", cardinality=["3"]
    )
    assert (made.prediction_length, made.features.ignored) == (6, ("feat_dynamic_real",))
    assert made.features.cardinality == [3]
    inferred = ParaRNNEstimator.from_inputs(counts(), freq="M", prediction_length=6, **TINY)
    assert len(list(inferred.train(counts()).predict(counts()))) == 4


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copied_estimator_trains_alike(copied):
    estimator = make_estimator(cardinality=[1], num_feat_static_cat=0)
    one, two = (next(x.train(waves()).predict(waves())) for x in (estimator, copied(estimator)))
    assert np.array_equal(one.forecast_array, two.forecast_array)


def test_sample_paths_keep_what_was_attached():
    data = counts()
    task = trained(StudentT(), AsSamples(9)).task
    paths = forecast.sample_paths(task, forecast.from_gluonts(data), 3)
    assert [x.info for x in paths] == [e["info"] for e in data]


@pytest.mark.parametrize("number", [0, -1])
def test_no_samples_are_refused(number):
    predictor = trained(StudentT(), AsSamples(9))
    with pytest.raises(InputError, match="num_samples: expected at least 1"):
        list(predictor.predict(counts(), num_samples=number))
