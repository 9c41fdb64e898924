"""Intervals as wide as what training has not seen says."""

import numpy as np
import pytest
import torch
from estimators import make_estimator, waves
from torch import nn

from paratime import Encoder
from paratime.forecast.backtest import backtest
from paratime.forecast.calibration import LEAST, MOST, calibrate, calibration_windows
from paratime.forecast.data import SeriesData
from paratime.forecast.outputs import Gaussian, Mixture, Quantiles, StudentT
from paratime.forecast.predictor import ParaRNNPredictor
from paratime.forecast.series import from_gluonts
from paratime.forecast.sources import InMemory
from paratime.forecast.task import ForecastTask

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # GluonTS's use of pandas

LEVELS = (0.1, 0.5, 0.9)
OUTPUTS = (Quantiles(), StudentT(), Gaussian(), Mixture(), Quantiles(squash=True))


def data(steps: int = 300, windows: int = 10) -> SeriesData:
    source = InMemory(from_gluonts(waves(2, steps), "M"))
    return SeriesData(source, 6, validation_windows=windows, test_windows=0)


def make_task(series: SeriesData, output) -> ForecastTask:
    torch.manual_seed(1)
    task = ForecastTask(Encoder(8, 1, mlp_size=8), series.facts["series"], output).eval()
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.3)
    return task


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_a_factor_stretches_around_the_median_alone(output):
    series = data()
    task, (batch,) = make_task(series, output), list(series.val_dataloader())
    plain = task.quantiles(batch, LEVELS)
    task.network.stretch.fill_(1.7)
    found, middle = task.quantiles(batch, LEVELS), plain[..., 1:2]
    factor = 1.7 if output.affine else 1.0
    torch.testing.assert_close(found, middle + factor * (plain - middle), rtol=1e-4, atol=1e-4)
    task.network.train()
    torch.testing.assert_close(task.quantiles(batch, LEVELS), plain)


@pytest.mark.parametrize("spread", (2.0, 20.0))
def test_the_central_80_percent_hold_80_percent_of_the_windows(spread):
    series = data()
    task = make_task(series, Quantiles())
    with torch.no_grad():
        task.network.direct.bias.unflatten(0, (6, 1, 9))[..., 1:] += np.log(spread)
    calibrate(task, series.val_dataloader())
    assert LEAST < task.network.stretch < MOST and abs(task.network.stretch - 1) > 0.05
    found = backtest(task, series.collection, windows=10).overall["coverage_80"]
    assert abs(found - 0.8) <= 1 / (2 * 10 * 6), "one value more or less"


def test_long_series_give_windows_and_short_ones_none():
    def windows(*lengths: int) -> int:
        (entry,) = waves(1, 1)
        entries = [entry | {"target": np.zeros(n)} for n in lengths]
        return calibration_windows(from_gluonts(entries, "M"), 6)

    assert windows(119) == 0 and windows(120) == 1 and windows(9999) == 28
    assert windows(9999, 300) == 2, "the shortest one decides"


def test_training_ends_before_the_windows_that_it_is_calibrated_on(tmp_path):
    known = waves(2, 300)
    changed = [x | {"target": x["target"].copy()} for x in known]
    for entry in changed:
        entry["target"][-12:] += 100
    trained, other = (make_estimator().train(x).task for x in (known, changed))
    for a, b in zip(trained.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert trained.network.stretch != 1 and other.network.stretch == MOST
    estimator = make_estimator()
    predictor = estimator.train(known)
    predictor.serialize(tmp_path)
    again = ParaRNNPredictor.deserialize(tmp_path)
    assert torch.equal(again.task.network.stretch, trained.network.stretch)
    gone_on = estimator.train_from(predictor, known).task.network
    assert gone_on.stretch != trained.network.stretch


def test_what_is_held_out_for_a_backtest_calibrates_nothing():
    series = data()
    part = series.split_off(3)
    assert [len(x["target"]) for x in part.collection.entries] == [240, 240]
    assert part.validation_windows == 3 and part.facts["series"]["held_out"] == 60
