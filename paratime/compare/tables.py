"""The tables of a comparison as rows for CSV, as text for a terminal, and as Markdown."""

import math
from collections.abc import Iterable, Iterator, Sequence

from paratime.compare.result import Result
from paratime.compare.summary import (
    COSTS,
    SOLVER,
    Cell,
    Numbers,
    Summary,
    cost,
    first_seen,
    number,
    quality,
    solver,
    standings,
)
from paratime.io.html import aligned

Row = list[str]

KEYS = ["domain", "mixer", "seed"]


def results_rows(summary: Summary) -> Iterator[Row]:
    """Yield a header and a row for each finished run: what repeats when the run is repeated."""
    names = first_seen(x for domain in summary.grid.domains for x in summary.metrics(domain))
    names = ["parameters", *names, *SOLVER]

    def numbers(run: Result) -> dict[str, float]:
        return {"parameters": float(run.parameters)} | quality(run) | solver(run)

    return _by_run(summary.results, names, numbers)


def costs_rows(summary: Summary) -> Iterator[Row]:
    """Yield a header and a row for each finished run: what it cost."""
    return _by_run(summary.results, COSTS, cost)


def curves_rows(summary: Summary) -> Iterator[Row]:
    """Yield a header and a row for each point of every curve."""
    yield [*KEYS, "curve", "step", "value"]
    for run in summary.results:
        for name, points in run.curves.items():
            for step, value in points:
                yield [*_key(run), name, exact(number(step)), exact(number(value))]


def _by_run(runs: list[Result], names: Sequence[str], numbers: Numbers) -> Iterator[Row]:
    yield [*KEYS, *names]
    for run in runs:
        found = numbers(run)
        yield [*_key(run), *(exact(found[x]) if x in found else "" for x in names)]


def _key(run: Result) -> Row:
    return [run.domain, run.mixer, str(run.seed)]


def exact(value: float) -> str:
    """Return the shortest text that is read back as the same number."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def digits(values: Iterable[float]) -> int | None:
    """Return how many decimals suit some numbers, by a typical one.

    None stands for an exponent, where that is very small.
    """
    sizes = sorted(abs(x) for x in values if math.isfinite(x) and x)
    typical = sizes[len(sizes) // 2] if sizes else 1.0
    if typical < 1e-3:
        return None
    power = math.floor(math.log10(typical))
    return max(4, 2 - power) if power < 0 else max(0, 3 - power)


def shown(value: float, decimals: int | None) -> str:
    """Return a number for readers, with an exponent also where it would be very long."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if decimals is None or abs(value) >= 1e7:
        return f"{value:.1e}"
    return f"{value:,.{decimals}f}"


def texts(cells: Sequence[Cell]) -> list[str]:
    """Return a column as text: mean and spread, and what is missing of each cell."""
    decimals = digits(cell.mean for cell in cells)
    return [_cell(cell, decimals) for cell in cells]


def _cell(cell: Cell, decimals: int | None) -> str:
    spread = "" if cell.spread is None else f" ± {shown(cell.spread, decimals)}"
    gaps = {"failed": cell.failed, "not run": cell.missing}
    absent = ", ".join(f"{count} {what}" for what, count in gaps.items() if count)
    if not cell.values:
        return absent or "-"
    return f"{shown(cell.mean, decimals)}{spread}" + (f" ({absent})" if absent else "")


def bare(cells: Iterable[Cell]) -> list[Cell]:
    """Return cells that do not say which of their runs are not there."""
    return [Cell(cell.values) for cell in cells]


def marked(cells: Sequence[Cell]) -> list[str]:
    """Return a column as text in which a sign marks the best, and those level with it."""
    signs = {"best": "*", "level": "~", "": " "}
    marks = [signs[mark] for mark in standings(cells)]
    return [text + sign for text, sign in zip(texts(cells), marks, strict=True)]


def legend(summary: Summary) -> str:
    """Return what a reader has to know of the numbers, in one line."""
    seeds = len(summary.grid.seeds)
    if seeds == 1:
        return "one seed; lower is better; * is the least value, and says no more than that"
    over = f"mean ± standard deviation over {seeds} seeds"
    return f"{over}; lower is better; * best, ~ no further from it than the spread of seeds"


def counts(summary: Summary) -> str:
    """Return how many runs there are, and how many there are not, in one line."""
    done, failed, missing = map(len, (summary.results, summary.failures, summary.missing))
    text = f"{done} of {done + failed + missing} runs finished"
    gaps = {"failed": failed, "not run": missing}
    return ", ".join([text, *(f"{count} {what}" for what, count in gaps.items() if count)])


def aligned_text(summary: Summary) -> str:
    """Return the table that ends a comparison: sizes, and headline metrics over seeds."""
    columns = [["", "mixer", *summary.grid.mixers]]
    for domain, facts in summary.grid.domains.items():
        headline = facts["headline"]
        columns.append(["", "size", *map(_short, summary.parameters(domain))])
        columns.append([domain, headline, *marked(summary.column(domain, quality, headline))])
    rows = aligned([*zip(*columns, strict=True)])
    return f"{rows}\n\n{legend(summary)}\n{counts(summary)}"


def _short(parameters: int | None) -> str:
    if parameters is None:
        return "-"
    return f"{parameters / 1e6:.2f}M" if parameters >= 1e6 else f"{parameters / 1e3:.0f}k"


def last_line(log: str) -> str:
    """Return the line of what a failed run printed that says what went wrong."""
    return next((x.strip() for x in reversed(log.splitlines()) if x.strip()), "it printed nothing")
