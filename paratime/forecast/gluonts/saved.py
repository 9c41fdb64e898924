"""Trained forecasters on disk, and their forecasts as tables."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from gluonts.model.forecast import QuantileForecast

from paratime.cli.parser import check_checkpoint
from paratime.errors import InputError
from paratime.forecast.gluonts.predictor import ParaRNNPredictor
from paratime.forecast.model.task import ForecastTask
from paratime.io.atomic import replacing

FORMATS = (".csv", ".parquet")


def load(path: str) -> ForecastTask:
    """Return the task of a predictor's folder, or of a checkpoint of ``paratime fit``.

    Raises:
        InputError: There is neither.
    """
    if Path(path).is_dir():
        return ParaRNNPredictor.deserialize(Path(path)).task
    if not Path(path).exists():
        remedy = "name what paratime forecast fit, or paratime fit, has printed at its end"
        raise InputError("model", "a forecaster's folder, or a checkpoint", repr(path), remedy)
    check_checkpoint(path)
    try:
        return ForecastTask.load_from_checkpoint(path, map_location="cpu").eval()
    except TypeError as error:  # it does not say what the network is made of
        expected, remedy = "a checkpoint of paratime fit", "name the folder that it is in"
        got = "one of paratime forecast fit"
        raise InputError(path, expected, got, remedy) from error


def to_frame(forecasts: Iterable[QuantileForecast], channels: Sequence[str]) -> pd.DataFrame:
    """Return forecasts in long form: ``item_id, timestamp, mean`` and a column for each level.

    A multivariate target has a column ``channel``, too, with the names that are given.
    """
    parts = []
    for found in forecasts:
        values = found.forecast_array.reshape(*found.forecast_array.shape[:2], -1)
        for number, channel in enumerate(channels):
            part = pd.DataFrame(values[:, :, number].T, columns=found.forecast_keys)
            part.insert(0, "timestamp", found.index.start_time)
            part.insert(0, "channel", channel)
            part.insert(0, "item_id", found.item_id)
            parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table.insert(3, "mean", table.pop("mean"))
    return table if len(channels) > 1 else table.drop(columns="channel")


def check_format(path: str) -> None:
    """Refuse a name of a table that is neither CSV nor Parquet."""
    if not path.endswith(FORMATS):
        remedy = f"end it in one of these, as in forecasts{FORMATS[0]}"
        raise InputError("out", " or ".join(FORMATS), repr(path), remedy)


def write(table: pd.DataFrame, path: str) -> None:
    """Write a table, whole or not at all, as its name's ending says."""
    check_format(path)
    with replacing(path) as draft:
        if path.endswith(".csv"):
            table.to_csv(draft, index=False, float_format="%.7g")
        else:
            table.to_parquet(draft, index=False)
