"""The report of a comparison: a page that needs no other file, from one Jinja2 template."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from paratime.compare import charts, glossary, tables
from paratime.compare.results import (
    Numbers,
    Result,
    Standing,
    Summary,
    cost,
    first_seen,
    number,
    quality,
    read,
    solver,
    standings,
)
from paratime.io.atomic import replacing
from paratime.io.html import document, printable

HERE = Path(__file__).parent
STYLE, SCRIPT = ((HERE / f"report.{x}").read_text(encoding="utf-8") for x in ("css", "js"))

CURVES = 6
"""Learning curves that are drawn of a domain."""

LAST = 60
"""Lines that are shown of a failed run's output."""

SPEED = "units_per_s"
OTHERS = ("peak_memory_mib", "ms_per_generated_step")
"""The cost in the first figures, and the other costs that figures are drawn of."""


@dataclass(frozen=True)
class Entry:
    """A cell of a table.

    Attributes:
        text: Plain text.
        value: The value in full precision, if the cell has one.
        mark: ``best``, ``level`` or nothing.
        mixer: The place in the grid of the mixer that the cell names.
    """

    text: str = ""
    value: str = ""
    mark: str = ""
    mixer: int | None = None


@dataclass(frozen=True)
class PageTable:
    """A table that a reader can sort by each column.

    Attributes:
        name: Its id.
        title: What a screen reader says, as plain text.
        titles: Of the columns, as plain text; line breaks stay.
        rows: Of cells.
    """

    name: str
    title: str
    titles: list[str]
    rows: list[tuple[Entry, ...]]


def write_page(out: Path) -> Path:
    """Write the page and all tables, each file whole or not at all.

    Failed and unfinished runs are shown as such.

    Args:
        out: Folder of the comparison.

    Returns:
        Path of the page.
    """
    summary, path = read(out), out / "report.html"
    tables.write_tables(summary, out)
    with replacing(path) as draft:
        draft.write_text(page(summary), encoding="utf-8", errors="replace")
    return path


def page(summary: Summary) -> str:
    """Return the page."""
    grid = summary.grid
    found = {
        "grid": grid,
        "mixers": grid.mixers,
        "counts": tables.counts(summary),
        "files": tables.FILES,
        "headline": _headline(summary),
        "speeds": _drawn(charts.scatter(summary, x, SPEED, x) for x in grid.domains),
        "domains": [_domain(summary, name) for name in grid.domains],
        "failed": {
            f"{key}: {tables.last_line(log)}": "\n".join(log.splitlines()[-LAST:])
            for key, log in summary.failures.items()
        },
        "missing": [*map(str, summary.missing)],
        "smooth": charts.SMOOTH,
        "most": charts.MOST,
        "swatch": charts.swatch,
    }
    body = _environment().get_template("report.html.j2").render(found)
    return document(grid.title, body, style=STYLE, script=SCRIPT)


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters |= {"soft": _soft, "breaking": _breaking}
    return found


def _printable(value: Any) -> Any:
    """Return a value of the template without characters that no page may hold, such as NUL."""
    if isinstance(value, Markup):
        return Markup(printable(value))
    return "" if value is None else printable(str(value))


def _soft(text: str) -> Markup:
    """Return a text whose deviations stand back."""
    return Markup(re.sub(r"± \S+", r'<span class="soft">\g<0></span>', str(escape(text))))


def _breaking(text: str) -> Markup:
    """Return a name that keeps its line breaks, and may break after _ and before the first (."""
    name = str(escape(text)).replace("(", "<wbr>(", 1)
    return Markup(name.replace("\n", "<br>").replace("_", "_<wbr>"))


def _headline(summary: Summary) -> PageTable:
    heads = {name: facts["headline"] for name, facts in summary.grid.domains.items()}
    titles = ["mixer", *(f"{name}\n{metric}" for name, metric in heads.items())]
    columns = [_marked(summary, name, metric) for name, metric in heads.items()]
    return _table("headline", "Headline metrics", titles, [_mixers(summary), *columns])


def _domain(summary: Summary, name: str) -> dict[str, Any]:
    """Return everything that the page shows of a domain."""
    facts = summary.grid.domains[name]
    settings, different = _settings(summary, name)
    return {
        "name": name,
        "place": _place(summary, name),
        "what": facts["what"],
        "unit": facts["unit"],
        "settings": settings,
        "quality": _quality(summary, name, different),
        "meanings": glossary.explained(name, summary.metrics(name)),
        "sizes_differ": "mlp_size" in different,
        "costs": _efforts(summary, name, "Cost", cost),
        "measured": measured(summary, name),
        "cost_charts": _drawn(
            charts.scatter(summary, name, x, glossary.axis_text(x, facts["unit"])) for x in OTHERS
        ),
        "runs": _runs(summary, name),
        **_learning(summary, name),
        **_solver(summary, name),
        **_pictures(summary, name),
    }


