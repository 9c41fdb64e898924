"""The commands of the forecasting slice beside Lightning's: ``paratime forecast ...``."""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger

from paratime.cli.parser import run_commands
from paratime.errors import InputError, check_at_least
from paratime.forecast.data.datamodule import SeriesData
from paratime.forecast.data.features import check_ahead
from paratime.forecast.data.series import Collection
from paratime.forecast.data.sources.base import Source, source_of
from paratime.forecast.data.summary import summary
from paratime.forecast.evaluation.backtest import backtest as run_backtest
from paratime.forecast.evaluation.rolling import Windows, with_future
from paratime.forecast.gluonts.estimator import ParaRNNEstimator
from paratime.forecast.gluonts.predictor import ABOUT
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.gluonts.saved import check_format, load, to_frame, write
from paratime.forecast.inference.direct import forecast
from paratime.forecast.inference.forecast_type import REPORTED, AsQuantiles
from paratime.forecast.model.task import ForecastTask
from paratime.io.figures import check_figure, save

LAST = Path("checkpoints", "last.ckpt")


def fit(
    out: str,
    data: str | None = None,
    source: Source | None = None,
    prediction_length: int | None = None,
    recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
    max_steps: int | None = None,
    batch_size: int = 32,
    held_out: int = 0,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Train a forecaster on whole histories, and write a folder for the other commands.

    Args:
        out: Folder to write.
        data: Path of a table (.csv, .parquet) with columns item_id, timestamp and target, or of
            data entries of GluonTS (.jsonl, or a dataset's folder).
        source: A source with options, instead of a path.
        prediction_length: Steps of a forecast; the data's official horizon by default.
        recipe: What the network is made of, and how fast it learns.
        max_steps: Optimiser steps; by default as many as the amount of data asks for.
        batch_size: Series a batch.
        held_out: Windows of ``prediction_length`` at the end of each series that are kept from
            training, for a backtest.
        seed: Seed of everything that is drawn.
        resume: Whether to end an interrupted run of the same command.
        overwrite: Whether to train anew where there is a forecaster or a run that makes one.
    """
    check_at_least(0, held_out=held_out)
    last = interrupted(out) if resume else None
    series = SeriesData(
        chosen(data, source),
        prediction_length,
        batch_size,
        validation_windows=0,
        test_windows=held_out,
        seed=seed,
    )
    estimator = ParaRNNEstimator(
        series.collection.freq,
        series.prediction_length,
        **vars(recipe),
        batch_size=batch_size,
        max_steps=max_steps,
        seed=seed,
        trainer_kwargs={
            "default_root_dir": out,
            "enable_progress_bar": True,
            "logger": TensorBoardLogger(out, name="", version="logs", default_hp_metric=False),
            "log_every_n_steps": 10,
        },
    )
    if not resume:
        clear(out, overwrite)
    print(summary(series.collection))
    estimator.train_on(series, ckpt_path=last).serialize(Path(out))
    print(f"{'forecaster':<20} {out}")


def predict(
    model: str,
    out: str,
    data: str | None = None,
    source: Source | None = None,
    levels: tuple[float, ...] = REPORTED,
) -> None:
    """Forecast what comes after the end of each series, as a table: item_id, timestamp, mean, ...

    The mean of an output of quantiles, the default, is their median.

    Args:
        model: Folder that ``paratime forecast fit`` wrote, or checkpoint of ``paratime fit``.
        out: Table to write, .csv or .parquet.
        data: As for fit.
        source: As for fit.
        levels: Levels of the quantiles, a column each.
    """
    check_format(out)
    kind = AsQuantiles(levels)
    given = chosen(data, source).read()
    table = to_frame(forecast(load(model), given, kind), given.channel_names)
    write(table, out)
    print(f"{'series':<20} {table['item_id'].nunique():,}")
    print(f"{'forecasts':<20} {out}")


def backtest(
    model: str,
    data: str | None = None,
    source: Source | None = None,
    windows: int = 1,
    stride: int | None = None,
    baselines: tuple[str, ...] = ("seasonal_naive",),
    out: str | None = None,
) -> None:
    """Score forecasts of the last windows of each series, beside other models.

    Args:
        model: As for predict. Fit it with held_out, or it has seen what it is tested on.
        data: As for fit.
        source: As for fit.
        windows: Windows of a series; the last one ends where the series does.
        stride: Steps from one window to the next; the horizon by default.
        baselines: Models beside it: seasonal_naive, auto_ets, auto_theta (both fitted at every
            origin, by the package statsforecast) and deepar (GluonTS's, trained first).
        out: Folder for report.html and series.csv; none are written by default.
    """
    from paratime.forecast.evaluation.baselines import BASELINES
    from paratime.forecast.evaluation.report import table, write_report, write_series

    for name in baselines:
        if name not in BASELINES:
            raise InputError("baselines", ", ".join(BASELINES), repr(name), "choose among them")
    task = load(model)
    ours = run_backtest(task, chosen(data, source).read(), windows=windows, stride=stride)
    found = {"paratime": ours} | {name: BASELINES[name](ours.windows) for name in baselines}
    note = seen_in_training(task, ours.windows)
    print("\n".join([table(found), *([f"note: {note}"] if note else [])]))
    if out is not None:
        write_series(found, Path(out) / "series.csv")
        write_report(found, Path(out) / "report.html", note=note)
        print(f"{'report':<20} {Path(out) / 'report.html'}")


def seen_in_training(task: ForecastTask, windows: Windows) -> str:
    """Return a sentence that says so if the model was trained on what it is tested on."""
    lengths = [entry["target"].shape[-1] for entry in windows.collection.entries]
    tested = max(lengths[i] - 1 - o for i, o in zip(windows.series, windows.origin, strict=True))
    held = task.series["held_out"]
    if tested <= held:
        return ""
    windows_held = -(-tested // task.series["prediction_length"])
    return (
        f"the windows are the last {tested} steps, of which training held out {held};"
        f" if these are the series of the training, fit with --held_out {windows_held}"
    )


def plot(
    model: str,
    out: str,
    data: str | None = None,
    source: Source | None = None,
    items: tuple[str, ...] = (),
) -> None:
    """Draw forecasts of what comes, with their intervals, behind the end of each series.

    Args:
        model: As for predict.
        out: Figure to write, .png, .svg or .pdf.
        data: As for fit.
        source: As for fit.
        items: Names of the series to draw; the first twelve by default.
    """
    from paratime.forecast.evaluation.charts import fans

    check_figure(out)
    task, given = load(model), select(chosen(data, source).read(), items)
    check_ahead(given.entries, task.series["prediction_length"])
    ahead = with_future(given, task.series["prediction_length"])
    save(fans(run_backtest(task, ahead, windows=1)), out)
    print(f"{'figure':<20} {out}")


def describe(data: str | None = None, source: Source | None = None) -> None:
    """Say what is in a source of series: how many, how long, what is missing, which features.

    Args:
        data: As for fit.
        source: As for fit.
    """
    print(summary(chosen(data, source).read()))


def select(data: Collection, items: tuple[str, ...]) -> Collection:
    """Return the series of some names, or all."""
    named = {entry["item_id"]: entry for entry in data.entries}
    for name in items:
        if name not in named:
            near = get_close_matches(name, named, n=1)
            remedy = f"nearest: {near[0]}" if near else "see paratime forecast data"
            raise InputError("items", "names of series", repr(name), remedy)
    return replace(data, entries=[named[name] for name in items]) if items else data


def chosen(path: str | None, source: Source | None) -> Source:
    """Return the source that was given, one way or the other."""
    if (path is None) == (source is None):
        got = "neither" if path is None else "both"
        raise InputError("data", "a path, or a source instead", got, "give --data FILE")
    return source if path is None else source_of(path)  # type: ignore[return-value]


def clear(out: str, overwrite: bool) -> None:
    """Refuse a folder with a run, unless it may be overwritten; its curves go then."""
    for name in (ABOUT, LAST):
        if (Path(out) / name).exists() and not overwrite:
            remedy = "name another, or pass --resume true or --overwrite true"
            raise InputError("out", "a folder without a run", f"{name} in {out}", remedy)
    for curves in Path(out, "logs").glob("events.out.tfevents.*"):
        curves.unlink()


def interrupted(out: str) -> Path:
    """Return the last checkpoint of a run that was interrupted."""
    if not (Path(out) / LAST).is_file():
        raise InputError("resume", f"{LAST} in {out}", "none", "run without resume")
    return Path(out) / LAST


COMMANDS: dict[str, Callable[..., None]] = {
    "fit": fit,
    "predict": predict,
    "backtest": backtest,
    "plot": plot,
    "data": describe,
}


def main() -> None:
    """Run ``paratime forecast ...`` from ``sys.argv``."""
    run_commands("paratime forecast", COMMANDS, str(__doc__))
