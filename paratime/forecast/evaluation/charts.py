"""Charts of backtests: a forecast with its intervals, coverage, and error by horizon.

Lines are labelled at their ends, not in a legend. A model has the same colour in all charts, by its
place among the models.
"""

import base64
from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.series import Collection
from paratime.forecast.data.stamps import STARTS
from paratime.forecast.evaluation.backtest import Backtest
from paratime.io.figures import COLORS, GRID, INK, PALE, RULE, in_figure, spread, without_glyphs

HISTORY = 3
"""Horizons of history in a chart of a forecast, which shows two seasons at least."""

WIDE, LOW, TALL = 5.4, 2.6, 3.7
SPACE = 0.2
"""Least distance of labels, in inches like the sizes of charts."""

PANELS = 12
"""Forecasts in one figure."""

LONGEST = 50
"""Letters of a title."""

SHORT = 30
"""Letters of a label next to the axes, which make room for it."""

LETTERS = 80
"""Letters of a line of the note, for each column of panels."""


def fan(backtest: Backtest, window: int, channel: int = 0) -> Figure:
    """Draw one forecast: median, intervals of 80 % and 95 %, history and target.

    Args:
        backtest: Forecasts.
        window: Index of the forecast.
        channel: Channel of the target.
    """
    with _style():
        figure, axes = _canvas(LOW, "")
        _fan(axes, backtest, window, channel)
    return figure


