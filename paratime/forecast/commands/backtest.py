"""``paratime forecast backtest``: scores of forecasts of the last windows, next to other models."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from paratime.cli.arguments import chosen
from paratime.forecast.data.features import unseen_labels
from paratime.forecast.data.labels import amount
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.evaluation.rolling import RollingWindows
from paratime.forecast.model.calibration import APART, doubts
from paratime.io.packages import import_package

if TYPE_CHECKING:
    from paratime.forecast.evaluation.backtest import Backtest
    from paratime.forecast.model.task import ForecastTask

ENOUGH = 30
"""Fewest values that tell a coverage."""


def run(
    model: str,
    data: str | None = None,
    source: Source | None = None,
    windows: int = 1,
    stride: int | None = None,
    baselines: tuple[str, ...] = (),
    out: str | None = None,
) -> None:
    """Score forecasts of the last windows of each series, next to other models.

    Args:
        model: Folder that ``paratime forecast fit`` wrote, or checkpoint of ``paratime fit``; fit
            it with --held_out, or it is tested on what it was trained on.
        data: Table (.csv, .parquet) or data entries of GluonTS, as for paratime forecast fit.
        source: A source with options, instead of a path.
        windows: Windows of a series; the last one ends with the series.
        stride: Steps from one window to the next; the horizon by default.
        baselines: Models to compare with next to seasonal_naive: auto_ets, auto_theta (both fitted
            at every origin, by the package statsforecast) and deepar (GluonTS's, trained first),
            such as auto_ets,auto_theta.
        out: Folder for report.html and series.csv; by default neither is written.
    """
    import_package("matplotlib", what="backtest", extra="forecast")
    from paratime.forecast.evaluation.backtest import backtest
    from paratime.forecast.evaluation.baselines import chosen_baselines
    from paratime.forecast.evaluation.report import score_table, write_backtest_report, write_series
    from paratime.forecast.gluonts.predictor import load_forecaster

    others = chosen_baselines(baselines)
    task = load_forecaster(model)
    given = chosen(data, source, series_source).at(task.spec.freq).read()
    ours = backtest(task, given, windows=windows, stride=stride)
    found = {"paratime": ours} | {name: other(ours.windows) for name, other in others.items()}
    notes = (seen_in_training(task, ours.windows), unseen_labels(given, task.spec))
    doubt = misses(ours) or doubts(task.network.calibration)
    note = "; ".join(x for x in (*notes, doubt) if x)
    print("\n".join([score_table(found), ours.windows.scope, *([f"note: {note}"] if note else [])]))
    if out is not None:
        write_series(found, Path(out) / "series.csv")
        write_backtest_report(found, Path(out) / "report.html", note=note)
        print(f"{'report':<20} {Path(out) / 'report.html'}")


def seen_in_training(task: "ForecastTask", windows: RollingWindows) -> str:
    """Return a warning if the model may have been trained on the windows, else nothing."""
    lengths = [entry["target"].shape[-1] for entry in windows.collection.entries]
    tested = max(lengths[i] - 1 - o for i, o in zip(windows.series, windows.origin, strict=True))
    held = task.spec.held_out
    if tested <= held:
        return ""
    windows_held = -(-tested // task.spec.prediction_length)
    return (
        f"the windows are the last {amount(tested, 'step')}, of which training held out {held};"
        f" if these are the series of the training, fit with --held_out {windows_held}"
    )


def misses(found: "Backtest") -> str:
    """Return a warning if the intervals contain far more or fewer values than they say."""
    inside, targets = found.overall["coverage_80"], int(np.isfinite(found.windows.target).sum())
    if targets >= ENOUGH and abs(inside - 0.8) > APART:
        wrong = "wide" if inside > 0.8 else "narrow"
        return f"{inside:.0%} of the values are inside the 80 % interval, which is too {wrong}"
    return ""
