"""What the CUDA kernels should take on A100, H100 and B200, and where one method beats the other.

    python experiments/cuda/roofline.py                 # writes roofline.csv and roofline.png
    python experiments/cuda/roofline.py --thresholds    # and the table that paratime chooses by

``model.py`` has the formulas, ``machines.py`` every assumption, ``static.csv`` the machine code.
"""

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from crossover import Key, crossover, rounded, write_thresholds
from kernels import CELLS, FORMATS, Codes, Missing, read_codes
from machines import MACHINES, assumptions
from matplotlib.axes import Axes
from model import KERNELS, Prediction, Problem

from paratime.io import replacing

HERE = Path(__file__).parent
SHAPES = (
    (1, 512, 256),
    (1, 8192, 1024),
    (1, 65536, 128),
    (8, 2048, 1024),
    (16, 2048, 2048),
    (64, 2048, 1024),
)
"""B, T and D."""

SHOWN = ("gru1", "gru4", "lstm1")
BASE, CELL, STEPS = "H100", "gru1", 8192
"""What the thresholds of the package are for."""

GRID = tuple(sorted({8 * round(2 ** (i / 16) / 8) for i in range(5 * 16, 17 * 16 + 1)}))
"""Channels B C from 32 to 131072."""

SEQUENTIAL_ONLY = {("gru4", "float64")}
"""Cells and formats without parallel kernels."""

SOURCE = "estimated for an H100 by experiments/cuda/roofline.py"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print assumptions, times and crossovers; write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thresholds", action="store_true", help="write paratime's table as well")
    options = parser.parse_args(arguments)
    try:
        table, met = predictions(), crossovers()
    except Missing as error:
        raise SystemExit(str(error)) from error
    with replacing(HERE / "roofline.csv") as draft:
        table.to_csv(draft, index=False, float_format="%.4g")
    draw(HERE / "roofline.png")
    for title, part in (
        ("Assumptions", assumptions()),
        (f"Times on an {BASE} in microseconds, and what limits them", summary(table)),
        (f"Channels B C from which the sequential kernel wins, T = {STEPS}", met),
        ("Channels B C from which the sequential kernel is bound by memory", saturation()),
        ("Times by the one table for all, at worst, over those of the better method", losses()),
    ):
        print(f"{title}\n\n{part.to_string(index=False)}\n")
    if options.thresholds:
        write_thresholds(thresholds(), SOURCE)


@cache
def codes() -> Codes:
    """Return the machine code of all kernels."""
    return Codes(read_codes())


def predict(
    machine: str, cell: str, format: str, shape: tuple[int, int, int], kernel: Key
) -> Prediction:
    """Predict a kernel, named by direction and method, at B x T x C."""
    problem = Problem(*shape, CELLS[cell], FORMATS[format], MACHINES[machine], codes())
    return KERNELS[kernel](problem)


def predictions() -> pd.DataFrame:
    """Return what every kernel moves, issues and takes at every shape."""
    rows = []
    for machine in MACHINES:
        for cell in SHOWN:
            for format in ("float32", "bfloat16"):
                for shape in SHAPES:
                    rows += [_row(machine, cell, format, shape, kernel) for kernel in KERNELS]
    return pd.DataFrame(rows)