def fans(backtest: Backtest, note: str = "") -> Figure:
    """Draw the first ``PANELS`` forecasts, of any channel, side by side.

    Args:
        backtest: Forecasts.
        note: A remark on them, written below.
    """
    channels = backtest.windows.target.shape[-1]
    places = [(i // channels, i % channels) for i in range(len(backtest.windows) * channels)]
    places = places[:PANELS]
    columns = min(len(places), 3)
    rows = -(-len(places) // columns)
    with _style():
        figure = Figure(figsize=(WIDE * columns, LOW * rows), layout="constrained")
        FigureCanvasAgg(figure)
        for i, place in enumerate(places):
            _fan(figure.add_subplot(rows, columns, i + 1), backtest, *place)
        if note:
            text = in_figure(note, LETTERS * columns, longest=1000)
            figure.supxlabel(text, x=0.01, ha="left", color=PALE)
    return figure


def _fan(axes: Axes, backtest: Backtest, window: int, channel: int) -> None:
    w = backtest.windows
    origin, h, values = int(w.origin[window]), w.prediction_length, w.values(window)[:, channel]
    first = max(0, origin + 1 - max(HISTORY * h, 2 * w.collection.seasonality))
    with quiet_periods():
        start = w.period[window] - (origin - first)
        times = pd.period_range(start, periods=origin + h + 1 - first, freq=start.freq)
        dates = w.collection.entries[w.series[window]].get("stamps", STARTS).times(times)
    dated = isinstance(dates, pd.DatetimeIndex)
    dates = (dates.tz_localize(None) if dated else dates).to_numpy()  # as on the zone's clock
    split = origin + 1 - first
    name = shorten_title(w.item_id[window]) + _channel(w.collection, channel)
    axes.set_title(in_figure(name))
    axes.plot(dates[:split], values[first : origin + 1], color=PALE, lw=1)
    _bands(axes, backtest, window, channel, dates[split:])
    axes.plot(dates[split - 1 :], values[origin : origin + h + 1], color=INK, lw=1.1)
    axes.axvline(dates[split - 1], color=PALE, lw=0.8, ls=(0, (2, 3)))
    if dated:
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.margins(x=0.005)


def _channel(data: Collection, channel: int) -> str:
    """Return the channel's part of a title, empty for a single channel."""
    if len(names := data.channel_names) < 2:
        return ""
    return f", {shorten_title(names[channel])}" if data.channels else f", channel {channel}"


def _bands(axes: Axes, backtest: Backtest, window: int, channel: int, dates: np.ndarray) -> None:
    color = COLORS[0]
    at = {q: backtest.quantile(q)[window, :, channel] for q in (0.025, 0.1, 0.5, 0.9, 0.975)}
    if len(dates) == 1:
        axes.vlines(dates, at[0.025], at[0.975], color=color, alpha=0.3, lw=5)
        axes.vlines(dates, at[0.1], at[0.9], color=color, alpha=0.5, lw=5)
    axes.fill_between(dates, at[0.025], at[0.975], color=color, alpha=0.16, lw=0)
    axes.fill_between(dates, at[0.1], at[0.9], color=color, alpha=0.26, lw=0)
    axes.plot(dates, at[0.5], color=color, lw=1.6, marker="o" if len(dates) == 1 else None)
    actual = backtest.windows.target[window, :, channel]
    ends = {"median": (at[0.5][-1], color), "95 %": (at[0.975][-1], "#8fb3d6")}
    ends |= {"80 %": (at[0.9][-1], "#5b8fc2"), "actual": (actual[-1], INK)}
    _label_ends(axes, {k: x for k, x in ends.items() if np.isfinite(x[0])}, SPACE / LOW)


def coverage(backtests: dict[str, Backtest]) -> Figure:
    """Draw the share of targets inside each central interval, next to its nominal share."""
    with _style():
        figure, axes = _canvas(TALL, "Coverage of central intervals")
        axes.plot([0, 1], [0, 1], color=PALE, lw=1, ls=(0, (4, 3)))
        ends = {"ideal": (1.0, PALE)}
        for color, (name, backtest) in zip(_colors(len(backtests)), backtests.items(), strict=True):
            shares = backtest.intervals
            axes.plot(shares.nominal, shares.empirical, "o-", color=color, lw=1.6, ms=4)
            ends[name] = (float(shares.empirical.iloc[-1]), color)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal", ylabel="targets inside")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
        _label_ends(axes, ends, SPACE / TALL)
    return figure


def horizon(backtests: dict[str, Backtest], metric: str = "MASE") -> Figure:
    """Draw a metric by step of the horizon."""
    with _style():
        figure, axes = _canvas(TALL, f"{metric} by step of the horizon")
        ends = {}
        for color, (name, backtest) in zip(_colors(len(backtests)), backtests.items(), strict=True):
            values = backtest.per_step[metric].replace([np.inf, -np.inf], np.nan)
            marker = "o" if len(values) <= 24 else None
            axes.plot(values.index, values, color=color, lw=1.6, marker=marker, ms=3.5)
            if np.isfinite(values.iloc[-1]):
                ends[name] = (float(values.iloc[-1]), color)
        axes.set(xlabel="steps ahead", ylabel=metric)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        _label_ends(axes, ends, SPACE / TALL)
    return figure


def shorten_title(name: str) -> str:
    """Return a name without its middle if it is too long for a title."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]} … {name[-LONGEST // 2 :]}"


def svg(figure: Figure) -> str:
    """Return a figure as a data address, for a self-contained page."""
    buffer = BytesIO()
    with _style(), without_glyphs():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _canvas(height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDE, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(in_figure(title))
    return figure, axes


def _colors(count: int) -> Sequence[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _label_ends(axes: Axes, ends: dict[str, tuple[float, str]], apart: float) -> None:
    """Write names right of the axes, at the heights of the ends of lines, moved apart."""
    low, high = axes.get_ylim()
    places = spread([(height - low) / (high - low) for height, _ in ends.values()], apart, 1)
    for name, place in zip(ends, places, strict=True):
        axes.annotate(
            in_figure(name, longest=SHORT),
            (1, place),
            xytext=(5, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=ends[name][1],
            va="center",
        )


def _style() -> AbstractContextManager[None]:
    return matplotlib.rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlecolor": INK,
            "axes.labelcolor": PALE,
            "axes.edgecolor": RULE,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.7,
            "xtick.color": RULE,
            "ytick.color": RULE,
            "xtick.labelcolor": PALE,
            "ytick.labelcolor": PALE,
            "svg.hashsalt": "paratime",
        }
    )
