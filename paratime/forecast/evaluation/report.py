"""Results of a backtest: a table for the terminal, a CSV by series, and a page with charts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from paratime.errors import InputError
from paratime.forecast.data.labels import amount, score
from paratime.forecast.evaluation import charts
from paratime.forecast.evaluation.backtest import Backtest
from paratime.forecast.evaluation.metrics import METRICS
from paratime.io.atomic import replacing
from paratime.io.frames import write_csv
from paratime.io.html import aligned, document, escaped

SHOWN = 8
"""Series in each of the tables of the best and of the worst."""


def score_table(backtests: dict[str, Backtest]) -> str:
    """Return the metrics as aligned text, one row a model."""
    return aligned([["model", *METRICS], *_rows(backtests)])


def write_series(backtests: dict[str, Backtest], path: str | Path) -> None:
    """Write the metrics of every series by every model as CSV, whole or not at all."""
    frames = [b.per_series.assign(model=name) for name, b in backtests.items()]
    columns = ["model", "item_id", "windows", *METRICS]
    write_csv(pd.concat(frames)[columns], path, float_format="%.6g")


def write_backtest_report(
    backtests: dict[str, Backtest],
    path: str | Path,
    *,
    title: str = "Backtest",
    note: str = "",
    fans: int = 8,
) -> None:
    """Write one self-contained HTML file, whole or not at all.

    Args:
        backtests: Models by name, on the same windows; the page is about the first one.
        path: The file.
        title: Heading.
        note: A remark on the scores.
        fans: Forecasts of the first model to draw, from its worst series to its best.

    Raises:
        InputError: No models are given, or they were tested on different windows.
    """
    check(backtests)
    ours = next(iter(backtests.values()))
    body = "\n".join(
        [
            f"<h1>{escaped(title)}</h1>",
            f"<p>{_scope(ours)}</p>",
            *([f'<p class="note">{escaped(note)}</p>'] if note else []),
            _table(["", *METRICS], _rows(backtests), _best(backtests)),
            _figures([charts.horizon(backtests), charts.coverage(backtests)]),
            *_by_channel(backtests),
            *_by_series(backtests),
            "<h2>Forecasts</h2>",
            f"<p>{escaped(next(iter(backtests)))}{_order(ours, fans)}.</p>",
            _figures([charts.fan(ours, *place) for place in _places(ours, fans)]),
        ]
    )
    _write(path, document(title, body, style=STYLE))


def check(backtests: dict[str, Backtest]) -> None:
    """Check that models can be compared.

    Raises:
        InputError: No models are given, or they were tested on different windows.
    """
    if not backtests:
        raise InputError("backtests", "at least one model", "none", "pass some")
    (name, first), *others = backtests.items()
    for other, backtest in others:
        a, b = first.windows, backtest.windows
        same = a.item_id == b.item_id and np.array_equal(a.origin, b.origin)
        if not same or not np.array_equal(a.target, b.target, equal_nan=True):
            raise InputError(
                f"backtest {other!r}", f"the windows of {name!r}", "others", "use those windows"
            )


def _rows(backtests: dict[str, Backtest]) -> list[list[str]]:
    return [
        [name, *(format_metric(metric, x) for metric, x in backtest.overall.items())]
        for name, backtest in backtests.items()
    ]


def format_metric(metric: str, value: float) -> str:
    """Return a metric as text with its significant digits."""
    if not np.isfinite(value):
        return str(value)
    if metric.startswith("coverage"):
        return f"{100 * value:.1f} %"
    if metric == "RMSE":
        return f"{value:,.{max(0, 3 - len(str(int(value))))}f}" if value >= 1 else f"{value:.3g}"
    return score(value)


def _best(backtests: dict[str, Backtest]) -> set[tuple[int, int]]:
    """Return the cells (row, column) of the best values: the lowest error, the nearest share."""
    values = np.array([list(backtest.overall.values()) for backtest in backtests.values()])
    wanted = [0.80, 0.95]
    values[:, -2:] = np.abs(values[:, -2:] - wanted)
    if len(values) == 1:
        return set()
    found = np.where(np.isfinite(values), values, np.inf)
    return {(int(row), int(column)) for row, column in np.argwhere(found == found.min(0))}


def _scope(backtest: Backtest) -> str:
    w = backtest.windows
    counts = f"{w.scope}, each forecast of {amount(w.prediction_length, 'step')}"
    span = f"origins from {min(w.period)} to {max(w.period)}"
    return escaped(
        f"{counts}; {span}; frequency {w.collection.freq}, season {w.collection.seasonality}."
    )


def _by_channel(backtests: dict[str, Backtest]) -> Iterator[str]:
    """Yield a table of each model's scores by channel, if there are several."""
    if next(iter(backtests.values())).windows.target.shape[-1] < 2:
        return
    rows = [
        [f"{channel}, {name}", *(format_metric(metric, scores[metric]) for metric in METRICS)]
        for name, backtest in backtests.items()
        for channel, scores in backtest.per_channel.iterrows()
    ]
    yield "<h2>By channel</h2>"
    yield _table(["", *METRICS], sorted(rows, key=lambda row: row[0].rpartition(",")[0]), set())


