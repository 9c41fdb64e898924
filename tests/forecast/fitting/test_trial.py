"""When a trial stops, and what it keeps."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.estimators import make_estimator, waves
from lightning.pytorch.callbacks import EarlyStopping, Timer

from paratime.forecast import ParaRNNEstimator, backtest, from_gluonts, seasonal_naive
from paratime.forecast.data.series import until
from paratime.forecast.fitting.trial import Trial, due
from paratime.forecast.model.task import ForecastTask


class Losses:
    """Held-out windows with given losses."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = iter(losses)

    def loss(self, task: ForecastTask) -> float:
        return next(self.losses)


def steps_of(losses: dict[int, float]) -> tuple[Trial, int]:
    """Return a trial with losses by step, and the step at which it stopped."""
    trial = Trial(Losses([*losses.values()]))
    task = make_estimator().train(waves()).task
    task.log = lambda *_: None
    trainer = SimpleNamespace(
        estimated_stepping_batches=max(losses), should_stop=False, global_step=0
    )
    trial.on_train_start(trainer, task)
    trial._due = {*losses}
    for step in losses:
        trainer.global_step = step
        with torch.no_grad():
            task.network.skip.fill_(step)
        trial.on_train_batch_end(trainer, task)
        if trainer.should_stop:
            break
    return trial, trainer.global_step


@pytest.mark.parametrize(
    "losses, kept, stopped",
    [
        ({5: 3.0, 10: 2.0, 20: 3.1, 29: 3.6, 30: 3.7, 40: 0.1}, 10, 30),
        ({5: 2.0, 10: 2.0, 20: 2.01, 30: 2.09, 40: 2.11, 90: 2.2, 100: 2.2}, 30, 90),
        ({5: 3.0, 10: 2.0, 20: 1.0, 40: 2.0, 80: 2.5}, 40, 80),
        ({5: float("inf"), 10: float("inf")}, 10, 10),
        ({5: 1.0}, 5, 5),
    ],
)
def test_the_last_of_equal_scores_is_kept_and_worse_ones_end_it(losses, kept, stopped):
    trial, last = steps_of(losses)
    assert (trial.steps, last) == (kept, stopped)
    assert (trial.weights["network.skip"] == kept).all()


@pytest.mark.filterwarnings("ignore:.*(limit_train_batches|max_steps|max_epochs)=0")
@pytest.mark.parametrize(
    "options, steps",
    [
        ({"callbacks": [EarlyStopping("train/loss", patience=1, min_delta=99.0)]}, 2),
        ({"callbacks": [Timer({"seconds": 0}, interval="step")]}, 0),
        ({"max_time": {"seconds": 0}}, 0),
        ({"limit_train_batches": 0}, 0),
        ({"max_epochs": 3}, 3),
        ({"fast_dev_run": True}, 1),
    ],
)
def test_a_training_that_ends_early_is_scored_and_the_next_one_is_as_long(options, steps):
    predictor = make_estimator(max_steps=8, trainer_kwargs=options).train(waves())
    assert predictor.selection.steps == steps
    assert predictor.task.network.calibration.evidence.steps == steps
    if steps:
        assert predictor.task.trainer.global_step == steps


@pytest.mark.parametrize("saved, stops", [(2, False), (3, True)])
def test_a_trial_that_was_saved_at_its_end_stays_ended(saved, stops):
    trial, _ = steps_of({1: 1.0, 2: 2.0, 3: 3.0} if saved == 3 else {1: 1.0, 2: 2.0})
    again = Trial(Losses([]))
    again.load_state_dict(trial.state_dict())
    trainer = SimpleNamespace(estimated_stepping_batches=9, should_stop=False)
    again.on_train_start(trainer, None)
    assert trainer.should_stop == stops


def test_scores_are_due_from_the_first_steps_to_the_last():
    assert max(due(300)) == 300 and min(due(300)) == 5 and len(due(300)) == 24
    assert due(1) == {1} and max(due(7)) == 7


def noise(steps, random):
    return random.normal(100, 10, steps)


def growth(steps, random):
    t = np.arange(steps)
    return (100 + 2 * t) * (1 + 0.2 * np.sin(2 * np.pi * t / 12)) * random.normal(1, 0.03, steps)


def season(steps, random):
    t = np.arange(steps)
    return 50 + 10 * np.sin(2 * np.pi * t / 12) + random.normal(0, 3, steps)


def walk(steps, random):
    return 100 + random.normal(size=steps).cumsum()


@pytest.mark.parametrize("kind", [noise, growth, season, walk])
def test_small_data_is_not_memorised(kind):
    random = np.random.default_rng(0)
    entries = [
        {"item_id": str(i), "start": pd.Period("2000-01", "M"), "target": kind(144, random)}
        for i in range(2)
    ]
    data = from_gluonts(entries)
    before = [until(entry, 144 - 24) for entry in data.entries]
    predictor = ParaRNNEstimator("M", 12, hidden_size=32, num_layers=1).train(before)
    found = backtest(predictor.task, data, windows=2)
    scores, naive = found.overall, seasonal_naive(found.windows).overall
    assert scores["mean_wQL"] < 1.15 * naive["mean_wQL"]
    assert scores["coverage_80"] > 0.55, "intervals are too narrow"
