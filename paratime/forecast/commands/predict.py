"""``paratime forecast predict``: forecasts after the end of each series, as a table."""

from collections.abc import Iterable, Sequence

import pandas as pd
from gluonts.model.forecast import QuantileForecast

from paratime.cli.arguments import chosen
from paratime.errors import InputError
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.gluonts.predictor import load_forecaster
from paratime.forecast.inference.direct import forecast
from paratime.forecast.inference.forecast_type import REPORTED, AsQuantiles
from paratime.io.atomic import replacing

FORMATS = (".csv", ".parquet")


def run(
    model: str,
    out: str,
    data: str | None = None,
    source: Source | None = None,
    levels: tuple[float, ...] = REPORTED,
) -> None:
    """Forecast the steps after the end of each series: item_id, timestamp, mean, ...

    With quantiles as output, the default, the mean is their median.

    Args:
        model: Folder that ``paratime forecast fit`` wrote, or checkpoint of ``paratime fit``.
        out: Table to write, .csv or .parquet.
        data: As for fit.
        source: As for fit.
        levels: Levels of the quantiles, a column each.
    """
    check_format(out)
    kind = AsQuantiles(levels)
    given = chosen(data, source, series_source).read()
    table = to_frame(forecast(load_forecaster(model), given, kind), given.channel_names)
    write_table(table, out)
    print(f"{'series':<20} {table['item_id'].nunique():,}")
    print(f"{'forecasts':<20} {out}")


def to_frame(forecasts: Iterable[QuantileForecast], channels: Sequence[str]) -> pd.DataFrame:
    """Return forecasts in long form: ``item_id, timestamp, mean`` and a column for each level.

    A multivariate target has another column ``channel``, with the given names.
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
    """Refuse the name of a table that is neither CSV nor Parquet."""
    if not path.endswith(FORMATS):
        raise InputError("out", " or ".join(FORMATS), repr(path), "end its name in one of these")


def write_table(table: pd.DataFrame, path: str) -> None:
    """Write a table in the format of its suffix, whole or not at all."""
    check_format(path)
    with replacing(path) as draft:
        if path.endswith(".csv"):
            table.to_csv(draft, index=False, float_format="%.7g")
        else:
            table.to_parquet(draft, index=False)
