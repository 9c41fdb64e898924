"""The figures of the table: accuracy by length, and by what a block size costs."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from learning import LENGTHS, SETTINGS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tasks import TASKS
from trackers import BLOCKS, MIXERS, WIDTH, name_of

from paratime.io import save_figure

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
COST = "time of a training step, in ParaGRUs of K = 1"
TRACKED = ("parity", "mod3", "s3", "mod5", "a5", "s5", "arithmetic")
"""Tasks whose state is an element of a small group or ring."""


def draw_lengths(table: pd.DataFrame, path: Path) -> None:
    """Draw accuracy against length, a panel a task and a line a mixer; bars span the seeds."""
    tasks = [task for task in SETTINGS if task in set(table["task"])]
    rows, columns = math.ceil(len(tasks) / 5), min(len(tasks), 5)
    figure = Figure(figsize=(2.4 * columns + 2, 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    for axes, task in zip(panels, tasks, strict=False):
        for mixer in MIXERS:
            runs = table[(table["task"] == task) & (table["mixer"] == mixer)]
            if len(runs):
                _draw_line(axes, runs, mixer)
        axes.axhline(100 / TASKS[task].classes, color="0.7", lw=0.8, ls=":", label="chance")
        axes.set(title=task, xlabel="tokens", xscale="log", ylim=(-2, 103))
        axes.set_xticks(LENGTHS, LENGTHS)
        axes.minorticks_off()
    figure.supylabel("accuracy in the second half, % (trained on 40 tokens)")
    handles = {str(x.get_label()): x for a in figure.axes for x in a.get_lines()}
    shown = [handles[name] for name in (*MIXERS, "chance") if name in handles]
    figure.legend(handles=shown, loc="outside right center", frameon=False)
    save_figure(figure, str(path))


def _draw_line(axes: Axes, runs: pd.DataFrame, mixer: str) -> None:
    values = 100 * runs[[f"accuracy@{n}" for n in LENGTHS]].to_numpy()
    axes.plot(LENGTHS, values.mean(0), ms=3, label=mixer, **STYLES[mixer])
    axes.vlines(LENGTHS, values.min(0), values.max(0), color=STYLES[mixer]["color"], lw=0.8)


def draw_blocks(table: pd.DataFrame, cost: pd.DataFrame, path: Path) -> None:
    """Draw accuracy at four times the training length, and cost, by block size."""
    accuracy = 100 * table.pivot_table(f"accuracy@{LENGTHS[2]}", "mixer", "task")
    relative = cost.pivot_table("relative", "mixer", "width")
    figure = Figure(figsize=(14, 4.3), layout="constrained")
    first, second, last = figure.subplots(1, 3)
    for axes, layer in zip((first, second), FAMILIES, strict=True):
        _draw_tasks(axes, layer, accuracy, relative[WIDTH])
    for layer, color in FAMILIES.items():
        for style, (width, times) in zip(("o-", "s--"), relative.items(), strict=True):
            names = [name_of(layer, k) for k in BLOCKS]
            last.plot(BLOCKS, times[names], style, color=color, label=f"{layer}, width {width}")
    last.set(xlabel="block size K", ylabel=COST, xscale="log", ylim=(0, None))
    last.set_xticks(BLOCKS, BLOCKS)
    last.minorticks_off()
    last.legend(frameon=False)
    tasks = [line for line in first.get_lines() if line.get_label() in TRACKED]
    figure.legend(handles=tasks, ncols=len(tasks), loc="outside lower left", frameon=False)
    save_figure(figure, str(path))


def _draw_tasks(axes: Axes, layer: str, accuracy: pd.DataFrame, relative: pd.Series) -> None:
    """Draw a line a task; torch's GRU, where each number reads each other, stands at the right."""
    names = [*(name_of(layer, k) for k in BLOCKS), "TorchGRU"]
    places = [*BLOCKS, 2 * BLOCKS[-1]]
    for task in (t for t in TRACKED if t in accuracy):
        line = accuracy[task].reindex(names)
        (drawn,) = axes.plot(BLOCKS, line[:-1], "o-", ms=4, label=task)
        axes.plot(places[-1:], line[-1:], "x", color=drawn.get_color())
    labels = [*map(str, BLOCKS), "torch's GRU"]
    times = [f"{label}\n{x:.2f}" for label, x in zip(labels, relative[names], strict=True)]
    axes.set(title=f"{layer}, width {WIDTH}", ylim=(0, 105), xscale="log")
    axes.set(xlabel="block size K, and " + COST, ylabel=f"accuracy at {LENGTHS[2]} tokens, %")
    axes.set_xticks(places, times)
    axes.minorticks_off()