def _row(
    machine: str, cell: str, format: str, shape: tuple[int, int, int], kernel: Key
) -> dict[str, object]:
    batch, steps, width = shape
    found = predict(machine, cell, format, (batch, steps, width // CELLS[cell].k), kernel)
    times = ("memory", "cache", "issue", "latency", "time")
    return {
        "machine": machine,
        "cell": cell,
        "format": format,
        "shape": " x ".join(map(str, shape)),
        "direction": kernel[0],
        "method": kernel[1],
        "MB": found.bytes / 1e6,
        "million instructions": found.instructions / 1e6,
        **{f"{name} us": 1e6 * getattr(found, name) for name in times},
        "bound": found.bound,
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the times on one machine side by side, and how far the sequential kernels are off."""
    chosen = table[table.machine == BASE].copy()
    chosen["text"] = [f"{x:.0f} {bound}" for x, bound in chosen[["time us", "bound"]].values]
    index = ["cell", "format", "shape"]
    chosen["kernel"] = chosen.direction + " " + chosen.method
    wide = chosen.pivot(index=index, columns="kernel", values="text")
    times = chosen.pivot(index=index, columns="kernel", values="time us")
    for direction in ("forward", "backward"):
        ratio = times[f"{direction} sequential"] / times[f"{direction} parallel"]
        wide[f"{direction} ratio"] = ratio.round(2)
    order = pd.MultiIndex.from_frame(chosen[index].drop_duplicates())
    return wide.loc[order].reset_index()


def curve(machine: str, cell: str, format: str, kernel: Key, steps: int = STEPS) -> list[float]:
    """Return the times over the channels of ``GRID``, for one sequence."""
    return [predict(machine, cell, format, (1, steps, x), kernel).time for x in GRID]


def meeting(machine: str, cell: str, format: str, direction: str, steps: int = STEPS) -> float:
    """Return the channels from which the sequential kernel is never the slower one."""
    sequential = curve(machine, cell, format, (direction, "sequential"), steps)
    return crossover(GRID, sequential, curve(machine, cell, format, (direction, "parallel"), steps))


def crossovers() -> pd.DataFrame:
    """Return the crossovers of all cells and formats, to two digits; empty without a kernel."""
    rows = []
    for machine in MACHINES:
        for cell in CELLS:
            for direction in ("forward", "backward"):
                row: dict[str, object] = {"machine": machine, "cell": cell, "direction": direction}
                for format in FORMATS:
                    row[format] = _meeting_text(machine, cell, format, direction)
                rows.append(row)
    return pd.DataFrame(rows)


def _meeting_text(machine: str, cell: str, format: str, direction: str) -> str:
    if (cell, format) in SEQUENTIAL_ONLY:
        return "always"
    return str(rounded(meeting(machine, cell, format, direction), GRID[-1]))


def saturation() -> pd.DataFrame:
    """Return from how many channels on the sequential kernels are bound by memory."""
    rows = []
    for machine in MACHINES:
        for direction in ("forward", "backward"):
            row: dict[str, object] = {"machine": machine, "direction": direction}
            for format in FORMATS:
                bounds = [
                    predict(machine, CELL, format, (1, STEPS, x), (direction, "sequential")).bound
                    for x in GRID
                ]
                last = max(i for i, bound in enumerate(["", *bounds]) if bound != "memory")
                row[format] = rounded(GRID[last], GRID[-1]) if last < len(GRID) else "never"
            rows.append(row)
    return pd.DataFrame(rows)


def thresholds() -> dict[Key, int]:
    """Return the channels for the package's table, by direction and format."""
    return {
        (direction, format): rounded(meeting(BASE, CELL, format, direction), GRID[-1])
        for direction in ("forward", "backward")
        for format in FORMATS
    }


def losses() -> pd.DataFrame:
    """Return by what factor the table's method is the slower one at worst, over channels."""
    table, rows = thresholds(), []
    for machine in MACHINES:
        for cell in CELLS:
            row: dict[str, object] = {"machine": machine, "cell": cell}
            for direction in ("forward", "backward"):
                formats = [x for x in FORMATS if (cell, x) not in SEQUENTIAL_ONLY]
                found = (_loss(machine, cell, x, direction, table[direction, x]) for x in formats)
                row[direction] = round(max(found), 2)
            rows.append(row)
    return pd.DataFrame(rows)


def _loss(machine: str, cell: str, format: str, direction: str, threshold: int) -> float:
    sequential, parallel = (
        np.array(curve(machine, cell, format, (direction, method)))
        for method in ("sequential", "parallel")
    )
    chosen = np.where(np.array(GRID) >= threshold, sequential, parallel)
    return float(np.max(chosen / np.minimum(sequential, parallel)))


def draw(path: Path) -> None:
    """Draw times over channels on one machine, and the ratio of the methods on all."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6))
    for axis, direction in zip(axes, ("forward", "backward"), strict=False):
        _draw_times(axis, direction)
    for machine in MACHINES:
        for format, style in (("float32", "-"), ("bfloat16", "--")):
            sequential = curve(machine, CELL, format, ("forward", "sequential"))
            ratio = np.divide(sequential, curve(machine, CELL, format, ("forward", "parallel")))
            colour = f"C{list(MACHINES).index(machine)}"
            axes[2].loglog(GRID, ratio, style, color=colour, label=f"{machine}, {format}")
    axes[2].axhline(1, color="black", linewidth=0.8)
    axes[2].set(
        title="forward, sequential / Newton", xlabel="channels B C", ylabel="ratio of times"
    )
    axes[2].legend(fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120)
    plt.close(figure)


def _draw_times(axis: Axes, direction: str) -> None:
    names = {"sequential": "sequential", "parallel": "Newton" if direction == "forward" else "scan"}
    for format, style, side in (("float32", "-", 1), ("bfloat16", "--", -1)):
        times = {name: curve(BASE, CELL, format, (direction, name)) for name in names}
        for colour, (method, name) in enumerate(names.items()):
            label = f"{name}, {format}"
            axis.loglog(GRID, 1e6 * np.array(times[method]), style, color=f"C{colour}", label=label)
        where = meeting(BASE, CELL, format, direction)
        height = 1e6 * np.interp(where, GRID, times["sequential"])
        axis.plot(where, height, "o", color="black", markersize=5)
        text = f"{rounded(where, GRID[-1])}, {format}"
        axis.annotate(
            text,
            (where, height),
            xytext=(4 * side, -11 * side - 3),
            ha="left" if side > 0 else "right",
            fontsize=8,
            textcoords="offset points",
        )
    axis.loglog(GRID, _floor(direction), ":", color="grey", label="memory alone, float32")
    axis.set_title(f"{direction}, {CELL}, {BASE}, T = {STEPS}")
    axis.set(xlabel="channels B C", ylabel="microseconds")
    axis.legend(fontsize=8)


def _floor(direction: str) -> list[float]:
    """Return the microseconds that the bytes in float32 take."""
    kernel = (direction, "sequential")
    return [1e6 * predict(BASE, CELL, "float32", (1, STEPS, x), kernel).memory for x in GRID]


if __name__ == "__main__":
    main()