def _place(summary: Summary, name: str) -> int:
    return [*summary.grid.domains].index(name)


def _drawn(found: Iterator[charts.Chart | None]) -> list[charts.Chart]:
    return [x for x in found if x is not None]


def _table(
    name: str, title: str, titles: list[str], columns: Sequence[Sequence[Entry]]
) -> PageTable:
    return PageTable(name, title, titles, [*zip(*columns, strict=True)])


def _mixers(summary: Summary) -> list[Entry]:
    return [Entry(mixer=i) for i, _ in enumerate(summary.grid.mixers)]


def _marked(summary: Summary, name: str, metric: str) -> list[Entry]:
    cells = summary.column(name, quality, metric)
    return _entries(cells, standings(cells))


def _entries(cells: Sequence[Standing], marks: Sequence[str] = ()) -> list[Entry]:
    """Return a column of values over seeds.

    Args:
        cells: The values.
        marks: Of each of them; none by default.
    """
    values = [tables.exact(x.mean) if x.values else "" for x in cells]
    return [*map(Entry, tables.texts(cells), values, marks or [""] * len(cells))]


def _settings(summary: Summary, name: str) -> tuple[str, dict[str, list[Entry]]]:
    """Return a sentence on the settings of all runs, and columns of those that differ by mixer."""
    runs = {run.mixer: run for run in reversed(summary.results) if run.domain == name}
    same, different = [], {}
    for key in first_seen(key for run in runs.values() for key in run.settings):
        values = {mixer: str(run.settings.get(key, "-")) for mixer, run in runs.items()}
        if len(set(values.values())) == 1:
            same.append(f"{key} {next(iter(values.values()))}")
        else:
            different[key] = [Entry(values.get(x, "-")) for x in summary.grid.mixers]
    given = summary.grid.domains[name].get("settings", {}).get("overrides", {})
    changed = ", ".join(f"{key} {value}" for key, value in given.items())
    sentence = f"{', '.join(same)}." if same else ""
    return f"{sentence} Changed from the config: {changed}." if changed else sentence, different


def _quality(summary: Summary, name: str, different: dict[str, list[Entry]]) -> PageTable:
    metrics, sizes = summary.metrics(name), summary.parameters(name)
    columns = [_mixers(summary), [Entry("-") if x is None else _whole(x) for x in sizes]]
    columns += [*different.values(), *(_marked(summary, name, x) for x in metrics)]
    titles = ["mixer", "parameters", *different, *metrics]
    return _table(f"quality-{_place(summary, name)}", f"Quality, {name}", titles, columns)


def _whole(value: int) -> Entry:
    return Entry(f"{value:,}", str(value))


def _efforts(summary: Summary, name: str, title: str, values: Numbers) -> PageTable | None:
    """Return a table of costs, or of the solver's effort, of the mixers that have any."""
    unit, names = summary.grid.domains[name]["unit"], summary.names(name, values)
    if not names:
        return None
    cells = [tables.bare(summary.column(name, values, x)) for x in names]
    rows = [i for i, row in enumerate(zip(*cells, strict=True)) if any(x.values for x in row)]
    columns = [_mixers(summary), *map(_entries, cells)]
    titles = ["mixer", *(glossary.axis_text(x, unit).replace(", ", "\n") for x in names)]
    return _table(
        f"{title.lower()}-{_place(summary, name)}",
        f"{title}, {name}",
        titles,
        [[column[i] for i in rows] for column in columns],
    )


def measured(summary: Summary, domain: str) -> str:
    """Return the machine, threads and load of a domain's runs, as far as the runs tell."""
    costs = [run.cost for run in summary.results if run.domain == domain]
    machines = first_seen(str(x["machine"]) for x in costs if "machine" in x)
    loads = [float(x["load"]) for x in costs if "load" in x]
    threads = summary.grid.domains[domain].get("settings", {}).get("threads")
    parts = [*machines, f"{threads} thread{'s' if threads > 1 else ''} a run" if threads else ""]
    if loads:
        needed = f"{min(loads):.1f} to {max(loads):.1f} processes in need of a core"
        parts.append(f"{needed} when runs ended")
    return "; ".join(filter(None, parts))


