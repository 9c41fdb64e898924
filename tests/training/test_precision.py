"""Models of any precision: what stays exact in them, and scores in half precision."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from forecast.model.test_task import make_task as forecast_task
from forecast.sources import Waves
from hypothesis import given, settings
from hypothesis import strategies as st
from language.runs import make_data as texts
from language.runs import make_task as language_task
from lightning.pytorch import Trainer
from torch import nn
from torchmetrics import Metric
from world.trajectories import echo
from world.trajectories import make_data as trajectories

from paratime import Encoder
from paratime.cli.parser import Parser
from paratime.errors import InputError
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.series import Collection
from paratime.forecast.model.calibration import Calibration
from paratime.forecast.model.metrics import ForecastScores
from paratime.language.model.metrics import LanguageScores
from paratime.ops.precision import KeepsPrecision
from paratime.testing import TOLERANCE
from paratime.training.base import DataModule, Task
from paratime.world.data.datamodule import TrajectoryData
from paratime.world.data.sources.base import InMemory, Recording
from paratime.world.model.task import DynamicsTask, WorldTask

LEVEL = 1e6
"""Of series: in half precision, all values of one are the same."""


@dataclass(frozen=True)
class High(Waves):
    """Series whose level is far above their variation."""

    def read(self) -> Collection:
        found = super().read()
        raised = [{**x, "target": x["target"].astype("float64") + LEVEL} for x in found.entries]
        return replace(found, entries=raised)


def language(folder) -> tuple[Task, DataModule]:
    return language_task(), texts(folder)


def forecast(_) -> tuple[Task, DataModule]:
    data = SeriesData(High(), batch_size=10)
    task = forecast_task(data)
    horizon, remembered = data.spec.prediction_length, task.network.remembered
    task.network.calibration = Calibration(horizon, remembered)
    nn.init.normal_(task.network.direct.weight, std=0.1)
    return task, data


def dynamics(_) -> tuple[Task, DataModule]:
    data = trajectories()
    return DynamicsTask(Encoder(8, 1, mlp_size=8), data.spec, overshoot=2, horizon=4), data


def latent(_) -> tuple[Task, DataModule]:
    data = trajectories()
    return WorldTask(Encoder(8, 1, mlp_size=8), data.spec, horizon=4, context=2), data


def images(_) -> tuple[Task, DataModule]:
    episodes = tuple(echo("image", steps=6, seed=seed) for seed in range(20))
    data = TrajectoryData(InMemory(Recording(episodes)), sequence_length=4, batch_size=4)
    return WorldTask(Encoder(8, 1, mlp_size=8), data.spec, horizon=3, context=2), data


COUNTED = ("val/coverage_80", "val/cont_auroc")
"""Shares of a few cases, which differ by a whole one."""

SLICES = (language, forecast, dynamics, latent, images)


def exact_parts(module: nn.Module) -> list[torch.Tensor]:
    """Return what is no parameter: buffers, and sums of metrics with the values they restart at."""
    found = [*module.buffers()]
    for metric in (m for m in module.modules() if isinstance(m, Metric)):
        states = [*metric.metric_state.values(), *metric._defaults.values()]
        found += [x for state in states for x in (state if isinstance(state, list) else [state])]
    return found


CONVERSIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "half": lambda m: m.half(),
    "bfloat16": lambda m: m.bfloat16(),
    "float": lambda m: m.float(),
    "double": lambda m: m.double(),
    "to": lambda m: m.to(torch.bfloat16),
    "to both": lambda m: m.to("cpu", torch.float16),
    "type": lambda m: m.type(torch.bfloat16),
}


@pytest.mark.parametrize("slice_of", SLICES, ids=lambda f: f.__name__)
def test_conversions_round_parameters_alone(slice_of, tmp_path):
    made = slice_of(tmp_path)[0]

    @settings(deadline=None, max_examples=15, derandomize=True)
    @given(st.lists(st.sampled_from([*CONVERSIONS]), min_size=1, max_size=4))
    def check(names: list[str]) -> None:
        task = copy.deepcopy(made)
        for parameter in task.parameters():
            parameter.grad = torch.ones_like(parameter)
        before = [x.clone() for x in exact_parts(task)]
        for name in names:
            CONVERSIONS[name](task)
        after = exact_parts(task)
        assert before and len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            assert new.itemsize >= old.itemsize and torch.equal(old.to(new.dtype), new)
        assert len({x.dtype for p in task.parameters() for x in (p, p.grad)}) == 1

    check()


def test_everything_that_is_exact_keeps_its_precision():
    classes = Parser().known_classes()
    modules = {c for c in classes if issubclass(c, nn.Module)}
    holders = {c for c in modules if "register_buffer" in inspect.getsource(c)}
    metrics = {c for c in classes if issubclass(c, Metric)}
    assert len(holders) > 2 and len(metrics) > 6
    assert not {c for c in holders | metrics if not issubclass(c, KeepsPrecision)}


@pytest.mark.parametrize("half", (torch.bfloat16, torch.float16), ids=str)
def test_sums_of_a_converted_metric_are_exact(half):
    language, forecast = LanguageScores().to(half), ForecastScores().to(half)
    quantiles, target = torch.rand(50, 9).sort(-1).values, torch.rand(50)
    for _ in range(2):  # the sums begin again after a reset, as precise
        plain, other = LanguageScores(), ForecastScores()
        for scores in (language, plain):
            for _ in range(400):
                scores.update(torch.full((500,), 5.5), torch.tensor([700, 1]))
        for scores in (forecast, other):
            for _ in range(400):
                scores.update(quantiles, target)
        assert language.compute() == plain.compute()
        assert forecast.compute() == other.compute()
        language.reset()
        forecast.reset()


@pytest.mark.parametrize("slice_of", SLICES, ids=lambda f: f.__name__)
def test_scores_in_half_precision_are_those_of_the_model(slice_of, tmp_path):
    """They differ as much as the weights are rounded, and not by what is summed of them."""
    task, data = slice_of(tmp_path)
    precisions = {"bf16-true": torch.bfloat16, "16-true": torch.float16}
    names = ("32-true", *precisions)
    found = {name: validated(copy.deepcopy(task), data, name) for name in names}
    for precision, dtype in precisions.items():
        for name, value in found["32-true"].items():
            if name in COUNTED:
                continue
            allowed = TOLERANCE[dtype].value * max(1, abs(value))
            assert found[precision][name] == pytest.approx(value, abs=allowed), name


def validated(task: Task, data: DataModule, precision: str) -> dict[str, float]:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(precision=precision, enable_checkpointing=False, accelerator="cpu", **quiet)
    return dict(trainer.validate(task, data, verbose=False)[0])


def test_training_in_float16_is_refused(tmp_path):
    task, data = language(tmp_path)
    trainer = Trainer(precision="16-true", max_steps=1, logger=False, enable_checkpointing=False)
    with pytest.raises(InputError, match="precision: expected 32-true, 16-mixed or bf16-true"):
        trainer.fit(task, data)
