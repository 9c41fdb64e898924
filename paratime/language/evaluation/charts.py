"""Charts of perplexity against the position in the document."""

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from paratime.io.figures import COLORS, GRID, PALE, in_figure
from paratime.language.evaluation.evaluate import Evaluation, perplexity


def position_chart(evaluation: Evaluation, title: str) -> Figure:
    """Draw perplexity by position, and below it the number of documents that reach it.

    The band is two standard errors wide on each side, as if tokens were independent.

    Args:
        evaluation: The scores.
        title: Title of the chart.
    """
    bins = evaluation.positions
    longest = max(score.tokens for score in evaluation.documents)
    places = [math.sqrt(p.first * min(p.last, longest)) for p in bins]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    top, low = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.set_title(in_figure(title), loc="left", fontsize=10, weight="bold")
    _curve(top, evaluation, places)
    low.step(places, [p.documents for p in bins], where="mid", color=PALE, lw=1.4)
    low.set(ylabel="documents", ylim=(0, 1.1 * bins[0].documents), xscale="log")
    low.set_xlabel("position in the document, tokens")
    low.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    low.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axes in (top, low):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=GRID, lw=0.7)
    figure.align_ylabels()
    return figure


def _curve(axes: Axes, evaluation: Evaluation, places: list[float]) -> None:
    bins, mean = evaluation.positions, evaluation.total.perplexity
    below, above = ([perplexity(p.loss + n * p.error) for p in bins] for n in (-2, 2))
    axes.fill_between(places, below, above, color=COLORS[0], alpha=0.2, lw=0)
    curve = [p.perplexity for p in bins]
    axes.plot(places, curve, color=COLORS[0], lw=1.8, marker="o", ms=4)
    axes.axhline(mean, color=PALE, lw=1, ls=(0, (4, 3)), zorder=1)
    look: dict[str, Any] = {"ha": "right", "va": "bottom", "color": PALE, "fontsize": 9}
    axes.text(1, mean, f"all tokens: {mean:.3g}", transform=axes.get_yaxis_transform(), **look)
    axes.set(ylabel="perplexity", yscale="log", ylim=(min(curve) / 1.2, max(curve) * 1.2))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.minorticks_off()