def _learning(summary: Summary, name: str) -> dict[str, Any]:
    moving, steady = _curves(summary, name, solvers=False)
    headline = summary.grid.domains[name]["headline"]
    moving.sort(key=lambda x: not _comes_first(x, headline))
    told = glossary.explained(name, summary.metrics(name))
    meanings = glossary.explained(name, moving)
    return {
        "learning": _drawn(charts.curve(summary, name, x) for x in moving[:CURVES]),
        "steady": steady,
        "not_drawn": moving[CURVES:],
        "curve_meanings": {x: meaning for x, meaning in meanings.items() if x not in told},
    }


def _solver(summary: Summary, name: str) -> dict[str, Any]:
    moving, steady = _curves(summary, name, solvers=True)
    return {
        "solver": _efforts(summary, name, "Solver", solver),
        "solver_charts": _drawn(charts.curve(summary, name, x) for x in moving),
        "solver_steady": steady,
    }


def _curves(summary: Summary, name: str, solvers: bool) -> tuple[list[str], str]:
    """Return the names of the curves that move, and a sentence on the others.

    Args:
        summary: The state of the comparison.
        name: Of the domain.
        solvers: Whether curves of the solver are meant, or all others.
    """
    runs = [run for run in summary.results if run.domain == name]
    names = first_seen(x for run in runs for x in run.curves)
    values = {x: _values(runs, x) for x in names if x.startswith("solver/") == solvers}
    moving = [x for x, found in values.items() if len(found) > 1]
    still = ((x, found.pop()) for x, found in values.items() if len(found) == 1)
    return moving, "; ".join(f"{x} is {tables.exact(value)} at every step" for x, value in still)


def _comes_first(curve: str, headline: str) -> bool:
    """Return whether a curve is a loss, or of the headline or its horizon."""
    _, at, horizon = headline.partition("@")
    ahead = bool(at) and curve.endswith(at + horizon)
    return ahead or curve in ("train/loss", "val/loss", f"val/{headline}")


def _values(runs: list[Result], curve: str) -> set[float]:
    return {number(x) for run in runs for _, x in run.curves.get(curve, [])}


def _pictures(summary: Summary, name: str) -> dict[str, Any]:
    mixers = summary.grid.mixers
    forecasts, rollouts, texts = (
        charts.of_kind(summary, name, kind) for kind in ("forecast", "rollout", "text")
    )
    return {
        "forecasts": [
            (title, charts.forecasts(title, some, mixers), _quantiles(some))
            for title, some in forecasts.items()
        ],
        "rollouts": [
            (title, [*charts.rollouts(title, some, mixers)], charts.left_out(some))
            for title, some in rollouts.items()
        ],
        "texts": [
            (title, {i: picture["text"] for i, picture in some.items()})
            for title, some in texts.items()
        ],
    }


def _quantiles(pictures: dict[int, charts.Picture]) -> str:
    """Return which quantiles of forecasts are drawn, and how, as plain text."""
    names = sorted({name for p in pictures.values() for name in p["quantiles"]}, key=float)
    half, odd = divmod(len(names), 2)
    lines = [f"the {names[half]} quantile as a line"] if odd else []
    pairs = zip(names[:half], reversed(names), strict=False)
    bands = (f"the range from the {a} to the {b} quantile as a band" for a, b in pairs)
    return ", ".join([*lines, *bands])


def _runs(summary: Summary, name: str) -> PageTable | None:
    """Return the table of a domain's finished runs, with the values of the CSV files."""
    keys = len(tables.KEYS)
    pairs = zip(tables.results_rows(summary), tables.costs_rows(summary), strict=True)
    header, *rows = [[*found, *costs[keys:]] for found, costs in pairs]
    columns = zip(header, *(row for row in rows if row[0] == name), strict=True)
    filled = [column for column in columns if any(column[1:])]
    if not filled:
        return None
    cells = [[*map(Entry, column[1:])] for column in filled[1:keys]]
    cells += [_of_runs(column[1:]) for column in filled[keys:]]
    titles = [column[0] for column in filled[1:]]
    return _table(f"runs-{_place(summary, name)}", f"Runs, {name}", titles, cells)


def _of_runs(column: Sequence[str]) -> list[Entry]:
    decimals = tables.digits(float(x) for x in column if x)
    return [Entry(tables.shown(float(x), decimals) if x else "-", x) for x in column]
