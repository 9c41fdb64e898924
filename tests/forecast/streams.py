"""Models and series to stream, and what one pass says of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from forecast.tables import frame_of
from torch import nn

from paratime import Attention, Encoder, ParaLSTM
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.table import read_table
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.data.windows import CovariateScaler, to_tensors, with_origins
from paratime.forecast.model.outputs import Gaussian, Quantiles
from paratime.forecast.model.task import ForecastTask
from paratime.forecast.streaming.forecaster import Forecaster
from paratime.testing import TOLERANCE

H = 4
LEVELS = (0.05, 0.5, 0.9)
ALL = {
    "target": ["target", "second"],
    "known": ["price", "holiday"],
    "past": ["count"],
    "static_real": ["size"],
    "static_cat": ["kind"],
}


@dataclass(frozen=True)
class Case:
    """A model, and series that it was trained on."""

    data: Collection
    task: ForecastTask

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.data.entries)

    def first(self, steps: int) -> list[dict[str, Any]]:
        """Return the beginnings of all series; their known covariates go on."""
        return [
            e | {key: e[key][..., :steps] for key in ("target", "past_feat_dynamic_real")}
            for e in self
        ]

    def covariates(self, entry: dict[str, Any], step: int) -> dict[str, Any]:
        known, past = entry["feat_dynamic_real"], entry["past_feat_dynamic_real"]
        return {"known": known[:, step], "past": past[:, step]}

    def update(self, forecaster: Forecaster, entry: dict[str, Any], step: int) -> int:
        value = entry["target"][..., step]
        value = float(value) if value.ndim == 0 else value.tolist()
        with quiet_periods():
            time = entry["start"] + step
        return forecaster.update(entry["item_id"], time, value, self.covariates(entry, step))

    def future(self, entry: dict[str, Any], step: int) -> Any:
        return entry["feat_dynamic_real"][:, step + 1 : step + 1 + H].T

    def one_pass(self, entry: dict[str, Any]) -> np.ndarray:
        """Return the quantiles (T, H, C, levels) from all steps."""
        series = to_tensors(entry, self.task.spec.standard, H)
        batch = with_origins([series], [torch.arange(len(series.target))], H)
        like = next(self.task.parameters())
        batch = {k: x.to(like.dtype) if x.is_floating_point() else x for k, x in batch.items()}
        with torch.no_grad():
            return self.task.quantiles(batch, LEVELS).numpy()

    def predict(self, forecaster: Forecaster, entry: dict[str, Any], step: int) -> np.ndarray:
        """Return the quantiles (H, C, levels) from the last step."""
        made = forecaster.predict(entry["item_id"], self.future(entry, step), LEVELS)
        with quiet_periods():
            assert made.start_date == entry["start"] + step + 1
        found = np.stack([made.quantile(level) for level in LEVELS], axis=-1)
        return found.reshape(H, -1, len(LEVELS))


def case(freq="h", steps=30, dtype=torch.float64, *, encoder=None, output=None, **columns) -> Case:
    data = read_table(frame_of(freq, steps), **columns)
    for entry in data.entries:
        entry["target"][..., 5:8] = np.nan
        np.atleast_2d(entry["target"])[0, 12:15] = np.nan
    return Case(data, model(data, dtype, encoder, output))


def model(data: Collection, dtype=torch.float64, encoder=None, output=None) -> ForecastTask:
    torch.manual_seed(1)
    encoder, output = encoder or Encoder(8, 2, mlp_size=8), output or Quantiles()
    facts = SeriesSpec.describe(data, H, CovariateScaler.of(data.entries))
    task = ForecastTask(encoder, facts, output=output, lags=10, window=9, dropout=0.5)
    for parameter in task.parameters():
        nn.init.normal_(parameter, std=0.2)
    return task.to(dtype).eval()


CASES = {
    "plain": lambda dtype: case(dtype=dtype),
    "all": lambda dtype: case(dtype=dtype, **ALL),
    "lstm": lambda dtype: case(
        "D", dtype=dtype, encoder=Encoder(8, 1, ParaLSTM), output=Gaussian(), known=["price"]
    ),
    "attention": lambda dtype: case(
        dtype=dtype, encoder=Encoder(8, 1, partial(Attention, window=6), mlp_size=8)
    ),
    "past": lambda dtype: case("15min", dtype=dtype, past=["count", "holiday"]),
}


def close(found: np.ndarray, truth: np.ndarray, dtype: torch.dtype) -> None:
    assert np.isfinite(truth).all()
    allowed = TOLERANCE[dtype].value * (1 + np.abs(truth))
    assert (np.abs(found - truth) <= allowed).all(), np.abs(found - truth).max()
