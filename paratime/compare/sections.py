"""The sections of a comparison's page."""

from collections.abc import Iterator, Sequence

from paratime.compare import charts, glossary, html, notes, pictures
from paratime.compare.result import Result
from paratime.compare.summary import (
    Numbers,
    Summary,
    cost,
    first_seen,
    number,
    quality,
    solver,
    standings,
)
from paratime.compare.tables import (
    KEYS,
    bare,
    costs_rows,
    counts,
    digits,
    exact,
    last_line,
    results_rows,
    shown,
)
from paratime.io.html import escaped

Parts = Iterator[str]

CURVES = 6
"""Learning curves that are drawn of a domain."""

LAST = 60
"""Lines that are shown of what a failed run printed."""

HEADLINE = "units_per_s"
OTHERS = ("peak_memory_mib", "ms_per_generated_step")
"""The cost that the page begins with, and others that figures are drawn of."""

FILES = ("results.csv", "costs.csv", "curves.csv", "results.md")
"""What lies beside the page, with all numbers in full."""


def head(summary: Summary) -> Parts:
    """Yield the heading, the headline metrics, and how they stand to what they cost."""
    grid = summary.grid
    seeds = f"seed{'s' if len(grid.seeds) > 1 else ''} {', '.join(map(str, grid.seeds))}"
    places = [(f"domain-{i}", name) for i, name in enumerate(grid.domains)]
    places += [("failed", "failed")] if summary.failures else []
    places += [("missing", "not run")] if summary.missing else []
    links = (f'<a href="#{place}">{escaped(name)}</a>' for place, name in places)
    yield f'<header><h1>{escaped(grid.title)}</h1><nav class="places">{" ".join(links)}</nav>'
    alarm = ' class="note"' if summary.failures or summary.missing else ""
    yield f"<p{alarm}>{counts(summary)}; {seeds}.</p>"
    files = ", ".join(f'<a href="{name}">{name}</a>' for name in FILES)
    yield f"<p>All numbers in full, beside this page: {files}.</p></header>"
    columns = [_marked(summary, name, facts["headline"]) for name, facts in grid.domains.items()]
    titles = [f"{name}\n{facts['headline']}" for name, facts in grid.domains.items()]
    columns = [html.mixers(grid.mixers), *columns]
    yield html.table("headline", "Headline metrics", ["mixer", *titles], columns)
    yield _legend(summary)
    yield html.switches(grid.mixers)
    found = (charts.scatter(summary, name, HEADLINE, name) for name in grid.domains)
    yield html.figures("Quality against the speed of training", found)


def _legend(summary: Summary) -> str:
    marks = '<span class="best">least</span>'
    if len(summary.grid.seeds) > 1:
        marks += ', <span class="level">level with it</span>'
    return f"<p>Lower is better; {marks}. {escaped(notes.seeds(summary))}</p>"


def domain(summary: Summary, name: str) -> Parts:
    """Yield all there is of a domain."""
    facts, mixers = summary.grid.domains[name], summary.grid.mixers
    place, metrics = [*summary.grid.domains].index(name), summary.metrics(name)
    same, different = _settings(summary, name)
    yield f'<section id="domain-{place}"><h2>{escaped(name)}</h2>{html.paragraph(facts["what"])}'
    given = ", ".join(f"{key} {x}" for key, x in same.items())
    yield html.paragraph(f"{given}. {notes.overrides(summary, name)}" if given else "")
    columns = [html.mixers(mixers), [*map(html.whole, summary.parameters(name))]]
    columns += [*different.values(), *(_marked(summary, name, x) for x in metrics)]
    titles = ["mixer", "parameters", *different, *metrics]
    yield html.table(f"quality-{place}", f"Quality, {name}", titles, columns)
    yield html.terms(glossary.explained(name, metrics))
    yield html.paragraph(notes.SIZES if "mlp_size" in different else "")
    yield from _costs(summary, name)
    yield from _learning(summary, name)
    yield from _solver(summary, name)
    yield from _pictures(summary, name)
    yield from _runs(summary, name)
    yield "</section>"


def _marked(summary: Summary, name: str, metric: str) -> list[str]:
    cells = summary.column(name, quality, metric)
    return html.numbers(cells, standings(cells))


