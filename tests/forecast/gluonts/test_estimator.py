"""``ParaRNNEstimator`` as GluonTS's own tools use it."""

import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.estimators import TINY, arrays, make_estimator, same_weights, waves
from gluonts.core.serde import dump_json, load_json
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import Evaluator, make_evaluation_predictions
from gluonts.model.estimator import Estimator
from gluonts.model.evaluation import evaluate_model
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.predictor import Predictor
from gluonts.torch.model.forecast import DistributionForecast
from lightning.pytorch.callbacks import Callback

from paratime import ParaGRU, forecast
from paratime.errors import InputError
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.gluonts.predictor import ParaRNNPredictor
from paratime.forecast.inference.forecast_type import AsDistribution, AsQuantiles, AsSamples
from paratime.forecast.model.outputs import Gaussian, Mixture, NegativeBinomial, Quantiles, StudentT

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # GluonTS's use of pandas


def test_gluonts_evaluates_it():
    data = waves()
    train, template = split(data, offset=-6)
    predictor = make_estimator().train(train)
    windows = template.generate_instances(6)
    metrics = [MASE(), MeanWeightedSumQuantileLoss([0.1, 0.5, 0.9])]
    table = evaluate_model(predictor, test_data=windows, metrics=metrics)
    assert np.isfinite(table.to_numpy()).all()
    forecasts, series = make_evaluation_predictions(PandasDataset({"a": frame()}), predictor)
    scores, _ = Evaluator(num_workers=0)([x[0] for x in series], forecasts)
    assert 0 < scores["mean_wQuantileLoss"] < 2


def frame() -> pd.DataFrame:
    index = pd.period_range("2003-01", periods=30, freq="M")
    return pd.DataFrame({"target": np.arange(30.0)}, index=index)


def test_forecasts_follow_the_series_in_order():
    data = waves(5)
    predictor = make_estimator(batch_size=2).train(data)
    found = list(predictor.predict(data))
    assert [x.item_id for x in found] == [x["item_id"] for x in data]
    assert [x.start_date for x in found] == [x["start"] + 40 for x in data]
    assert all(isinstance(x, QuantileForecast) for x in found)
    whole = np.stack([x.forecast_array for x in found])
    assert whole.shape == (5, 14, 6)
    assert (np.diff(whole[:, :13], axis=1) >= 0).all(), "quantiles cross"


