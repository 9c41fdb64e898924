"""What an epoch over the whole history costs, by its length: one pass, no windows.

Half-hourly demand in Victoria, the last so many steps of it, the default recipe, one thread: the
median of a training step (forward, backward, optimiser), which is an epoch of one series.

    python experiments/forecast/length.py      # about a minute
"""

import statistics
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from paratime.forecast import Collection, InMemory, Recipe, SeriesData, TsData

LENGTHS = (6_250, 12_500, 25_000, 50_000)
REPEATS, LIMIT = 5, 1.15
"""Measurements of a length, and the largest exponent that counts as linear."""


def main() -> None:
    """Print the table, and fail where time grows faster than length."""
    torch.set_num_threads(1)
    whole = TsData("vic_elec").read()
    rows = [measure(whole, steps) for steps in tqdm(LENGTHS, desc="lengths")]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    grows = np.polyfit(np.log(table.steps), np.log(table.seconds), 1)[0]
    print(f"\ntime grows with the {grows:.2f}th power of length")
    assert grows <= LIMIT, f"more than {LIMIT}"


def measure(whole: Collection, steps: int) -> dict[str, float]:
    """Time training steps on the last steps of the series."""
    entry = whole.entries[0]
    first = len(entry["target"]) - steps
    cut = entry | {
        "start": entry["start"] + first,
        "target": entry["target"][first:],
        "feat_dynamic_real": entry["feat_dynamic_real"][:, first:],
        "past_feat_dynamic_real": entry["past_feat_dynamic_real"][:, first:],
    }
    data = SeriesData(
        InMemory(replace(whole, entries=[cut])), 48, validation_windows=0, test_windows=0
    )
    task = Recipe().task(data.spec)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]
    batch = next(iter(data.train_dataloader()))
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3)
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        loss = task.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    assert loss.isfinite()
    times = seconds[1:]
    return {
        "steps": steps,
        "seconds": statistics.median(times),
        "least": min(times),
        "most": max(times),
        "us_a_step": 1e6 * statistics.median(times) / steps,
    }


if __name__ == "__main__":
    main()