def _settings(summary: Summary, name: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the settings that all runs share, and columns of those that differ by mixer."""
    runs = {run.mixer: run for run in reversed(summary.results) if run.domain == name}
    same, different = {}, {}
    for key in first_seen(key for run in runs.values() for key in run.settings):
        values = {mixer: str(run.settings.get(key, "-")) for mixer, run in runs.items()}
        if len(set(values.values())) == 1:
            same[key] = next(iter(values.values()))
        else:
            different[key] = [html.cell(values.get(x, "-")) for x in summary.grid.mixers]
    return same, different


def _costs(summary: Summary, name: str) -> Parts:
    if summary.names(name, cost):
        unit = summary.grid.domains[name]["unit"]
        yield "<h3>Cost</h3>"
        yield _efforts(summary, name, "Cost", cost)
        yield html.paragraph(notes.measured(summary, name))
        found = (charts.scatter(summary, name, x, charts.words(x, unit)) for x in OTHERS)
        yield html.figures("Quality against other costs", found)


def _efforts(summary: Summary, name: str, title: str, numbers: Numbers) -> str:
    """Return a table of costs, or of what the solver took, of the mixers that have any."""
    unit, names = summary.grid.domains[name]["unit"], summary.names(name, numbers)
    cells = [bare(summary.column(name, numbers, x)) for x in names]
    columns = [html.mixers(summary.grid.mixers), *map(html.numbers, cells)]
    rows = [i for i, row in enumerate(zip(*cells, strict=True)) if any(x.values for x in row)]
    titles = ["mixer", *(charts.words(x, unit).replace(", ", "\n") for x in names)]
    place = [*summary.grid.domains].index(name)
    return html.table(
        f"{title.lower()}-{place}",
        f"{title}, {name}",
        titles,
        [[column[i] for i in rows] for column in columns],
    )


def _learning(summary: Summary, name: str) -> Parts:
    moving, steady = _curves(summary, name, solvers=False)
    headline = summary.grid.domains[name]["headline"]
    moving.sort(key=lambda x: not _comes_first(x, headline))
    seeds = notes.SEEDS if len(summary.grid.seeds) > 1 else ""
    drawn = [charts.curve(summary, name, x) for x in moving[:CURVES]]
    yield html.figures("Learning curves", drawn, seeds + notes.CURVES)
    yield html.paragraph(steady)
    if moving[CURVES:]:
        yield html.paragraph(f"Not drawn: {', '.join(moving[CURVES:])}.")
    told = glossary.explained(name, summary.metrics(name))
    meanings = glossary.explained(name, moving)
    yield html.terms({x: said for x, said in meanings.items() if x not in told})


def _solver(summary: Summary, name: str) -> Parts:
    if summary.names(name, solver):
        moving, steady = _curves(summary, name, solvers=True)
        yield "<h3>What Newton's method takes</h3>"
        yield html.paragraph(notes.SOLVER)
        yield _efforts(summary, name, "Solver", solver)
        drawn = [charts.curve(summary, name, x) for x in moving]
        yield html.figures("Newton's method over training", drawn)
        yield html.paragraph(steady)


def _curves(summary: Summary, name: str, solvers: bool) -> tuple[list[str], str]:
    """Return the names of the curves that move, and a sentence on those that do not.

    Args:
        summary: Where they are.
        name: Of the domain.
        solvers: Whether curves of the solver are meant, or all others.
    """
    runs = [run for run in summary.results if run.domain == name]
    names = first_seen(x for run in runs for x in run.curves)
    values = {x: _values(runs, x) for x in names if x.startswith("solver/") == solvers}
    moving = [x for x, found in values.items() if len(found) > 1]
    still = ((x, found.pop()) for x, found in values.items() if len(found) == 1)
    return moving, "; ".join(f"{x} is {exact(value)} at every step" for x, value in still)


def _comes_first(curve: str, headline: str) -> bool:
    """Return whether a curve is a loss, or of the headline, or of what is as far ahead as that."""
    _, at, horizon = headline.partition("@")
    ahead = bool(at) and curve.endswith(at + horizon)
    return ahead or curve in ("train/loss", "val/loss", f"val/{headline}")


def _values(runs: list[Result], curve: str) -> set[float]:
    return {number(x) for run in runs for _, x in run.curves.get(curve, [])}


def _pictures(summary: Summary, name: str) -> Parts:
    mixers, seed = summary.grid.mixers, f"Seed {summary.grid.seeds[0]}"
    for i, (title, some) in enumerate(pictures.of_kind(summary, name, "forecast").items()):
        drawn = pictures.forecasts(title, some, mixers)
        note = f"{seed}. {notes.FORECAST}{pictures.quantiles(some)}."
        yield html.figures(f"Forecasts of {title}", drawn, note, fold=i > 0)
    for i, (title, some) in enumerate(pictures.of_kind(summary, name, "rollout").items()):
        rest = pictures.left_out(some)
        note = f"{seed}. {notes.ROLLOUT}" + (f" Not drawn: {', '.join(rest)}." if rest else "")
        found = pictures.rollouts(title, some, mixers)
        yield html.figures(f"Truth and imagination, {title}", found, note, fold=i > 0)
    for title, texts in pictures.of_kind(summary, name, "text").items():
        yield f'<h3>Texts, {escaped(title)}</h3>{html.paragraph(f"{seed}.")}<div class="figures">'
        for i, picture in texts.items():
            yield f'<figure data-mixer="{i}"><figcaption>{html.mixer(i, mixers[i])}</figcaption>'
            yield f'<pre dir="auto">{escaped(picture["text"])}</pre></figure>'
        yield "</div>"


def _runs(summary: Summary, name: str) -> Parts:
    """Yield the table of a domain's finished runs, whose numbers are those of the CSV files."""
    pairs = zip(results_rows(summary), costs_rows(summary), strict=True)
    header, *rows = [[*found, *costs[len(KEYS) :]] for found, costs in pairs]
    columns = zip(header, *(row for row in rows if row[0] == name), strict=True)
    filled = [column for column in columns if any(column[1:])]
    if filled:
        _domain, *keys = filled[: len(KEYS)]
        cells = [[*map(html.cell, key[1:])] for key in keys]
        cells += [_of_runs(column[1:]) for column in filled[len(KEYS) :]]
        place = [*summary.grid.domains].index(name)
        titles = [column[0] for column in filled[1:]]
        table = html.table(f"runs-{place}", f"Runs, {name}", titles, cells)
        yield html.folded("Each run", table)


def _of_runs(column: Sequence[str]) -> list[str]:
    decimals = digits(float(x) for x in column if x)
    return [html.cell(shown(float(x), decimals) if x else "-", x) for x in column]


def failed(summary: Summary) -> Parts:
    """Yield what failed, and what has not been run."""
    if summary.failures:
        yield '<section id="failed"><h2>Failed</h2>'
        for key, log in summary.failures.items():
            said, end = f"{key}: {last_line(log)}", "\n".join(log.splitlines()[-LAST:])
            yield f"<details><summary>{escaped(said)}</summary><pre>{escaped(end)}</pre></details>"
        yield "</section>"
    if summary.missing:
        names = ", ".join(map(str, summary.missing))
        yield f'<section id="missing"><h2>Not run</h2>{html.paragraph(names)}</section>'
