"""Forecasts of what comes after the end of each series, by a trained task."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import Forecast

from paratime.errors import check_at_least
from paratime.forecast.data.calendar import quiet
from paratime.forecast.data.features import check_ahead, matched
from paratime.forecast.data.series import Collection
from paratime.forecast.data.windows import Standard, prepare, with_origins
from paratime.forecast.inference.forecast_type import AsQuantiles, Kind
from paratime.forecast.model.task import ForecastTask

STEPS = 2**17
"""Most steps of a batch of several series, as memory goes with them."""


def forecast(
    task: ForecastTask,
    data: Collection,
    kind: Kind = AsQuantiles(),  # noqa: B008 (frozen)
    *,
    batch_size: int = 32,
) -> Iterator[Forecast]:
    """Yield a forecast from the end of each series.

    Args:
        task: A trained task.
        data: Series like those of the training; where the task has covariates that are known
            ahead, they go on for ``prediction_length`` steps after the target.
        kind: Which of GluonTS's forecasts are made.
        batch_size: Series a batch, at most; fewer long ones.

    Raises:
        InputError: A series is unlike those of the training.
    """
    check_at_least(1, batch_size=batch_size)
    entries = matched(data, task.series)
    check_ahead(entries, task.series["prediction_length"])
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
def _forecast(task: ForecastTask, entries: list[dict[str, Any]], kind: Kind) -> list[Forecast]:
    entries = [entry if entry["target"].size else _unobserved(entry) for entry in entries]
    standard, length = Standard(**task.series["standard"]), task.series["prediction_length"]
    series = [prepare(entry, standard, length) for entry in entries]
    ends = [torch.tensor([len(x.target) - 1]) for x in series]
    batch = with_origins(series, ends, length)
    raw, loc, scale = task.eval()({key: x.to(task.device) for key, x in batch.items()})
    with quiet():
        starts = [entry["start"] + entry["target"].shape[-1] for entry in entries]
    origins = [(e["item_id"], start) for e, start in zip(entries, starts, strict=True)]
    return list(kind(task.network.output, raw, loc, scale, origins))


def _unobserved(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a series without steps as one whose only step, the one before, is missing."""

    def before(rows: np.ndarray) -> np.ndarray:
        first = rows[:, :1] if rows.shape[1] else np.zeros((len(rows), 1), np.float32)
        return np.concatenate([first, rows], axis=1)

    target = np.full((*entry["target"].shape[:-1], 1), np.nan, np.float32)
    dynamic = {key: before(entry[key]) for key in ("feat_dynamic_real", "past_feat_dynamic_real")}
    with quiet():
        return entry | {"start": entry["start"] - 1, "target": target} | dynamic
