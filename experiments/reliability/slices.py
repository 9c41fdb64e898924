"""A small run of each slice: its data, and the options of ``paratime fit``."""

from pathlib import Path

import numpy as np
import pandas as pd

STEPS = 60
"""Of a run."""

SAVED = 4
"""Steps between checkpoints."""

ENCODER = ("--model.encoder.width=8", "--model.encoder.depth=1")
OPTIONS = {
    "language": (
        *("--model=LanguageTask", *ENCODER, "--data=TokenData"),
        *("--data.source=TextFiles", "--data.source.paths=[text.txt]", "--data.mode=stream"),
        *("--data.context_length=16", "--data.batch_size=6", "--data.cache_dir=cache"),
    ),
    "forecast": (
        *("--model=ForecastTask", *ENCODER, "--model.dropout=0.3", "--data=SeriesData"),
        *("--data.source=Table", "--data.source.path=series.csv"),
        *("--data.prediction_length=4", "--data.batch_size=2"),
    ),
    "world": (
        *("--model=WorldTask", *ENCODER, "--model.context=3", "--model.horizon=6"),
        *("--data=TrajectoryData", "--data.source=Table", "--data.source.path=episodes.csv"),
        *("--data.source.observation=[x]", "--data.source.action=[push]"),
        *("--data.source.terminal=terminal", "--data.sequence_length=8", "--data.batch_size=4"),
    ),
}
"""Dropout, samples of latents and carried states, so that a run depends on random states."""

TRAINER = (
    *(f"--trainer.max_steps={STEPS}", "--trainer.val_check_interval=7", "--trainer.logger=false"),
    *("--trainer.accelerator=cpu", "--trainer.default_root_dir=.", "--trainer.devices=1"),
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.callbacks+=ModelCheckpoint", f"--trainer.callbacks.every_n_train_steps={SAVED}"),
)


def write_data(folder: Path) -> None:
    """Write the data of all slices, whose items have several lengths."""
    random = np.random.default_rng(0)
    (folder / "text.txt").write_text("".join(random.choice([*"abcd \n"], 9001)))
    series = [
        pd.DataFrame(
            {
                "item_id": f"series {n}",
                "timestamp": pd.date_range("2024-01-01", periods=30 + 9 * n),
                "target": 5 + np.sin(np.arange(30 + 9 * n)) + random.normal(size=30 + 9 * n),
            }
        )
        for n in range(11)
    ]
    pd.concat(series).to_csv(folder / "series.csv", index=False)
    episodes = []
    for n in range(23):
        push = random.normal(size=5 + n)
        place = push.cumsum() - push
        rows = {"step": range(5 + n), "x": place, "push": push, "reward": -abs(place)}
        episodes.append(pd.DataFrame(rows | {"episode": n, "terminal": 0}))
    pd.concat(episodes).to_csv(folder / "episodes.csv", index=False)
