"""Results: rows that are on the disk as soon as they are measured, and what they show."""

import csv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
from contestants import METHODS, PARA
from crossover import Key, crossover, rounded

from paratime.io import replacing

CELL = "gru1"
"""Whose crossovers go into the package's table."""

MARGIN = 0.05
"""Times closer than this are taken as equal; then the sequential kernel is to be preferred."""

TIMES = (
    *("what", "contestant", "method", "format", "B", "T", "D", "pass", "ms", "q1", "q3"),
    *("bytes", "copy_ms", "share", "tokens/s", "device"),
)
ERRORS = ("layer", "method", "format", "value", "gradient", "right")


class Table:
    """A new CSV file, which has every row as soon as it is added.

    Args:
        path: The file; an older one is replaced.
        columns: Its columns; a row may lack some of them.
        constants: Values that all rows share.
    """

    def __init__(self, path: Path, columns: Sequence[str], **constants: object) -> None:
        self.path, self.columns, self.constants = path, columns, constants
        self.rows: list[dict[str, object]] = []
        path.unlink(missing_ok=True)
        self._append(dict(zip(columns, columns, strict=True)))

    def add(self, row: Mapping[str, object]) -> None:
        """Append a row, with four digits a measured value."""
        whole = {**row, **self.constants}
        self.rows.append(whole)
        short = {k: f"{x:.4g}" if isinstance(x, float) else x for k, x in whole.items()}
        self._append(short)

    def _append(self, row: Mapping[str, object]) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)

    def frame(self, what: str | None = None) -> pd.DataFrame:
        """Return the rows, or those of one stage."""
        rows = [row for row in list(self.rows) if what in (None, row.get("what"))]
        return pd.DataFrame(rows, columns=list(self.columns))


def summary(times: Table) -> str:
    """Return all that was measured, as aligned text."""
    parts = []
    if not (kernels := times.frame("kernel")).empty:
        names = ["contestant", "B", "T", "D", "format", "pass", "method", "ms", "copy_ms", "share"]
        rates = kernels[names].assign(GBps=kernels["bytes"] / kernels["ms"].astype(float) / 1e6)
        parts.append(("Kernels next to a copy of as many bytes; share of its bandwidth", rates))
    if not (layers := times.frame("layer")).empty:
        parts.append(("Milliseconds of layers", wide(layers)))
    if not (methods := times.frame("method")).empty:
        parts.append(("Milliseconds of both methods", curves(methods)))
        parts.append(("Channels B C from which the sequential kernel wins", crossovers(methods)))
    if not (language := times.frame("language")).empty:
        names = ["contestant", "B", "T", "D", "ms", "tokens/s"]
        parts.append(("Training steps of a language model, bf16-mixed", language[names]))
    return "\n\n".join(f"{title}\n{aligned(part)}" for title, part in parts)


def aligned(table: pd.DataFrame) -> str:
    """Return a table as text, with four digits a value."""
    return table.to_string(index=False, na_rep="-", float_format=lambda x: f"{x:.4g}")


def wide(layers: pd.DataFrame) -> pd.DataFrame:
    """Return medians of the layers with one column a shape and pass."""
    shape = layers[["B", "T", "D"]].astype(str).agg(" x ".join, axis=1)
    keys = layers["format"].str.cat(layers["contestant"], sep=" ")
    columns = shape.str.cat(layers["pass"], sep=" ")
    table = layers.assign(key=keys, column=columns).pivot(
        index="key", columns="column", values="ms"
    )
    table = table.loc[keys.unique(), columns.unique()]
    return table.rename_axis(None, axis=1).rename_axis("layer").reset_index()


def curves(methods: pd.DataFrame) -> pd.DataFrame:
    """Return medians of both methods, with one row a cell, format, pass and width."""
    keys = ["contestant", "format", "pass", "D"]
    table = methods.pivot_table(index=keys, columns="method", values="ms", sort=False)
    return table.rename_axis(None, axis=1).reset_index()


def crossovers(methods: pd.DataFrame) -> pd.DataFrame:
    """Return where the curves of both methods meet, by cell, pass and format."""
    rows = []
    for (cell, direction, format), part in methods.groupby(
        ["contestant", "pass", "format"], sort=False
    ):
        times = part.pivot(index="D", columns="method", values="ms").sort_index()
        times = times.reindex(columns=METHODS).dropna()
        if len(times) > 1:
            first, second = (times[x].to_numpy(float) for x in METHODS)
            where = crossover(list(times.index), first, second, margin=MARGIN)
            rows.append((cell, direction, format, rounded(where, times.index[-1])))
    return pd.DataFrame(rows, columns=["cell", "direction", "format", "channels"])


def thresholds(found: pd.DataFrame) -> dict[Key, int]:
    """Return the channels for the package's table, by direction and format."""
    own = found[found.cell == CELL]
    return {(x.direction, x.format): int(x.channels) for x in own.itertuples()}


def draw(times: Table, path: Path) -> None:
    """Draw both methods over the channels, and layers relative to ours, if matplotlib is there."""
    methods, layers = times.frame("method"), times.frame("layer")
    if find_spec("matplotlib") is None or methods.empty or layers.empty:
        return
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(17, 5), width_ratios=(1, 1, 1.1))
    own = methods[methods.contestant == CELL]
    for axis, direction in zip(axes, ("forward", "backward"), strict=False):
        _draw_methods(axis, own[own["pass"] == direction])
        axis.set(title=f"{direction}, {CELL}, T = {own['T'].iloc[0]}")
    both = layers[(layers["pass"] == "both") & (layers.format == "float32")]
    shape = both[["B", "T", "D"]].astype(str).agg(" x ".join, axis=1)
    table = both.assign(shape=shape).pivot(index="contestant", columns="shape", values="ms")
    table = table.loc[both.contestant.unique(), shape.unique()]
    (table / table.loc[next(iter(PARA))]).plot.barh(ax=axes[2], width=0.8)
    axes[2].set(xscale="log", xlabel="forward and backward / ParaGRU, float32", ylabel="")
    axes[2].axvline(1, color="black", linewidth=0.8)
    axes[2].invert_yaxis()
    axes[2].legend(title="B x T x D", fontsize=8, title_fontsize=8, bbox_to_anchor=(1, 1))
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    with replacing(path) as draft:
        figure.savefig(draft, dpi=120)
    plt.close(figure)


def _draw_methods(axis: object, rows: pd.DataFrame) -> None:
    for format, style in (("float32", "-"), ("bfloat16", "--")):
        for colour, method in enumerate(METHODS):
            part = rows[(rows.format == format) & (rows.method == method)].sort_values("D")
            label = f"{method}, {format}"
            axis.loglog(part.D, part.ms, style, marker=".", color=f"C{colour}", label=label)
            axis.fill_between(part.D, part.q1, part.q3, color=f"C{colour}", alpha=0.2)
    axis.set(xlabel="channels B C", ylabel="milliseconds")
    axis.legend(fontsize=8)