KINDS = {
    "quantiles": (AsQuantiles((0.1, 0.5)), Quantiles(), QuantileForecast),
    "samples": (AsSamples(20), Mixture(), SampleForecast),
    "student": (AsDistribution(), StudentT(), DistributionForecast),
    "normal": (AsDistribution(), Gaussian(), DistributionForecast),
    "counts": (AsQuantiles(), NegativeBinomial(), QuantileForecast),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_of_forecast(name, channels):
    forecasts, output, expected = KINDS[name]
    data = waves()
    for entry in data:
        rows = np.abs(entry["target"]).round() if name == "counts" else entry["target"]
        entry["target"] = rows if channels == 1 else np.stack([rows] * channels)
    predictor = make_estimator(output=output, forecasts=forecasts).train(data)
    first, again = (next(iter(predictor.predict(data))) for _ in range(2))
    assert isinstance(first, expected)
    quantile = first.quantile(0.9)
    assert quantile.shape == ((6,) if channels == 1 else (6, 2)) and np.isfinite(quantile).all()
    assert np.array_equal(quantile, again.quantile(0.9)) and np.isfinite(first.mean).all()


def test_quantiles_are_no_distribution():
    message = r"output: expected a distribution, got Quantiles.*StudentT"
    with pytest.raises(InputError, match=message):
        make_estimator(forecasts=AsDistribution())
    predictor = make_estimator().train(waves())
    with pytest.raises(InputError, match=message):
        ParaRNNPredictor(predictor.recipe, predictor.spec.plain(), AsDistribution())
    with pytest.raises(InputError, match=message):
        next(forecast.forecast(predictor.task, from_gluonts(waves()), AsDistribution()))


def test_training_is_a_function_of_the_seed_and_leaves_random_numbers_alone():
    before = torch.get_rng_state()
    one, two, other = (make_estimator(seed=x).train(waves()).task for x in (4, 4, 5))
    assert same_weights(one, two) and not same_weights(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_it_is_quiet_and_writes_nothing(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        list(make_estimator().train(waves(), waves()).predict(waves()))
    assert not any(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "") and not caplog.records


class Counter(Callback):
    def __init__(self) -> None:
        self.runs = 0

    def on_train_start(self, *_) -> None:
        self.runs += 1


def test_callbacks_run_every_time_and_folders_are_the_users(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    counter = Counter()
    options = {"callbacks": [counter], "default_root_dir": str(tmp_path / "run"), "max_epochs": 3}
    estimator = make_estimator(trainer_kwargs=options, checkpoint_every=1)
    for _ in range(2):
        estimator.train(waves())
    assert counter.runs == 4, "a trial and a training each"
    assert [x.name for x in tmp_path.rglob("*.ckpt")] == ["last.ckpt"]
    assert not any(Path.cwd().iterdir())


def test_training_goes_on_from_a_predictor():
    first = make_estimator().train(waves())
    still = make_estimator(lr=0.0).train_from(first, waves(2, 50))
    assert same_weights(first.task, still.task)
    assert not same_weights(first.task, make_estimator().train_from(first, waves(2, 50)).task)
    with pytest.raises(InputError, match=r"predictor: .*ParaRNNPredictor.*object"):
        make_estimator().train_from(object(), waves())


def test_the_estimator_is_json():
    estimator = make_estimator(
        mixer=partial(ParaGRU, block_size=2), output=Mixture(2), forecasts=AsSamples(7), lags=5
    )
    again = load_json(dump_json(estimator))
    assert again.recipe.output == Mixture(2) and again.forecasts == AsSamples(7)
    assert again.recipe.mixer.keywords == {"block_size": 2} and again.recipe.lags == 5


FORECAST = """
import sys, warnings
from pathlib import Path
import numpy as np, pandas as pd
warnings.simplefilter("ignore")
from gluonts.model.predictor import Predictor
predictor = Predictor.deserialize(Path(sys.argv[1]))
data = [{"start": pd.Period("2001-01", "M"), "target": np.sin(np.arange(30.0))}]
np.save(sys.argv[2], next(iter(predictor.predict(data))).forecast_array)
"""


def test_another_process_gives_identical_forecasts(tmp_path):
    predictor = make_estimator().train(waves())
    predictor.serialize(tmp_path / "model")
    again = Predictor.deserialize(tmp_path / "model")
    assert again == predictor
    out = tmp_path / "out.npy"
    script = [sys.executable, "-c", FORECAST, str(tmp_path / "model"), str(out)]
    subprocess.run(script, check=True, env=os.environ)
    data = [{"start": pd.Period("2001-01", "M"), "target": np.sin(np.arange(30.0))}]
    for found in (again, predictor):
        assert np.array_equal(next(iter(found.predict(data))).forecast_array, np.load(out))


def missing(folder: Path) -> None:
    (folder / "weights.pt").unlink()


def cut(folder: Path) -> None:
    (folder / "weights.pt").write_bytes((folder / "weights.pt").read_bytes()[:200])


def empty(folder: Path) -> None:
    (folder / "weights.pt").write_bytes(b"")


def mixed(folder: Path) -> None:
    make_estimator(lags=3).train(waves()).serialize(folder / "other")
    (folder / "other" / "predictor.json").replace(folder / "predictor.json")


@pytest.mark.parametrize("damage", [missing, cut, empty, mixed])
def test_half_a_predictor_is_refused(damage, tmp_path):
    make_estimator().train(waves()).serialize(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=r"expected a predictor: predictor.json and the weights"):
        Predictor.deserialize(tmp_path)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_forecasts_after_training_in_another_precision(precision):
    predictor = make_estimator(trainer_kwargs={"precision": precision}).train(waves())
    assert np.isfinite(arrays(predictor.predict(waves()))).all()


def test_samples_do_not_depend_on_the_batch_and_differ_between_series():
    data = [waves(1)[0] | {"item_id": name} for name in "abc"]
    predictor = make_estimator(forecasts=AsSamples(4), batch_size=1).train(data)
    alone = [x.samples for x in predictor.predict(data)]
    predictor.batch_size = 3
    together = [x.samples for x in predictor.predict(data)]
    assert all(np.allclose(x, y, rtol=1e-4) for x, y in zip(alone, together, strict=True))
    assert not np.allclose(alone[0], alone[1], rtol=1e-4)


def test_names_of_features_and_series_outlive_batches():
    def frames(order: list[str]) -> PandasDataset:
        index = pd.period_range("2003-01", periods=36, freq="M")
        frame = pd.DataFrame({"target": np.nan, "price": 1.0, "count": 2.0}, index=index)
        frame.iloc[:30, 0] = np.arange(30.0)
        many = {str(i): frame for i in range(3)}
        return PandasDataset(many, feat_dynamic_real=order, future_length=6)

    predictor = make_estimator(batch_size=2).train(frames(["price", "count"]))
    assert len(list(predictor.predict(frames(["price", "count"])))) == 3
    with pytest.raises(InputError, match="covariates, known"):
        list(predictor.predict(frames(["count", "price"])))
    assert len(list(predictor.predict(list(frames(["price", "count"]))))) == 3, "without names"
    nameless = make_estimator().train(list(frames(["price", "count"])))
    assert len(list(nameless.predict(frames(["price", "count"])))) == 3
    unnamed = [{key: x for key, x in e.items() if key != "item_id"} for e in waves()]
    plain = make_estimator(batch_size=2).train(unnamed)
    assert [x.item_id for x in plain.predict(unnamed)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "options", [{"prediction_length": 3}, {"output": Gaussian()}, {"hidden_size": 4}], ids=str
)
def test_training_goes_on_only_from_a_predictor_of_the_same_make(options):
    first = make_estimator().train(waves())
    with pytest.raises(InputError):
        make_estimator(**options).train_from(first, waves())


@pytest.mark.parametrize(
    "options", [{"max_steps": 0}, {"prediction_length": 0}, {"batch_size": 0}], ids=str
)
def test_numbers_that_are_too_small_are_refused(options):
    with pytest.raises(InputError, match="at least 1, got 0"):
        make_estimator(**options)


def test_data_of_another_frequency_is_refused():
    data = from_gluonts(waves(freq="D"))
    with pytest.raises(InputError, match=r"freq: expected D as in the data, got M"):
        make_estimator().train(data)


def test_the_public_names_are_an_estimator_and_a_predictor_of_gluonts():
    estimator = forecast.ParaRNNEstimator("M", prediction_length=6, **TINY)
    assert isinstance(estimator, Estimator)
    predictor = estimator.train(waves())
    assert isinstance(predictor, Predictor) and type(predictor) is forecast.ParaRNNPredictor
