"""The tables of a comparison as rows for CSV, as text for a terminal, and as Markdown."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from paratime.compare.result import Result
from paratime.compare.summary import (
    COSTS,
    SOLVER,
    Cell,
    Numbers,
    Summary,
    cost,
    effort,
    first_seen,
    number,
    quality,
    solver,
    standings,
)
from paratime.page import aligned

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


def digits(values: Iterable[float]) -> int:
    """Return how many decimals show four digits of a typical one of some numbers."""
    sizes = sorted(abs(x) for x in values if math.isfinite(x) and x)
    typical = sizes[len(sizes) // 2] if sizes else 1e3
    return min(6, max(0, 3 - math.floor(math.log10(typical))))


def shown(value: float, decimals: int) -> str:
    """Return a number for readers; with an exponent, where it would be too long or zero."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1e7 or 0 < abs(value) < 0.5 * 10**-decimals:
        return f"{value:.1e}"
    return f"{value:,.{decimals}f}"


def texts(cells: Sequence[Cell]) -> list[str]:
    """Return a column as text: mean and spread, and what is missing of each cell."""
    decimals = digits(cell.mean for cell in cells)
    return [_cell(cell, decimals) for cell in cells]


def _cell(cell: Cell, decimals: int) -> str:
    spread = "" if cell.spread is None else f" ± {shown(cell.spread, decimals)}"
    parts = [f"{shown(cell.mean, decimals)}{spread}"] if cell.values else []
    parts += [f"{cell.failed} failed"] if cell.failed else []
    parts += [f"{cell.missing} not run"] if cell.missing else []
    return ", ".join(parts) or "-"


def parameters(summary: Summary, domain: str) -> list[str]:
    """Return the number of parameters of every mixer's model on a domain."""
    runs = [summary.runs(domain, mixer) for mixer in summary.grid.mixers]
    return [f"{some[0].parameters:,}" if some else "-" for some in runs]


def legend(summary: Summary) -> str:
    """Return what a reader has to know of the numbers, in one line."""
    seeds = len(summary.grid.seeds)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return f"{over}; lower is better; * best, ~ no further from it than the spread of seeds"


def counts(summary: Summary) -> str:
    """Return how many runs there are, and how many there are not, in one line."""
    done, failed, missing = map(len, (summary.results, summary.failures, summary.missing))
    text = f"{done} of {done + failed + missing} runs finished"
    text += f", {failed} failed" if failed else ""
    return text + (f", {missing} not run" if missing else "")


def aligned_text(summary: Summary) -> str:
    """Return the table that ends a comparison: sizes, and headline metrics over seeds."""
    sign = {"best": " *", "level": " ~", "": "  "}
    columns = [["", "mixer", *summary.grid.mixers]]
    for domain, facts in summary.grid.domains.items():
        headline = facts["headline"]
        cells = summary.column(domain, quality, headline)
        marks = [sign[mark] for mark in standings(cells)]
        columns.append([domain, "parameters", *parameters(summary, domain)])
        columns.append(["", f"{headline}  ", *map("".join, zip(texts(cells), marks, strict=True))])
    rows = aligned([*zip(*columns, strict=True)])
    return f"{rows}\n\n{legend(summary)}\n{counts(summary)}"


def markdown(summary: Summary) -> str:
    """Return the headline table, those of each domain, and what failed."""
    grid = summary.grid
    heads = {
        f"{domain}: {x['headline']}": (domain, x["headline"]) for domain, x in grid.domains.items()
    }
    columns = [_marked(summary, *place) for place in heads.values()]
    blocks = [f"# {_plain(grid.title)}", _plain(f"{legend(summary)}; {counts(summary)}.")]
    blocks += [_pipes(["mixer", *heads], grid.mixers, columns)]
    for domain in grid.domains:
        blocks += _of_domain(summary, domain)
    failed = [
        _plain(f"{d}, {m}, seed {s}: {last_line(x)}") for (d, m, s), x in summary.failures.items()
    ]
    blocks += ["## Failed runs", "\n".join(f"- {line}" for line in failed)] if failed else []
    return "\n\n".join(blocks) + "\n"


def _of_domain(summary: Summary, domain: str) -> Iterator[str]:
    metrics, efforts = summary.metrics(domain), summary.names(domain, effort)
    yield f"## {_plain(domain)}"
    yield _plain(summary.grid.domains[domain]["what"])
    columns = [parameters(summary, domain), *(_marked(summary, domain, x) for x in metrics)]
    yield _pipes(["mixer", "parameters", *metrics], summary.grid.mixers, columns)
    if efforts:
        columns = [texts(summary.column(domain, effort, name)) for name in efforts]
        yield _pipes(["mixer", *efforts], summary.grid.mixers, columns)


def _marked(summary: Summary, domain: str, metric: str) -> list[str]:
    cells = summary.column(domain, quality, metric)
    sign = {"best": " *", "level": " ~", "": ""}
    return [x + sign[mark] for x, mark in zip(texts(cells), standings(cells), strict=True)]


def _pipes(header: Row, mixers: Row, columns: list[Row]) -> str:
    rows = [header, *(list(row) for row in zip(mixers, *columns, strict=True))]
    lines = ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]
    rule = "|" + "|".join(["---", *["---:"] * len(columns)]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _plain(text: str) -> str:
    """Return text in one line, in which Markdown and HTML find nothing to format."""
    return re.sub(r"([\\`*_~<>|#\[\]&])", r"\\\1", " ".join(text.split()))


def last_line(traceback: str) -> str:
    """Return the line of a traceback that says what went wrong."""
    return next((x for x in reversed(traceback.splitlines()) if x.strip()), "no traceback")
