"""``paratime forecast predict``: forecasts after the end of each series, as a table."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from gluonts.model.forecast import QuantileForecast

from paratime.cli.arguments import chosen
from paratime.errors import InputError
from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.features import unseen_labels
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.data.stamps import STARTS
from paratime.forecast.inference.forecast_type import REPORTED, AsQuantiles
from paratime.forecast.model.calibration import doubts
from paratime.io.atomic import replacing
from paratime.io.frames import write_csv
from paratime.io.packages import import_package

FORMATS = (".csv", ".parquet")


def run(
    model: str,
    out: str,
    data: str | None = None,
    source: Source | None = None,
    levels: tuple[float, ...] = REPORTED,
) -> None:
    """Forecast the steps after the end of each series: item_id, timestamp, mean, ...

    With quantiles as output, the default, the mean is the integral of the quantile function.

    Args:
        model: Folder that ``paratime forecast fit`` wrote, or checkpoint of ``paratime fit``.
        out: Table to write, .csv or .parquet.
        data: Table (.csv, .parquet) or data entries of GluonTS, as for paratime forecast fit.
        source: A source with options, instead of a path.
        levels: Levels of the quantiles, a column each.
    """
    from paratime.forecast.gluonts.loading import load_network
    from paratime.forecast.inference.direct import forecast

    check_format(out)
    kind = AsQuantiles(levels)
    task = load_network(model)
    given = chosen(data, source, series_source).at(task.spec.freq).read()
    table = to_frame(forecast(task, given, kind), given)
    write_table(table, out)
    print_note(unseen_labels(given, task.spec))
    print_note(doubts(task.network.calibration))
    print(f"{'series':<20} {table['item_id'].nunique():,}")
    print(f"{'forecasts':<20} {out}")


def to_frame(forecasts: Iterable[QuantileForecast], data: Collection) -> pd.DataFrame:
    """Return forecasts in long form: ``item_id, timestamp, mean`` and a column for each level.

    Timestamps continue those of the data. A multivariate target has another column ``channel``.

    Args:
        forecasts: A forecast for each series.
        data: The series, in the same order.
    """
    parts, channels = [], data.channel_names
    for found, entry in zip(forecasts, data.entries, strict=True):
        with quiet_periods():
            times = entry.get("stamps", STARTS).times(found.index)
        values = found.forecast_array.reshape(*found.forecast_array.shape[:2], -1)
        for number, channel in enumerate(channels):
            part = pd.DataFrame(values[:, :, number].T, columns=found.forecast_keys)
            part.insert(0, "timestamp", times)
            part.insert(0, "channel", channel)
            part.insert(0, "item_id", found.item_id)
            parts.append(part)
    zones = {getattr(part["timestamp"].dtype, "tz", None) for part in parts}
    if len(zones) > 1:  # a column has one zone
        parts = [x.assign(timestamp=x["timestamp"].dt.tz_convert("UTC")) for x in parts]
    table = pd.concat(parts, ignore_index=True)
    table.insert(3, "mean", table.pop("mean"))
    return table if len(channels) > 1 else table.drop(columns="channel")


def print_note(note: str) -> None:
    """Print a note if there is one."""
    if note:
        print(f"note: {note}")


def check_format(path: str) -> None:
    """Refuse the name of a table that is neither CSV nor Parquet, or that cannot be written."""
    if not path.endswith(FORMATS):
        raise InputError("out", " or ".join(FORMATS), repr(path), "end its name in one of these")
    if path.endswith(".parquet"):
        import_package("pyarrow", what="out")


def write_table(table: pd.DataFrame, path: str) -> None:
    """Write a table in the format of its suffix, whole or not at all."""
    check_format(path)
    if path.endswith(".csv"):
        write_csv(_rounded(table), path, float_format="%.15g")
        return
    with replacing(path) as draft:
        table.to_parquet(draft, index=False)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts with six digits of the range of each row, however high its level is."""
    values = table.select_dtypes("floating")
    if values.empty:
        return table
    span = np.ptp(values.to_numpy(np.float64), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decimals = 5 - np.floor(np.log10(span))
    rows = zip(values.to_numpy(np.float64), decimals, strict=True)
    rounded = [row.round(int(n)) if abs(n) < 300 else row for row, n in rows]
    return table.assign(**pd.DataFrame(rounded, table.index, values.columns))
