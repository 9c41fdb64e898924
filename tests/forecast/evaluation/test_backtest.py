"""Backtests: one pass is what each origin alone would give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from forecast.backtests import LENGTHS, H, series
from torch import nn

from paratime import Encoder
from paratime.errors import InputError
from paratime.forecast.data.features import match_features
from paratime.forecast.data.series import Collection
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import CovariateScaler
from paratime.forecast.evaluation import backtest as module
from paratime.forecast.evaluation.backtest import backtest
from paratime.forecast.evaluation.rolling import rolling
from paratime.forecast.model.outputs import Output, Quantiles, StudentT
from paratime.forecast.model.task import ForecastTask
from paratime.testing import TOLERANCE

CLOSE = TOLERANCE[torch.float64].value


def make_task(data: Collection, output: Output = Quantiles()) -> ForecastTask:  # noqa: B008
    facts = SeriesSpec.describe(data, H, CovariateScaler.of(data.entries))
    task = ForecastTask(Encoder(16, 2, mlp_size=16), facts, output).double()
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.2)
    return task


def cut(data: Collection, steps: list[int], poison: float | None = None) -> Collection:
    """Cut series, or put an absurd value wherever only the future is."""
    entries = []
    for entry, known in zip(data.entries, steps, strict=True):
        if poison is None:
            target, past = entry["target"][..., :known], entry["past_feat_dynamic_real"][:, :known]
        else:
            target, past = entry["target"].copy(), entry["past_feat_dynamic_real"].copy()
            target[..., known:], past[:, known:] = poison, poison
        entries.append(entry | {"target": target, "past_feat_dynamic_real": past})
    return replace(data, entries=entries)


CASES = {"quantiles": (1, Quantiles()), "joint": (3, Quantiles()), "student": (1, StudentT())}


@pytest.mark.parametrize("case", CASES)
def test_one_pass_is_what_each_origin_alone_gives(case):
    channels, output = CASES[case]
    data = series(channels)
    task = make_task(data, output)
    found = backtest(task, data, windows=5, stride=4)
    w = found.windows
    assert len(w) == 5 + 5 + 1
    for row in range(len(w)):
        entry = data.entries[w.series[row]]
        known = int(w.origin[row]) + 1
        one = replace(data, entries=[entry | {"target": entry["target"][..., : known + H]}])
        alone = cut(one, [known], poison=1e6)
        again = backtest(task, alone, windows=1)
        assert np.abs(again.quantiles[0] - found.quantiles[row]).max() <= CLOSE
        assert np.abs(again.mean[0] - found.mean[row]).max() <= CLOSE
    assert np.isfinite(found.quantiles).all()


def test_what_comes_after_the_origins_changes_no_forecast():
    data = series()
    task = make_task(data)
    before = backtest(task, data, windows=2, stride=3)
    w = before.windows
    first = dict(zip(w.series[w.firsts].tolist(), w.origin[w.firsts].tolist(), strict=True))
    poisoned = cut(data, [first.get(i, -1) + 1 for i in range(len(LENGTHS))], poison=-1e7)
    after = backtest(task, poisoned, windows=2, stride=3)
    assert np.abs(after.quantiles - before.quantiles)[w.firsts].max() <= CLOSE
    assert np.abs(after.quantiles - before.quantiles).max() > 1, "later origins do see it"


def test_pieces_and_batches_change_nothing(monkeypatch):
    data = series()
    task = make_task(data)
    whole = backtest(task, data, windows=4, stride=2)
    monkeypatch.setattr(module, "PIECE", 1)
    pieces = backtest(task, data, windows=4, stride=2, batch_size=1)
    assert np.abs(whole.quantiles - pieces.quantiles).max() <= CLOSE
    assert task.training, "left as it was"


def test_the_history_is_read_once_for_all_origins():
    data = series()
    task = make_task(data)
    read: list[int] = []
    task.network.encoder.register_forward_hook(lambda _, x, y: read.append(x[0].shape[1]))
    backtest(task, data, windows=20, stride=1)
    assert read == [sum(n for n in LENGTHS if n > H)]


def test_unusable_windows_are_refused():
    with pytest.raises(InputError, match=r"series.*more than 60 steps.*at most 60.*longer"):
        rolling(series(), 60)
    for options in ({"windows": 0}, {"stride": 0}):
        with pytest.raises(InputError, match=r"at least 1, got 0"):
            rolling(series(), H, **options)
    data = series()
    with pytest.raises(InputError, match=r"batch_size.*at least 1"):
        backtest(make_task(data), data, windows=1, batch_size=0)
    with pytest.raises(InputError, match=r"levels.*between 0 and 1"):
        backtest(make_task(data), data, windows=1, levels=(0.3, 1.0))


def test_series_of_another_kind_are_refused_and_categories_go_by_name():
    data = series()
    trained = SeriesSpec.describe(data, H, CovariateScaler.of(data.entries))
    for other in (series(channels=2), replace(data, known=("a",)), replace(data, freq="D")):
        with pytest.raises(InputError, match="as in training"):
            match_features(other, trained)
    with pytest.raises(InputError, match="labels"):
        match_features(replace(data, categories={"other": ("even", "odd")}), trained)
    moved = match_features(
        replace(data, categories={"kind": ("new", "even", "odd")}), trained
    ).entries
    assert [e["feat_static_cat"].tolist() for e in moved] == [[-1], [0], [-1], [0]]
