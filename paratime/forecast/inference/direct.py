"""Forecasts after the end of each series, by a trained task."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gluonts.model.forecast import Forecast

from paratime.errors import check_at_least
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.features import check_ahead, match_features
from paratime.forecast.data.series import Collection
from paratime.forecast.data.windows import placed, to_tensors, with_origins
from paratime.forecast.inference.forecast_type import (
    AsQuantiles,
    ForecastType,
    finite_forecasts,
)

if TYPE_CHECKING:
    from paratime.forecast.model.task import ForecastTask
    from paratime.forecast.model.trained import ForecastModel

STEPS = 2**17
"""Most steps of a batch of several series; memory is proportional to them."""


def forecast(
    task: "ForecastTask | ForecastModel",
    data: Collection,
    kind: ForecastType = AsQuantiles(),  # noqa: B008 (frozen)
    *,
    batch_size: int = 32,
) -> Iterator[Forecast]:
    """Yield a forecast from the end of each series.

    Args:
        task: A trained task.
        data: Series like those of the training; where the task has covariates that are known
            ahead, they continue for ``prediction_length`` steps after the target.
        kind: Type of the forecasts.
        batch_size: Most series a batch; fewer if they are long.

    Raises:
        InputError: A series differs in kind from those of training, or its forecast is infinite or
            NaN.
    """
    check_at_least(1, batch_size=batch_size)
    kind.check(task.network.output)
    entries = match_features(data, task.spec).entries
    check_ahead(entries, task.spec.prediction_length)
    batch: list[dict[str, Any]] = []
    for entry in entries:
        if batch and (len(batch) == batch_size or _steps([*batch, entry]) > STEPS):
            yield from _forecast(task, batch, kind)
            batch = []
        batch.append(entry)
    yield from _forecast(task, batch, kind)


def _steps(entries: list[dict[str, Any]]) -> int:
    return sum(entry["target"].shape[-1] for entry in entries)


@torch.inference_mode()
def _forecast(
    task: "ForecastTask | ForecastModel", entries: list[dict[str, Any]], kind: ForecastType
) -> list[Forecast]:
    entries = [entry if entry["target"].size else _unobserved(entry) for entry in entries]
    standard, length = task.spec.standard, task.spec.prediction_length
    series = [to_tensors(entry, standard, length) for entry in entries]
    ends = [torch.tensor([len(x.target) - 1]) for x in series]
    batch = with_origins(series, ends, length)
    raw, loc, scale = task.eval()(placed(batch, task.network.skip))
    with quiet_periods():
        starts = [entry["start"] + entry["target"].shape[-1] for entry in entries]
    origins = [(e["item_id"], start) for e, start in zip(entries, starts, strict=True)]
    output = task.network.output
    found = finite_forecasts(kind, output, raw=raw, loc=loc, scale=scale, origins=origins)
    for one, entry in zip(found, entries, strict=True):
        one.info = entry.get("info")
    return found


def _unobserved(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an empty series as one with a single step, the one before, that is missing."""

    def before(rows: np.ndarray) -> np.ndarray:
        first = rows[:, :1] if rows.shape[1] else np.zeros((len(rows), 1), np.float32)
        return np.concatenate([first, rows], axis=1)

    target = np.full((*entry["target"].shape[:-1], 1), np.nan)
    dynamic = {key: before(entry[key]) for key in ("feat_dynamic_real", "past_feat_dynamic_real")}
    with quiet_periods():
        return entry | {"start": entry["start"] - 1, "target": target} | dynamic