def _by_series(backtests: dict[str, Backtest]) -> Iterator[str]:
    """Yield tables of the worst and the best series of the first model, by MASE."""
    (name, ours), *others = backtests.items()
    frame = ours.per_series[["item_id", "windows", "mean_wQL", "coverage_80", "MASE"]]
    for other, backtest in others:
        frame = frame.assign(**{f"MASE, {other}": backtest.per_series["MASE"]})
    frame = frame.sort_values("MASE", ascending=False).dropna(subset="MASE")
    if len(frame) < 2:
        return
    some = min(SHOWN, len(frame) // 2)
    for heading, rows in (("Worst", frame[:some]), ("Best", frame[-some:][::-1])):
        yield f"<h2>{heading} series of {escaped(name)}, by MASE</h2>"
        texts = [
            [str(row["item_id"]), f"{row['windows']}"]
            + [format_metric(column.split(",")[0], row[column]) for column in frame.columns[2:]]
            for _, row in rows.iterrows()
        ]
        yield f'<div class="names">{_table(list(frame.columns), texts, set())}</div>'


def _order(backtest: Backtest, fans: int) -> str:
    """Return the order of the charts of forecasts, in words."""
    series = len(backtest.windows.firsts)
    if series >= fans and series > 1:
        return ", from its worst series to its best, by MASE"
    return ", by series and origin" if series > 1 else ", by origin"


def _places(backtest: Backtest, count: int) -> list[tuple[int, int]]:
    """Choose windows and channels: the last window of series from worst to best.

    If series are fewer than charts, windows are spread over all of them.
    """
    w = backtest.windows
    last = np.append(w.firsts[1:], len(w)) - 1
    order = last[np.argsort(-backtest.per_series["MASE"].to_numpy(), kind="stable")]
    choice = order if len(order) >= count else np.arange(len(w))
    spread = np.unique(np.linspace(0, len(choice) - 1, min(count, len(choice))).round().astype(int))
    channels = w.target.shape[-1]
    return [(int(choice[place]), i % channels) for i, place in enumerate(spread)]


def _table(header: list[str], rows: list[list[str]], strong: set[tuple[int, int]]) -> str:
    def cell(text: str, row: int, column: int) -> str:
        best = ' class="best"' if (row, column - 1) in strong else ""
        return f"<td{best}>{escaped(text)}</td>"

    lines = ["<tr>" + "".join(f"<th>{escaped(name)}</th>" for name in header) + "</tr>"]
    for i, row in enumerate(rows):
        lines.append("<tr>" + "".join(cell(text, i, j) for j, text in enumerate(row)) + "</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _figures(figures: list[charts.Figure]) -> str:
    images = [
        f'<img src="{charts.svg(figure)}" alt="{escaped(_title(figure))}">' for figure in figures
    ]
    return '<div class="figures">' + "\n".join(images) + "</div>"


def _title(figure: charts.Figure) -> str:
    return figure.axes[0].get_title(loc="left").replace(r"\$", "$")  # as in_figure wrote it


def _write(path: str | Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


STYLE = """
.names td:first-child { min-width: 26rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: 1.4rem;
  align-items: flex-start; }
.figures img { flex: 1 1 480px; min-width: 0; max-width: 100%; background: #fff; }
"""
