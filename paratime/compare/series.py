"""Numeric series: a backtest of the test windows, and some of its forecasts."""

from typing import Any

import numpy as np
from lightning.pytorch.cli import LightningCLI

from paratime.compare.kind import Found, Kind
from paratime.forecast.data.calendar import quiet
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.evaluation.backtest import Backtest, backtest
from paratime.forecast.model.task import ForecastTask

SHOWN = 3
"""Series of the pictures."""

BEFORE = 3
"""Horizons of the history in a picture."""

LEVELS = (0.1, 0.5, 0.9)
COVERED = 0.8
"""Share of the targets that should lie between the outer two levels."""


class Series(Kind):
    """Forecasters."""

    task = ForecastTask
    headline = "mean_wQL"
    unit = "steps"
    what = "Scores of forecasts of the last window of every series, which was held out for testing."

    def read(self, task: ForecastTask, batch: Any) -> None:
        """Forecast from the origins of a batch."""
        task(batch)

    def evaluate(self, trained: LightningCLI) -> Found:
        """Return the metrics of a backtest, and the forecasts of a few series."""
        task, data = trained.model, trained.datamodule
        assert isinstance(task, ForecastTask) and isinstance(data, SeriesData)
        found = backtest(
            task, data.collection, windows=data.test_windows, batch_size=data.batch_size
        )
        overall = found.overall
        quality = {name: overall[name] for name in (self.headline, "MASE")}
        quality["coverage_error"] = abs(overall["coverage_80"] - COVERED)
        series = found.windows.firsts
        chosen = np.unique(np.linspace(0, len(series) - 1, SHOWN).round().astype(int))
        return quality, [_picture(found, int(series[i])) for i in chosen]


def _picture(found: Backtest, window: int) -> dict[str, Any]:
    """Return a forecast of the first channel, and the history before it."""
    windows, horizon = found.windows, found.windows.prediction_length
    origin = int(windows.origin[window])
    first = max(0, origin + 1 - BEFORE * horizon)
    target = windows.values(window)[first : origin + 1 + horizon, 0]
    entry = windows.collection.entries[windows.series[window]]
    with quiet():
        time = [str(entry["start"] + step) for step in range(first, first + len(target))]
    unknown = [None] * (origin + 1 - first)
    quantiles = {
        str(level): [*unknown, *_plain(found.quantile(level)[window, :, 0])] for level in LEVELS
    }
    return {
        "kind": "forecast",
        "title": entry["item_id"],
        "time": time,
        "target": _plain(target),
        "quantiles": quantiles,
    }


def _plain(values: Any) -> list[float | None]:
    return [None if np.isnan(x) else float(x) for x in values]
