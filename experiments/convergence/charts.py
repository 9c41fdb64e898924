"""The figures of the README."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measures import LIMIT
from sweeps import CHUNK, CHUNKS, LENGTHS, PRECISIONS, SCALES
from verdict import TRAINED, shown
from zoo import ZOO

Tables = dict[str, pd.DataFrame]
TICKS = [1, 2, 4, 8, 16, LIMIT]
COLORS = dict(zip(ZOO, matplotlib.colormaps["tab10"].colors, strict=False))


def overview(tables: Tables) -> Figure:
    """Draw iterations against chunk for GRU and LSTM, and what a fixed count of 3 returns."""
    table, figure = tables["scale"], Figure(figsize=(13, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    for axis, name in zip(axes, ("GRU", "LSTM"), strict=False):
        for i, (scale, line) in enumerate(table[table.cell == name].groupby("scale")):
            color = matplotlib.colormaps["viridis"](i / (len(SCALES) - 0.5))
            axis.plot(line.chunk, line.iterations, "o-", color=color, label=f"{scale:g}")
        counted(axis, f"{name}, T = 1024", "steps a segment (chunk)", CHUNKS)
    legend = axes[0].get_legend_handles_labels()
    figure.legend(*legend, title="weight scale", loc="outside left upper")
    for name, rows in table[table.chunk == 1].groupby("cell", sort=False):
        axes[2].semilogy(rows.scale, rows.error_3, "o-", ms=3, label=name, color=COLORS[name])
    newton = table[table.chunk == CHUNK].groupby("scale").newton_error.max().clip(lower=1e-17)
    axes[2].semilogy(newton.index, newton, "ks--", label="Newton(), worst cell")
    axes[2].set(
        title="3 iterations of chunk 1, and Newton()",
        xlabel="weight scale",
        ylabel="largest error of a state",
    )
    axes[2].legend(fontsize=7, ncols=2, loc="center right")
    return figure


def zoo(tables: Tables) -> Figure:
    """Draw, by cell and scale, exponents, iterations, and what ``Newton()`` leaves to the loop."""
    figure, runs = Figure(figsize=(15, 3.9), layout="constrained"), tables["scale"]
    axes = figure.subplots(1, 4, sharey=True)
    exponents = grid(tables["slopes"], "exponent")
    heat(axes[0], exponents, "largest Lyapunov exponent", "RdBu_r", (-0.5, 0.5), "{:+.2f}".format)
    for axis, chunk in zip(axes[1:], (1, CHUNK), strict=False):
        counts = grid(runs[runs.chunk == chunk], "iterations")
        heat(axis, counts.map(np.log2), f"iterations, chunk {chunk}", "YlOrRd", BAND, as_count)
    shares = grid(runs[runs.chunk == CHUNK], "loop_share")
    heat(
        axes[3],
        shares,
        "steps that Newton() leaves to the loop",
        "Greys",
        (0, 1.4),
        "{:.0%}".format,
    )
    for axis in axes:
        axis.set_xlabel("weight scale")
    return figure


def factors(tables: Tables) -> Figure:
    """Draw iterations against length, precision and density of resets."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    length, reset, precision = (tables[name] for name in ("length", "reset", "precision"))
    for row, (title, first) in enumerate((("chunk 1", True), ("default chunk", False))):
        for name in ZOO:
            style: dict[str, Any] = {"color": COLORS[name], "label": name, "alpha": 0.8}
            of = length[(length.cell == name) & ((length.chunk == 1) == first)]
            axes[row, 0].plot(of.steps, of.iterations, "o-", **style)
            of = reset[(reset.cell == name) & ((reset.chunk == 1) == first)]
            axes[row, 1].plot(of.density.clip(lower=1e-4), of.iterations, "o-", **style)
            of = precision[(precision.cell == name) & ((precision.chunk == 1) == first)]
            of = of[of.scale == 1]
            axes[row, 2].plot(range(len(of)), of.iterations, "o-", **style)
        counted(axes[row, 0], f"length, {title}, scale 1", "T", LENGTHS)
        counted(axes[row, 1], f"resets, {title}, scale 2", "share of steps", ())
        axes[row, 1].set_xticks([1e-4, 1e-3, 1e-2, 1e-1], ["0", "0.001", "0.01", "0.1"])
        counted(axes[row, 2], f"precision, {title}, scale 1", "", ())
        axes[row, 2].set_xscale("linear")
        axes[row, 2].set_xticks(range(len(PRECISIONS)), PRECISIONS)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def training(tables: Tables) -> Figure:
    """Draw iterations and exponents at the beginning, in the middle and at the end of training."""
    figure = Figure(figsize=(14, 3.9), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    table = pd.concat([tables[domain] for domain in TRAINED])
    table["at"] = table.domain + "\n" + table.step.astype(str)
    for axis, what in zip(axes, ("iterations_1", "iterations"), strict=False):
        chunk = "chunk 1" if what == "iterations_1" else "default chunk"
        heat(
            axis,
            grid(table, what, "at").map(np.log2),
            f"iterations, {chunk}",
            "YlOrRd",
            BAND,
            as_count,
        )
    exponents = grid(table, "exponent", "at")
    heat(axes[2], exponents, "largest Lyapunov exponent", "RdBu_r", (-0.5, 0.5), "{:+.2f}".format)
    return figure


BAND = (0.0, np.log2(LIMIT) + 1)


def as_count(logarithm: float) -> str:
    """Return a count of which this is the logarithm."""
    return shown(round(2**logarithm))


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


def counted(axis: Axes, title: str, across: str, ticks: tuple[int, ...]) -> None:
    """Label axes of which the upright one counts iterations."""
    axis.set(title=title, xscale="log", yscale="log", xlabel=across, ylabel="iterations")
    axis.axhline(LIMIT, color="0.7", lw=0.8, ls=":")
    axis.set_xticks(ticks, ticks)
    axis.minorticks_off()
    axis.set_yticks(TICKS, [*map(str, TICKS[:-1]), f">{LIMIT}"])


FIGURES = {"figure": overview, "zoo": zoo, "factors": factors, "training": training}
"""By the name of the file."""
