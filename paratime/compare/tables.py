"""The tables of a comparison as rows for CSV, as text for a terminal, and as Markdown."""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from paratime.compare.results import (
    COSTS,
    SOLVER,
    Numbers,
    Result,
    Standing,
    Summary,
    cost,
    effort,
    first_seen,
    number,
    quality,
    solver,
    standings,
)
from paratime.io.atomic import replacing
from paratime.io.frames import in_cell
from paratime.io.html import aligned

Row = list[str]

KEYS = ["domain", "mixer", "seed"]

FILES = ("results.csv", "costs.csv", "curves.csv", "results.md")
"""Files of tables, with all values in full precision."""


def write_tables(summary: Summary, out: Path) -> None:
    """Write all tables, each file whole or not at all.

    ``results.csv`` is the same to the byte for the same seeds.

    Args:
        summary: The state of the comparison.
        out: Folder of the comparison.
    """
    for rows, name in zip((results_rows, costs_rows, curves_rows), FILES, strict=False):
        with (
            replacing(out / name) as draft,
            draft.open("w", encoding="utf-8", errors="replace") as file,
        ):
            cells = ([in_cell(x) for x in row] for row in rows(summary))
            csv.writer(file, lineterminator="\n").writerows(cells)
    with replacing(out / FILES[-1]) as draft:
        draft.write_text(markdown(summary), encoding="utf-8", errors="replace")


def results_rows(summary: Summary) -> Iterator[Row]:
    """Yield a header and a row for each finished run, with all that a repetition reproduces."""
    names = first_seen(x for domain in summary.grid.domains for x in summary.metrics(domain))
    names = ["parameters", *names, *SOLVER]

    def numbers(run: Result) -> dict[str, float]:
        return {"parameters": float(run.parameters)} | quality(run) | solver(run)

    return _by_run(summary.results, names, numbers)


def costs_rows(summary: Summary) -> Iterator[Row]:
    """Yield a header and a row for each finished run, with its costs."""
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
    """Return the shortest text that reads back as the same value."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def digits(values: Iterable[float]) -> int | None:
    """Return the number of decimals that suits some values, by a typical one.

    None stands for an exponent, if the typical one is very small.
    """
    sizes = sorted(abs(x) for x in values if math.isfinite(x) and x)
    typical = sizes[len(sizes) // 2] if sizes else 1.0
    if typical < 1e-3:
        return None
    power = math.floor(math.log10(typical))
    return max(4, 2 - power) if power < 0 else max(0, 3 - power)


def shown(value: float, decimals: int | None) -> str:
    """Return a value for readers, with an exponent if it would be very long otherwise."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if decimals is None or abs(value) >= 1e7:
        return f"{value:.1e}"
    return f"{value:,.{decimals}f}"


def texts(cells: Sequence[Standing]) -> list[str]:
    """Return a column as text: mean, spread, and the number of runs without a result."""
    decimals = digits(cell.mean for cell in cells)
    return [_cell(cell, decimals) for cell in cells]


def _cell(cell: Standing, decimals: int | None) -> str:
    spread = "" if cell.spread is None else f" ± {shown(cell.spread, decimals)}"
    gaps = {"failed": cell.failed, "not run": cell.missing}
    absent = ", ".join(f"{count} {what}" for what, count in gaps.items() if count)
    if not cell.values:
        return absent or "-"
    return f"{shown(cell.mean, decimals)}{spread}" + (f" ({absent})" if absent else "")


def bare(cells: Iterable[Standing]) -> list[Standing]:
    """Return cells that do not mention failed and missing runs."""
    return [Standing(cell.values) for cell in cells]


def marked(cells: Sequence[Standing]) -> list[str]:
    """Return a column as text, with a sign for the best cell and those level with it."""
    signs = {"best": "*", "level": "~", "": " "}
    marks = [signs[mark] for mark in standings(cells)]
    return [text + sign for text, sign in zip(texts(cells), marks, strict=True)]


def legend(summary: Summary) -> str:
    """Return how to read the values, in one line."""
    seeds = len(summary.grid.seeds)
    if seeds == 1:
        return "one seed; lower is better; * is the least value, and says no more than that"
    over = f"mean ± standard deviation over {seeds} seeds"
    return f"{over}; lower is better; * best, ~ no further from it than the spread of seeds"


def counts(summary: Summary) -> str:
    """Return the numbers of finished, failed and missing runs, in one line."""
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
    """Return the last line that a failed run printed, which names the error."""
    return next((x.strip() for x in reversed(log.splitlines()) if x.strip()), "it printed nothing")


def markdown(summary: Summary) -> str:
    """Return the headline table, the tables of each domain, and the failed runs."""
    grid = summary.grid
    heads = {domain: facts["headline"] for domain, facts in grid.domains.items()}
    columns = [marked(summary.column(domain, quality, x)) for domain, x in heads.items()]
    titles = [f"{domain}: {x}" for domain, x in heads.items()]
    blocks = [f"# {_plain(grid.title)}", _plain(f"{legend(summary)}; {counts(summary)}.")]
    blocks += [_pipes(["mixer", *titles], grid.mixers, columns)]
    for domain in grid.domains:
        blocks += _of_domain(summary, domain)
    failed = [f"{key}: {last_line(x)}" for key, x in summary.failures.items()]
    blocks += ["## Failed runs", *(f"- {_plain(line)}" for line in failed)] if failed else []
    return "\n\n".join(blocks) + "\n"


def _of_domain(summary: Summary, domain: str) -> Iterator[str]:
    metrics, efforts = summary.metrics(domain), summary.names(domain, effort)
    yield f"## {_plain(domain)}"
    yield _plain(summary.grid.domains[domain]["what"])
    sizes = ["-" if x is None else f"{x:,}" for x in summary.parameters(domain)]
    columns = [sizes, *(marked(summary.column(domain, quality, x)) for x in metrics)]
    yield _pipes(["mixer", "parameters", *metrics], summary.grid.mixers, columns)
    if efforts:
        columns = [texts(bare(summary.column(domain, effort, name))) for name in efforts]
        yield _pipes(["mixer", *efforts], summary.grid.mixers, columns)


def pipes(lines: list[list[str]]) -> str:
    """Return lines of cells as a table of Markdown; the first line is the heading."""
    head, *rest = lines
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rest))


def _pipes(header: Row, mixers: Row, columns: list[Row]) -> str:
    rows = [header, *zip(mixers, *columns, strict=True)]
    return pipes([[*map(_plain, row)] for row in rows])


def _plain(text: str) -> str:
    """Return text in one line, without anything that Markdown or HTML would format."""
    return re.sub(r"([\\`*_~<>|#\[\]&])", r"\\\1", " ".join(text.split()))
