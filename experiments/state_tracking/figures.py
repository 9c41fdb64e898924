"""The figures of the table: accuracy by length, and by what a block size costs."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tasks import TASKS
from trackers import BLOCKS, MIXERS, WIDTH, name_of
from training import LENGTHS, SETTINGS

from paratime.figures import save

SHADES = {1: 0.35, 2: 0.55, 4: 0.75, 8: 1.0}
FAMILIES = {"ParaGRU": (0.0, 0.3, 0.8), "ParaLSTM": (0.0, 0.5, 0.2)}
OTHERS = ("TorchGRU", "MinGRU", "Mamba", "Mamba2", "Mamba3", "Attention")
STYLES: dict[str, dict[str, Any]] = {
    **{
        name_of(layer, k): {"color": (*color, SHADES[k]), "marker": "o", "lw": 0.8 + 0.2 * k}
        for layer, color in FAMILIES.items()
        for k in BLOCKS
    },
    **{name: {"color": f"C{i}", "ls": "--"} for i, name in enumerate(OTHERS, 1)},
}
TRACKED = ("parity", "mod3", "mod5", "s3", "arithmetic")
"""Tasks whose state is an element of a small group or ring."""


def draw_lengths(table: pd.DataFrame, path: Path) -> None:
    """Draw accuracy against length, a panel a task and a line a mixer; bars span the seeds."""
    figure = Figure(figsize=(14, 6.5), layout="constrained")
    panels = figure.subplots(2, math.ceil(len(SETTINGS) / 2), sharey=True).flat
    for axes, task in zip(panels, SETTINGS, strict=True):
        for mixer in MIXERS:
            rows = table[(table["task"] == task) & (table["mixer"] == mixer)]
            if len(rows):
                _draw_line(axes, rows, mixer)
        axes.axhline(1 / TASKS[task].classes, color="0.7", lw=0.8, ls=":")
        axes.set(title=task, xlabel="length", xscale="log", ylim=(-0.02, 1.03))
        axes.set_xticks(LENGTHS, LENGTHS)
        axes.minorticks_off()
    figure.supylabel("accuracy in the second half (trained at length 40)")
    handles = {str(x.get_label()): x for a in figure.axes for x in a.get_lines()}
    shown = [handles[name] for name in MIXERS if name in handles]
    figure.legend(handles=shown, loc="outside right center", frameon=False)
    save(figure, str(path))


def _draw_line(axes: Axes, rows: pd.DataFrame, mixer: str) -> None:
    values = rows[[f"accuracy@{n}" for n in LENGTHS]].to_numpy()
    axes.plot(LENGTHS, values.mean(0), ms=3, label=mixer, **STYLES[mixer])
    axes.vlines(LENGTHS, values.min(0), values.max(0), color=STYLES[mixer]["color"], lw=0.8)


def draw_blocks(table: pd.DataFrame, cost: pd.DataFrame, path: Path) -> None:
    """Draw accuracy at four times the training length against what a step costs."""
    of_width = cost[cost["width"] == WIDTH].set_index("mixer")["relative"]
    accuracy = table.pivot_table(f"accuracy@{LENGTHS[2]}", "mixer", "task")
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, layer in zip(figure.subplots(1, 2, sharey=True), FAMILIES, strict=True):
        names = [name_of(layer, k) for k in BLOCKS]
        for task in (t for t in TRACKED if t in accuracy):
            line = accuracy[task].reindex(names)
            axes.plot(of_width[names], line, "o-", ms=4, label=task)
        for k, name in zip(BLOCKS, names, strict=True):
            axes.annotate(f"K = {k}", (of_width[name], 1.04), ha="center", fontsize=8)
        axes.set(title=layer, ylim=(0, 1.1), xlabel="time of a training step, in ParaGRUs of K = 1")
    figure.axes[0].set_ylabel(f"accuracy at length {LENGTHS[2]}")
    handles = figure.axes[0].get_lines()
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    save(figure, str(path))
