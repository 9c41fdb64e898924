"""Blends and widths of forecasts, for every output."""

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.estimators import make_estimator, waves

from paratime.forecast import backtest, forecast, from_gluonts
from paratime.forecast.model.calibration import Calibration, Evidence, doubts
from paratime.forecast.model.outputs import Gaussian, Mixture, NegativeBinomial, Quantiles, StudentT
from paratime.forecast.streaming.forecaster import Forecaster

OUTPUTS = {
    "quantiles": Quantiles(),
    "squashed": Quantiles(squash=True),
    "median": Quantiles((0.5,)),
    "student": StudentT(),
    "normal": Gaussian(),
    "mixture": Mixture(2),
}


def drawn(output):
    """Return random parameters, a location and a scale of 3 forecasts of 5 steps and 2 channels."""
    raw = torch.randn(3, 5, 2, output.size)
    return raw, torch.randn(3, 1, 2).expand(3, 5, 2), torch.rand(3, 1, 2).expand(3, 5, 2) + 0.1


def quantiles(output, raw, loc, scale):
    return output.quantiles(raw, loc, scale, (0.1, 0.5, 0.9))


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_identity_changes_nothing(name):
    output = OUTPUTS[name]
    raw, loc, scale = drawn(output)
    moved = Calibration(5, 8)(output, raw, loc, scale, torch.randn(3, 8, 2))
    found, before = quantiles(output, raw, *moved), quantiles(output, raw, loc, scale)
    assert torch.allclose(found, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in OUTPUTS if n != "median"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_centre_and_width_are_blended_and_the_width_is_multiplied(name, weight):
    output = OUTPUTS[name]
    raw, loc, scale = drawn(output)
    recent = torch.randn(3, 8, 2)
    member, spread, factor = torch.randn(5, 8), torch.rand(5) + 0.5, torch.rand(5) + 0.5
    made = Calibration.of(member, spread, weight=weight, factor=factor)
    low, centre, high = quantiles(output, raw, loc, scale).unbind(-1)
    other = loc + scale * torch.einsum("hr,nrc->nhc", member, (recent - loc[:, :1]) / scale[:, :1])
    width = factor[:, None] * (weight * (high - low) / 2 + (1 - weight) * spread[:, None] * scale)
    found = quantiles(output, raw, *made(output, raw, loc, scale, recent)).unbind(-1)
    close = {"rtol": 1e-3, "atol": 1e-3}
    assert torch.allclose(found[1], weight * centre + (1 - weight) * other, **close)
    assert torch.allclose((found[2] - found[0]) / 2, width, **close)


def test_an_output_that_is_not_moved_stays_as_it_is():
    output = NegativeBinomial()
    raw, loc, scale = drawn(output)
    made = Calibration.of(torch.randn(5, 8), torch.ones(5))
    assert made(output, raw, loc, scale, torch.randn(3, 8, 2)) == (loc, scale)


@pytest.mark.parametrize(
    "output, text", [(NegativeBinomial(), "network"), (StudentT(), "100% naive")]
)
def test_what_nothing_could_be_held_out_for_is_named_as_it_forecasts(output, text):
    counts = [{"item_id": "a", "start": pd.Period("2000", "Y"), "target": [1.0, 2.0, 1.0]}]
    predictor = make_estimator(freq="Y", output=output).train(counts)
    ((name, found),) = predictor.selection.summary()
    assert name == "forecast" and found.endswith(text)


def test_every_way_to_forecast_is_calibrated(tmp_path):
    data = waves(4, 60)
    predictor = make_estimator().train(data)
    network = predictor.task.network
    assert network.calibration is not None
    predictor.serialize(tmp_path)
    again = type(predictor).deserialize(tmp_path)
    assert torch.equal(again.task.network.calibration.member, network.calibration.member)
    collection = from_gluonts(data)
    direct = np.stack([x.quantile(0.1) for x in forecast(predictor.task, collection)])
    stream = Forecaster(again.task)
    stream.observe(collection)
    streamed = [stream.predict(e["item_id"], levels=(0.1,)).quantile(0.1) for e in data]
    assert np.allclose(direct, np.stack(streamed), atol=1e-4)
    calibrated = backtest(predictor.task, collection, windows=2).quantiles
    network.calibration = None
    assert not np.allclose(calibrated, backtest(predictor.task, collection, windows=2).quantiles)


@pytest.mark.parametrize(
    "evidence, text",
    [
        (Evidence(), "not calibrated"),
        (Evidence(1, 0.1, 0.2, 0.8), "1 held-out window only"),
        (Evidence(3, 0.1, 0.2, 0.8), "3 held-out windows only"),
        (Evidence(50, 0.1, 0.2, 0.5), "50% of held-out values"),
        (Evidence(50, 0.3, 0.2, 0.8), "seasonal naive is better"),
        (Evidence(50, 0.1, 0.2, 0.8), ""),
    ],
)
def test_doubts(evidence, text):
    made = Calibration.of(torch.zeros(2, 8), torch.ones(2), evidence=evidence)
    assert text in doubts(made) and bool(text) == bool(doubts(made))
    assert "not calibrated" in doubts(None)
