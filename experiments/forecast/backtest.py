"""What a backtest from many origins costs in one pass, beside reading the history for each.

    python experiments/forecast/backtest.py     # about two minutes on two cores

Half-hourly demand, 52,608 steps; forecasts of a day from 500 origins a day apart, by a network that
was trained briefly. One pass reads the series once. The other way, which models without a state
for every step have to go, cuts the series at each origin and reads it up to there; it is measured
on every 50th origin, and its time for all of them is extrapolated in proportion to the steps read.
Both forecast with the same weights, both times include the calendar of the steps read, and no
figures are written unless the forecasts agree.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import lightning.pytorch as lightning
import numpy as np
import pandas as pd
import torch

from paratime import Encoder
from paratime.forecast import (
    Backtest,
    Collection,
    ForecastTask,
    SeriesData,
    TsData,
    backtest,
    score_table,
    seasonal_naive,
)
from paratime.io import replacing

HERE = Path(__file__).parent
DAY, ORIGINS, EVERY, STEPS = 48, 500, 50, 12
CLOCKS = ("wall", "cpu")
AGREE, FASTER = 1e-5, 20


def main() -> None:
    """Train, time both ways, write ``backtest.csv``, and stop where a requirement is not met."""
    data = SeriesData(TsData("vic_elec"), DAY, validation_windows=1, test_windows=ORIGINS)
    task, series = trained(data), data.collection
    backtest(task, series, windows=1)
    passes = [timed(lambda: backtest(task, series, windows=ORIGINS))]
    whole = passes[0].result
    sample = np.arange(0, ORIGINS, EVERY)
    alone = [timed(lambda o=o: one(task, series, whole, o)) for o in sample]
    passes.append(timed(lambda: backtest(task, series, windows=ORIGINS)))
    read = whole.windows.origin + 1
    more = read.sum() / read[sample].sum()
    once, again = ({k: sum(getattr(x, k) for x in r) for k in CLOCKS} for r in (passes, alone))
    figures = {
        "steps": series.entries[0]["target"].shape[-1],
        "origins": ORIGINS,
        "threads": torch.get_num_threads(),
        **{f"one_pass_{k}_s": once[k] / len(passes) for k in CLOCKS},
        "origins_measured": len(sample),
        **{f"again_measured_{k}_s": again[k] for k in CLOCKS},
        **{f"again_extrapolated_{k}_s": again[k] * more for k in CLOCKS},
        **{f"ratio_{k}": again[k] * more * len(passes) / once[k] for k in CLOCKS},
        "relative_error": difference(whole, sample, alone),
    }
    print(report(figures), end="\n\n")
    print(score_table({"ParaGRU": whole, "seasonal naive": seasonal_naive(whole.windows)}))
    error = figures["relative_error"]
    assert error <= AGREE, f"the two ways differ by {error:.1e} of the largest value"
    ratio = min(figures[f"ratio_{k}"] for k in CLOCKS)
    assert ratio >= FASTER, f"one pass is only {ratio:.1f} times as fast"
    with replacing(HERE / "backtest.csv") as draft:
        pd.DataFrame([figures]).to_csv(draft, index=False, float_format="%.4g")


def trained(data: SeriesData) -> ForecastTask:
    """Return a network after a few steps of training, on what lies before all origins."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    lightning.seed_everything(0, verbose=False)
    task = ForecastTask(Encoder(64, 2, mlp_size=128), data.spec)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        limit_val_batches=0,
        enable_checkpointing=False,
        **quiet,
    )
    trainer.fit(task, data)
    return task


def one(task: ForecastTask, series: Collection, whole: Backtest, origin: int) -> Backtest:
    """Forecast from one origin, with the series cut where its window ends."""
    end = int(whole.windows.origin[origin]) + 1 + DAY
    (entry,) = series.entries
    cut = entry | {
        "target": entry["target"][:end],
        "past_feat_dynamic_real": entry["past_feat_dynamic_real"][:, :end],
    }
    return backtest(task, replace(series, entries=[cut]), windows=1)


def difference(whole: Backtest, sample: np.ndarray, alone: list["Timed"]) -> float:
    """Return the largest difference of quantiles, as a share of the largest quantile."""
    pairs = zip(sample, alone, strict=True)
    largest = max(np.abs(x.result.quantiles[0] - whole.quantiles[o]).max() for o, x in pairs)
    return float(largest / np.abs(whole.quantiles).max())


@dataclass(frozen=True)
class Timed:
    """A result, and the seconds that it took by the clock and of the processor, all threads."""

    wall: float
    cpu: float
    result: Backtest


def timed(run: Callable[[], Backtest]) -> Timed:
    """Call and take the time."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, result)


def report(f: dict[str, float]) -> str:
    """Return the figures as text."""
    rows = {
        "one pass over the series": ("one_pass_{}_s", "mean of 2"),
        f"the history again, {f['origins_measured']} origins": ("again_measured_{}_s", "measured"),
        f"the history again, {f['origins']} origins": ("again_extrapolated_{}_s", "extrapolated"),
        "ratio": ("ratio_{}", ""),
    }
    lines = [
        f"{name:<34}" + "".join(f"{f[key.format(k)]:10.1f}" for k in CLOCKS) + f"   {how}"
        for name, (key, how) in rows.items()
    ]
    head = f"{f['steps']:,} steps, {f['origins']} origins, {f['threads']} threads"
    same = f"largest difference: {f['relative_error']:.1e} of the largest value"
    return "\n".join([f"{head:<34}    wall, s    cpu, s", *lines, same])


if __name__ == "__main__":
    main()
