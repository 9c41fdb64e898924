"""What a training step of each network costs, all of them in turns.

A step is one on 64 sequences of 40 tokens of parity, by one thread. Ratios to ParaGRU with block
size 1 are what counts: absolute times are those of a machine with other work on it.

    python experiments/state_tracking/cost.py
"""

import time
from pathlib import Path

import pandas as pd
import torch
from learning import BATCH, LENGTHS, batches, descend
from tasks import TASKS
from torch.optim import AdamW
from tqdm import tqdm
from trackers import MIXERS, WIDTH, Tracker

from paratime.io import replacing

HERE = Path(__file__).parent
WIDTHS, ROUNDS = (WIDTH, 256), 9


def main() -> None:
    """Time all networks, write ``cost.csv`` and print it."""
    torch.set_num_threads(1)
    table = pd.DataFrame([row for width in WIDTHS for row in clock(width)])
    with replacing(HERE / "cost.csv") as draft:
        table.to_csv(draft, index=False, float_format="%.4g")
    print(table.round(2).to_string(index=False))


def clock(width: int) -> list[dict[str, object]]:
    """Return the median time of a step of each network, in milliseconds and in ParaGRUs."""
    torch.manual_seed(0)
    task = TASKS["parity"]
    models = {name: Tracker(task, name, width) for name in MIXERS}
    running = {name: (model, AdamW(model.parameters())) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in running}
    for batch in tqdm(batches(task, ROUNDS, seed=0), total=ROUNDS, desc=f"width {width}"):
        for name, (model, optimizer) in running.items():
            began = time.process_time()
            descend(model, optimizer, batch)
            times[name].append(1e3 * (time.process_time() - began))
    frame = pd.DataFrame(times)
    relative = frame.div(frame["ParaGRU"], axis=0).median()
    at = {"width": width, "batch": BATCH, "steps": LENGTHS[0]}
    return [
        at | {"mixer": name, "ms": frame[name].median(), "relative": relative[name]}
        for name in running
    ]


if __name__ == "__main__":
    main()
