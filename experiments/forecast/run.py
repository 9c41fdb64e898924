"""Accuracy on official test splits: paratime's default recipe beside DeepAR, ETS, Theta and naive.

Every model is scored on the same windows: MASE, the mean weighted quantile loss over nine deciles,
and the share of values inside the central 80 % and 95 % intervals, as GluonTS defines them (its own
evaluation gives the same numbers: ``tests/forecast/evaluation/test_metrics.py``). Training and
prediction run on one thread, so that the CPU seconds can be compared. DeepAR is GluonTS's, at its
defaults (100 epochs of 50 batches); on ``vic_elec`` its context is a week. ``..., before`` are the
windows before those of the test, of series that end there.

    python experiments/forecast/run.py                     # everything that is not in results.csv
    python experiments/forecast/run.py --model paratime    # one model, anew
"""

import argparse
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch
from contestants import CLASSICAL, MODELS
from gluonts.dataset.split import split
from tqdm import tqdm

from paratime.forecast import Collection, Competition, Source, TsData, rolling
from paratime.io import replacing

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
KEYS = ["data", "model", "seed"]


@dataclass(frozen=True)
class Task:
    """A data set with its test windows; ``skip`` windows behind them are left out."""

    source: Source
    prediction_length: int
    windows: int
    models: tuple[str, ...]
    skip: int = 0


NEURAL = ("paratime", "paratime_k2", "paratime_k4", "paratime_lstm", "torch_gru", "deepar")
TASKS = {
    "m3_monthly": Task(Competition("M3", "monthly"), 18, 1, CLASSICAL + NEURAL),
    "tourism_monthly": Task(Competition("Tourism", "monthly"), 24, 1, CLASSICAL + NEURAL),
    "vic_elec": Task(TsData("vic_elec"), 48, 28, ("seasonal_naive", "paratime", "deepar")),
    "pedestrian": Task(TsData("pedestrian"), 24, 28, ("seasonal_naive", "paratime")),
}
TASKS |= {
    f"{name}, before": replace(
        task, models=("seasonal_naive", "paratime", *more), skip=task.windows
    )
    for name, task in TASKS.items()
    for more in [("deepar",) if name == "tourism_monthly" else ()]
}


def main() -> None:
    """Run what was asked for, keep it in ``results.csv``, and print the table."""
    quieten()
    arguments = parse()
    done = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=KEYS)
    todo = [key for key in wanted(arguments) if arguments.model or key not in there(done)]
    for data, model, seed in tqdm(todo, desc="runs"):
        row = {"data": data, "model": model, "seed": seed} | measure(data, model, seed)
        keep(row)
    show(pd.read_csv(RESULTS))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=TASKS, help="one data set instead of all")
    parser.add_argument("--model", choices=CLASSICAL + NEURAL, help="one model, run anew")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the models that have one")
    return parser.parse_args()


def wanted(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield the runs that were asked for."""
    for data, task in TASKS.items():
        for model in task.models:
            if arguments.data in (None, data) and arguments.model in (None, model):
                for seed in range(1 if model in CLASSICAL else arguments.seeds):
                    yield data, model, seed


def there(done: pd.DataFrame) -> set[tuple[str, str, int]]:
    """Return the runs of a table."""
    return set(done[KEYS].itertuples(index=False, name=None))


def keep(row: dict[str, Any]) -> None:
    """Put a run into the table, in the place of an earlier one; other processes may do so, too."""
    table = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=[*row])
    same = (table[KEYS] == pd.Series({key: row[key] for key in KEYS})).all(axis=1)
    table = pd.DataFrame([*table[~same].to_dict("records"), row]).sort_values(KEYS)
    with replacing(RESULTS) as draft:
        table.to_csv(draft, index=False, float_format="%.6g")


def measure(data: str, model: str, seed: int) -> dict[str, float]:
    """Train a model and score its forecasts."""
    torch.set_num_threads(1)
    lightning.seed_everything(seed, verbose=False)
    task = TASKS[data]
    series, length = task.source.read(), task.prediction_length
    if task.skip:
        series = without_last(series, length * task.skip)
    windows = rolling(series, length, task.windows)
    train = without_last(series, length * task.windows)
    began = time.process_time()
    forecast = MODELS[model](train, windows, seed)
    trained = time.process_time()
    scores = forecast().overall
    ended = time.process_time()
    kept = {name: scores[name] for name in ("MASE", "mean_wQL", "coverage_80", "coverage_95")}
    return kept | {"training_s": trained - began, "prediction_s": ended - trained}


def without_last(series: Collection, steps: int) -> Collection:
    """Return what comes before the last steps of each series, of those that are longer."""
    before, _ = split(series.entries, offset=-steps)
    return replace(series, entries=[entry for entry in before if entry["target"].shape[-1]])


def show(table: pd.DataFrame) -> None:
    """Print means over seeds."""
    mean = table.groupby(["data", "model"]).mean(numeric_only=True).drop(columns="seed")
    mean["seeds"] = table.groupby(["data", "model"]).size()
    print(mean.round(4).to_string())


def quieten() -> None:
    """Drop what GluonTS, pandas and Lightning say of themselves."""
    for name in ("lightning.pytorch", "lightning.fabric", "gluonts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
