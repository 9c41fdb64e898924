"""``paratime forecast fit``: train a forecaster on whole histories."""

from contextlib import nullcontext
from pathlib import Path

from paratime.cli.arguments import chosen
from paratime.errors import InputError, check_at_least
from paratime.forecast.commands.predict import print_note
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.catalog import series_source
from paratime.forecast.data.summary import summarize
from paratime.forecast.gluonts.recipe import ABOUT, Recipe
from paratime.forecast.model.calibration import doubts
from paratime.io.processes import alone_in

LAST = Path("checkpoints", "last.ckpt")


def run(
    out: str,
    data: str | None = None,
    source: Source | None = None,
    prediction_length: int | None = None,
    recipe: Recipe = Recipe(),  # noqa: B008 (frozen)
    max_steps: int | None = None,
    batch_size: int = 32,
    held_out: int = 0,
    season: int | None = None,
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
        recipe: The network, and how it learns.
        max_steps: Most optimiser steps, of which windows that training holds out choose how many
            are taken; by default they depend on the amount of data.
        batch_size: Series a batch.
        held_out: Windows of ``prediction_length`` at the end of each series that training leaves
            out, for a backtest.
        season: Steps of a season, such as 7 for days with weeks; by default that of the calendar.
        seed: Seed of all random numbers.
        resume: Whether to continue an interrupted run of the same command.
        overwrite: Whether to replace a forecaster, or a run that makes one.
    """
    from lightning.pytorch.loggers import TensorBoardLogger
    from lightning.pytorch.utilities import rank_zero_only

    from paratime.forecast.data.datamodule import SeriesData
    from paratime.forecast.gluonts.estimator import ParaRNNEstimator
    from paratime.training.checkpoints.stopping import SaveRegularly

    check_at_least(0, held_out=held_out)
    last = interrupted(out) if resume else None
    series = SeriesData(
        chosen(data, source, series_source),
        prediction_length,
        batch_size,
        validation_windows=0,
        test_windows=held_out,
        season=season,
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
            "callbacks": [SaveRegularly(str(Path(out, LAST)), "continue with --resume true")],
        },
    )
    with alone_in(out) if rank_zero_only.rank == 0 else nullcontext():  # type: ignore[attr-defined]
        if not resume:
            clear(out, overwrite)
        print(summarize(series.collection))
        print_note(series.left_out)
        predictor = estimator.train_on(series, ckpt_path=last)
        predictor.serialize(Path(out))
    print("\n".join(f"{name:<20} {value}" for name, value in predictor.selection.summary()))
    print(f"{'forecaster':<20} {out}")
    print_note(doubts(predictor.task.network.calibration))


def clear(out: str, overwrite: bool) -> None:
    """Refuse a folder with a run unless it may be overwritten; then delete its curves."""
    for name in (ABOUT, LAST):
        if (Path(out) / name).exists() and not overwrite:
            raise InputError(
                "out", "a folder without a run", str(name), "pass --resume true or --overwrite true"
            )
    for curves in Path(out, "logs").glob("events.out.tfevents.*"):
        curves.unlink()


def interrupted(out: str) -> Path:
    """Return the last checkpoint of a run that was interrupted."""
    from paratime.training.checkpoints.folders import damage_of

    last = Path(out) / LAST
    got = damage_of(last) if last.is_file() else "none"
    if got is not None:
        raise InputError("resume", f"{LAST} in {out}", got, "run without resume")
    return last
