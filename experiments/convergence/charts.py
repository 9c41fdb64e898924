"""The figures of the README."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from solves import LIMIT
from sweeps import CHUNK, CHUNKS, SCALES, STEPS
from verdict import TRAINED, shown
from zoo import ZOO

Tables = dict[str, pd.DataFrame]
COLORS = dict(zip(ZOO, matplotlib.colormaps["tab10"].colors, strict=False))


def overview(tables: Tables) -> Figure:
    """Draw iterations against chunk for GRU and LSTM, and what a fixed count of 3 returns."""
    table, figure = tables["scale"], Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, name in zip(axes, ("GRU", "LSTM"), strict=False):
        for i, (scale, line) in enumerate(table[table.cell == name].groupby("scale")):
            color = matplotlib.colormaps["viridis"](i / (len(SCALES) - 0.5))
            axis.plot(line.chunk, line.iterations, "o-", color=color, label=f"{scale:g}")
        axis.axhline(LIMIT, color="0.7", lw=0.8, ls=":")
        axis.set(
            title=f"{name}, T = {STEPS}",
            xscale="log",
            yscale="log",
            xlabel="steps a segment (chunk)",
            ylabel="iterations",
        )
        axis.set_xticks(CHUNKS, CHUNKS)
        axis.minorticks_off()
        axis.set_yticks([1, 2, 4, 8, 16, LIMIT], ["1", "2", "4", "8", "16", f">{LIMIT}"])
    legend = axes[0].get_legend_handles_labels()
    figure.legend(*legend, title="scale", loc="outside left upper")
    for name, rows in table[table.chunk == 1].groupby("cell", sort=False):
        axes[2].semilogy(rows.scale, rows.error_3, "o-", ms=3, label=name, color=COLORS[name])
    newton = table.groupby("scale").newton_error.max()
    axes[2].semilogy(newton.index, newton, "ks--", label="Newton(), worst of all")
    axes[2].set(
        title="3 iterations of chunk 1, and Newton()",
        xlabel="scale",
        ylabel="largest error of a state",
        ylim=(1e-14, 1e3),
    )
    axes[2].legend(fontsize=7, ncols=2, loc="center right", bbox_to_anchor=(1, 0.36))
    return figure


def zoo(tables: Tables) -> Figure:
    """Draw, by cell and scale, exponents, iterations, and what ``Newton()`` leaves to the loop."""
    figure, runs = Figure(figsize=(15, 3.9), layout="constrained"), tables["scale"]
    axes = figure.subplots(1, 4, sharey=True)
    signed(axes[0], grid(tables["slopes"], "exponent"), "largest Lyapunov exponent")
    for axis, chunk in zip(axes[1:], (1, CHUNK), strict=False):
        counted(axis, grid(runs[runs.chunk == chunk], "iterations"), f"iterations, chunk {chunk}")
    shares = grid(runs[runs.chunk == CHUNK], "loop_share")
    title = "steps that Newton() leaves to the loop"
    heat(axes[3], shares, title, "Greys", (0, 1.4), "{:.0%}".format)
    for axis in axes:
        axis.set_xlabel("scale")
    return figure


def factors(tables: Tables) -> Figure:
    """Draw iterations by cell and length, density of resets, and precision."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    precise = tables["precision"]
    parts = (
        (tables["length"], "steps", "T, at scale 1"),
        (tables["reset"], "density", "share of steps with a reset, at scale 2"),
        (precise[precise.scale == 1], "precision", "precision, at scale 1"),
    )
    for axes, first in zip(figure.subplots(2, 3, sharey=True), (True, False), strict=True):
        for axis, (table, columns, across) in zip(axes, parts, strict=True):
            counts = grid(table[(table.chunk == 1) == first], "iterations", columns)
            counted(axis, counts, f"iterations, {'chunk 1' if first else 'default chunk'}")
            axis.set_xlabel(across)
    return figure


def training(tables: Tables) -> Figure:
    """Draw iterations and exponents at the beginning, in the middle and at the end of training."""
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    table = pd.concat([tables[domain] for domain in TRAINED])
    table["at"] = table.domain + table.step.astype(str)
    counted(axes[0], grid(table, "iterations_1", "at"), "iterations, chunk 1")
    counted(axes[1], grid(table, "iterations", "at"), "iterations, default chunk")
    signed(axes[2], grid(table, "exponent", "at"), "largest Lyapunov exponent")
    begin, middle, end = map(str, sorted(table.step.unique()))
    for axis in axes:
        names = [x for domain in TRAINED for x in (begin, f"{middle}\n{domain}", end)]
        axis.set_xticks(range(len(names)), names)
        axis.set_xlabel("training step")
    return figure


def grid(table: pd.DataFrame, value: str, columns: str = "scale") -> pd.DataFrame:
    """Return a value by cell and column, in the order of the zoo and of the rows."""
    wide = table.pivot(index="cell", columns=columns, values=value)
    return wide.loc[[*ZOO], table[columns].unique()]


def heat(
    axis: Axes, table: pd.DataFrame, title: str, colors: str, band: tuple[float, float], text: Any
) -> None:
    """Draw a table as colours with its numbers."""
    image = axis.imshow(table, cmap=colors, vmin=band[0], vmax=band[1], aspect="auto")
    for (i, j), value in np.ndenumerate(table.to_numpy()):
        dark = sum(image.cmap(image.norm(value))[:3]) < 1.4
        style = {"color": "white" if dark else "black", "ha": "center", "va": "center"}
        axis.text(j, i, text(value), fontsize=8, **style)
    names = [f"{x:g}" if isinstance(x, float) else str(x) for x in table.columns]
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_yticks(range(len(table)), table.index)
    axis.set_title(title, fontsize=10)


def counted(axis: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw counts of iterations as colours, by their logarithms."""
    band = (0.0, np.log2(LIMIT) + 1)
    logarithms = table.map(np.log2)
    heat(axis, logarithms, title, "YlOrRd", band, lambda x: shown(round(2**x)))


def signed(axis: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw numbers of either sign as colours."""
    heat(axis, table, title, "RdBu_r", (-0.5, 0.5), "{:+.2f}".format)


FIGURES = {"figure": overview, "zoo": zoo, "factors": factors, "training": training}
"""By the name of the file."""
