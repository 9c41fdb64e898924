"""Training in pieces: the gradients of one pass, and memory that does not grow with the history."""

import pytest
import torch
from forecast.backtests import H, series
from forecast.estimators import make_estimator, waves
from torch import Tensor, nn

from paratime import Encoder, ParaGRU, ParaLSTM
from paratime.baselines import Mamba, Mamba2, MinGRU, TorchGRU
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import CovariateScaler, to_tensors, with_origins
from paratime.forecast.model.outputs import Output, Quantiles, StudentT
from paratime.forecast.model.pieces import pieces_of
from paratime.forecast.model.task import ForecastTask
from paratime.testing import TOLERANCE

LARGEST = "paratime.forecast.model.pieces.LARGEST"
MIXERS = (ParaGRU, ParaLSTM, TorchGRU, Mamba, Mamba2, MinGRU)
LENGTHS = (29, 2, 17, 40, 8)


def task_of(mixer, output: Output, channels: int) -> tuple[ForecastTask, dict[str, Tensor]]:
    """Return a task, and a batch of its series with all kinds of features and missing values."""
    data = series(channels, LENGTHS)
    spec = SeriesSpec.describe(data, H, CovariateScaler.of(data.entries))
    task = ForecastTask(Encoder(8, 2, mixer, mlp_size=8), spec, output, decoder_size=4).double()
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.2)
    task.log = lambda *args, **kwargs: None
    tensors = [to_tensors(e, spec.standard, H) for e in data.entries]
    origins = [torch.randperm(len(x.target))[:9] for x in tensors]
    batch = with_origins(tensors, origins, H)
    inputs = ("known", "past", "static_real", "future")
    return task, batch | {name: batch[name].double() for name in inputs}


def gradients(task: ForecastTask, batch: dict[str, Tensor]) -> list[Tensor]:
    loss = task.training_step(batch, 0)
    return [loss, *torch.autograd.grad(loss, [*task.parameters()])]


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda x: x.__name__)
def test_gradients_in_pieces_are_those_of_one_pass(mixer, monkeypatch):
    output = StudentT() if mixer is ParaLSTM else Quantiles()
    task, batch = task_of(mixer, output, channels=1 + (mixer is ParaGRU))
    whole = gradients(task, batch)
    for steps, origins in ((7, 5), (13, 1), (1000, 9)):
        largest = steps * task.network.step_bytes
        monkeypatch.setattr(LARGEST, largest)
        each = property(lambda _, size=largest // origins: size)
        monkeypatch.setattr(type(task.network), "origin_bytes", each)
        for found, expected in zip(gradients(task, batch), whole, strict=True):
            allowed = TOLERANCE[torch.float64].gradient * expected.abs().max()
            assert (found - expected).abs().max() <= allowed


def test_evaluation_and_memories_in_pieces_are_those_of_one_pass(monkeypatch):
    task, batch = task_of(ParaGRU, Quantiles(), 1)
    task.eval()
    with torch.inference_mode():
        found = [task(batch)]
        monkeypatch.setattr(LARGEST, 5 * task.network.step_bytes)
        found.append(task(batch))
    for whole, pieces in zip(*found, strict=True):
        assert (whole - pieces).abs().max() <= TOLERANCE[torch.float64].value


def kept(steps: int) -> int:
    """Return the bytes that are saved for the backward pass of a series, pieces left aside."""
    task, _ = task_of(ParaGRU, Quantiles(), 1)
    data = series(1, (steps,))
    tensors = [to_tensors(e, task.spec.standard, H) for e in data.entries]
    batch = with_origins(tensors, [torch.arange(0, steps, 32)], H)
    inputs = ("known", "past", "static_real", "future")
    batch |= {name: batch[name].double() for name in inputs}
    sizes = {}

    def pack(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        task.training_step(batch, 0).backward()
    return sum(sizes.values())


def test_what_the_backward_pass_keeps_does_not_grow_with_the_history(monkeypatch):
    whole = kept(2000)
    monkeypatch.setattr(LARGEST, 2**17)
    short, long = kept(1000), kept(2000)
    assert long - short < 1000 * 100 < whole / 10


@pytest.mark.parametrize(("count", "each"), ((0, 5), (1, 2**40), (9, 2**29), (9, 1), (8, 2**30)))
def test_pieces_cover_all_within_their_size(count, each):
    pieces = pieces_of(count, each)
    assert [i for x in pieces for i in range(count)[x]] == [*range(count)]
    assert all((x.stop - x.start) * each <= max(2**31, each) for x in pieces)
    assert len(pieces) == 1 or count * each > 2**31


def test_the_memory_of_training_is_reported_when_it_is_much(monkeypatch, caplog):
    estimator, data = make_estimator(max_steps=1), waves(3, 60)
    estimator.train(data)
    assert not caplog.messages
    monkeypatch.setattr("paratime.forecast.model.task.WORTH_A_NOTE", 0)
    estimator.train(data)
    assert {*caplog.messages} == {"training takes about 0.0 GB of memory"}


def test_the_estimate_is_bounded():
    network = task_of(ParaGRU, Quantiles(), 1)[0].network
    estimates = [network.training_bytes(10**k, 10**k) for k in range(3, 12)]
    assert estimates == sorted(estimates) and estimates[-1] <= 2**32
