"""Output that is not finite is refused, with the series, prompt or row, in one line."""

import math

import pytest
import torch
from forecast.estimators import make_estimator, waves
from language.models import document, greedy
from training.sick import SLICES, make_slice, make_trainer

from paratime.errors import InputError, NotFinite
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.series import Collection
from paratime.forecast.evaluation.backtest import backtest
from paratime.forecast.fitting.holdout import hold_out
from paratime.forecast.inference.direct import forecast
from paratime.forecast.inference.forecast_type import AsDistribution, AsQuantiles, AsSamples
from paratime.forecast.inference.sample_paths import sample_paths
from paratime.forecast.model.outputs import (
    Gaussian,
    Mixture,
    NegativeBinomial,
    Quantiles,
    StudentT,
)
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.forecaster import Forecaster
from paratime.layers.encoder import Encoder
from paratime.world.planning.planners import Agent, RandomShooting

OUTPUTS = (Quantiles(), StudentT(), Gaussian(), NegativeBinomial(), Mixture())


def spoiled(task: torch.nn.Module) -> torch.nn.Module:
    for parameter in task.parameters():
        parameter.data.fill_(math.nan)
    return task.eval()


def refused(pattern, function, *arguments, **options):
    with pytest.raises(InputError, match=pattern) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("name", SLICES)
def test_predictions(name, tmp_path):
    task, data = make_slice(name, tmp_path)
    task.specify(task.spec if task.is_built else data.spec)
    trainer = make_trainer(tmp_path)
    refused("of batch 0 (window|episode) 0", trainer.predict, spoiled(task), data)


def fitted(output) -> tuple[ForecastTask, Collection]:
    data = SeriesData(_source(output), 6)
    encoder = Encoder(8, 1, mlp_size=8)
    return spoiled(ForecastTask(encoder, data.spec, output=output)), data.collection


def _source(output):
    from forecast.sources import Waves

    return Waves(counts=isinstance(output, NegativeBinomial))


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda x: type(x).__name__)
def test_forecasts(output):
    task, data = fitted(output)
    kinds = [AsQuantiles(), AsSamples(3)] + [AsDistribution()] * (output != Quantiles())
    for kind in kinds:
        refused(
            "^forecast of series 'wave 0' and 3 more: ", lambda k=kind: [*forecast(task, data, k)]
        )
    refused("^forecast of series 'wave 0' and", backtest, task, data, windows=1)
    refused("step 1 of the paths of series 'wave 0': ", lambda: [*sample_paths(task, data, 2)])


def test_streams():
    task, data = fitted(Quantiles())
    stream = Forecaster(task)
    stream.observe(data)
    known = torch.zeros(6, 2).numpy()
    refused("^forecast of series 'wave 1': ", stream.predict, "wave 1", known)


def test_a_network_whose_forecasts_are_not_finite_never_scores_best():
    task, data = fitted(Quantiles())
    held = hold_out(data, 6)
    assert held is not None and held.loss(task) == math.inf
    with pytest.raises(NotFinite):
        held.calibrate(task, 1)


@pytest.mark.parametrize("options", ({}, {"trainer_kwargs": {"gradient_clip_val": None}}))
@pytest.mark.parametrize("steps", (3, 40))
def test_a_forecaster_that_diverges_is_none(options, steps, caplog):
    caplog.set_level("ERROR", "paratime")
    estimator = make_estimator(lr=1e30, max_steps=steps, **options)
    refused("training: expected finite losses and gradients", estimator.train, waves())


def test_text(tmp_path):
    from paratime.language.evaluation.evaluate import log_likelihoods

    task, _ = make_slice("language", tmp_path)
    spoiled(task)
    refused("^logits of token 1 after prompt 'to be'", greedy, task, "to be", 3)
    refused("^logits of document 0: ", log_likelihoods, task, [document("to be")])


def test_plans(tmp_path):
    task, data = make_slice("world", tmp_path)
    task.specify(data.spec)
    agent = Agent(spoiled(task).network, RandomShooting(4, 8), discrete=False)
    refused("^returns of rollouts at step 0: ", agent.act, torch.zeros(2))
