"""The figure on the front page: what a training step costs by sequence length, on this machine.

One layer, batch 1, width 256, float32, forward and backward: the recurrence of ParaGRU as a loop
in Python, torch.nn.GRU, our Mamba, and ParaGRU. All take turns in one process after the gate of
``run.py``. Times are processor time of one thread, so that other work on the machine matters
little. A layer that takes longer than ``PATIENCE`` stops there.
"""

import statistics
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import run
import torch
from torch import nn
from tqdm import tqdm

from paratime import Mamba, ParaGRU, Recurrent, Sequential

HERE = Path(__file__).parent
FIGURES = HERE.parents[1] / "docs" / "figures"
WIDTH, TURNS, PATIENCE = 256, 3, 2e3
LENGTHS = tuple(2**k for k in range(8, 16))
COLORS = {"light": ("white", "#222222"), "dark": ("#1e2129", "#dddddd")}


def main() -> None:
    """Time, write ``front.csv`` and draw."""
    torch.set_num_threads(1)
    run.keep_pages()
    run.gate((1, LENGTHS[0], WIDTH))
    table = measure()
    table.to_csv(HERE / "front.csv", index=False, float_format="%.4g")
    for theme in COLORS:
        draw(table, theme)
    print(run.machine(), "\n")
    print(table.round(1).to_string(index=False))


def layers() -> dict[str, run.Contestant]:
    """Return what is timed, the slowest first."""
    own = ParaGRU(WIDTH)
    return {
        "Python loop": run._first(Recurrent(own.cell, Sequential())),
        "torch.nn.GRU": run._first(nn.GRU(WIDTH, WIDTH, batch_first=True)),
        "Mamba": run._first(Mamba(WIDTH)),
        "ParaGRU": run._first(own),
    }


def measure() -> pd.DataFrame:
    """Return milliseconds of forward and backward, a row a length and a column a layer."""
    torch.manual_seed(0)
    running, rows = layers(), []
    for steps in tqdm(LENGTHS):
        x, times = torch.randn(1, steps, WIDTH), {name: [] for name in running}
        for _ in range(TURNS):
            for name, layer in running.items():
                if max(times[name], default=0) < PATIENCE:
                    times[name].append(clock(layer, x))
        rows.append({"steps": steps} | {n: statistics.median(t) for n, t in times.items()})
        running = {n: layer for n, layer in running.items() if max(times[n]) < PATIENCE}
    return pd.DataFrame(rows)


def clock(layer: run.Contestant, x: torch.Tensor) -> float:
    """Return the milliseconds of processor time of forward and backward, after a first call."""
    x = x.clone().requires_grad_()
    for _ in range(2):
        x.grad, began = None, time.process_time()
        layer(x).sum().backward()
        passed = 1e3 * (time.process_time() - began)
        if passed > PATIENCE:
            break
    return passed


def draw(table: pd.DataFrame, theme: str) -> None:
    """Draw time against length, with the name of each layer at the end of its line."""
    back, ink = COLORS[theme]
    style = {"text.color": ink, "axes.edgecolor": ink, "axes.labelcolor": ink}
    style |= {"xtick.color": ink, "ytick.color": ink, "font.size": 11, "svg.fonttype": "none"}
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained", facecolor=back)
        axes.set_facecolor(back)
        for i, (name, column) in enumerate(table.set_index("steps").items()):
            values, ours = column.dropna(), name == "ParaGRU"
            color = "#e4572e" if ours else f"C{(0, 2, 4)[i]}"
            axes.loglog(values, "o-", color=color, lw=3 if ours else 1.5, ms=4)
            place = (values.index[-1] * 1.12, values.iloc[-1])
            weight = "bold" if ours else "normal"
            axes.text(*place, name, color=color, va="center", weight=weight)
        axes.set(xlabel="sequence length", ylabel="forward and backward, ms of one core")
        axes.set_title("One layer on a CPU: training time against sequence length", loc="left")
        axes.set_xticks(LENGTHS, [f"{n:,}" for n in LENGTHS])
        axes.minorticks_off()
        axes.set_xlim(LENGTHS[0] * 0.85, LENGTHS[-1] * 3)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(FIGURES / f"front-{theme}.png", dpi=110)
        plt.close(figure)


if __name__ == "__main__":
    main()
