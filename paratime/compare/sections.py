"""The sections of a comparison's page."""

from collections.abc import Iterator

from paratime.compare import charts, html, pictures
from paratime.compare.result import Result
from paratime.compare.summary import (
    COSTS,
    Summary,
    effort,
    first_seen,
    number,
    quality,
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
from paratime.page import escaped

Parts = Iterator[str]

CURVES = 6
"""Learning curves that are drawn of a domain."""

CAPTION = f"""\
Lines are means over seeds; bands go from the least seed to the largest. Curves of more than \
{charts.MOST} points are drawn as means of neighbours; curves.csv has all points."""

HEADLINE, *OTHERS = (name for name in COSTS if name != "train_seconds")
"""The cost that the page begins with, and others that figures are drawn of."""

FILES = ("results.csv", "costs.csv", "curves.csv", "results.md")
"""What lies beside the page, with all numbers in full."""


def head(summary: Summary) -> Parts:
    """Yield the heading, the headline metrics, and how they stand to what they cost."""
    grid = summary.grid
    seeds = ", ".join(map(str, grid.seeds))
    places = [(f"domain-{i}", name) for i, name in enumerate(grid.domains)]
    places += [("runs", "all runs")]
    places += [("failed", "failed")] if summary.failures else []
    places += [("missing", "not run")] if summary.missing else []
    links = (f'<a href="#{place}">{escaped(name)}</a>' for place, name in places)
    yield f'<header><h1>{escaped(grid.title)}</h1><nav class="places">{" ".join(links)}</nav>'
    alarm = ' class="note"' if summary.failures or summary.missing else ""
    yield f"<p{alarm}>{counts(summary)}; seeds {seeds}.</p></header>"
    columns = [_marked(summary, name, facts["headline"]) for name, facts in grid.domains.items()]
    titles = [f"{name}\n{facts['headline']}" for name, facts in grid.domains.items()]
    yield html.table("headline", ["mixer", *titles], [html.mixers(grid.mixers), *columns])
    yield _legend(summary)
    yield html.switches(grid.mixers)
    found = (charts.scatter(summary, name, HEADLINE) for name in grid.domains)
    yield html.figures("Quality against the speed of training", found)


def _legend(summary: Summary) -> str:
    seeds = len(summary.grid.seeds)
    over = f"Mean ± standard deviation over {seeds} seeds" if seeds > 1 else "One seed"
    level = '<span class="level">no further from it than the spread of seeds</span>'
    return f'<p>{over}; lower is better; <span class="best">best</span>, {level}.</p>'


def domain(summary: Summary, name: str) -> Parts:
    """Yield all there is of a domain."""
    facts, mixers = summary.grid.domains[name], summary.grid.mixers
    place, metrics = [*summary.grid.domains].index(name), summary.metrics(name)
    same, different = _settings(summary, name)
    yield f'<section id="domain-{place}"><h2>{escaped(name)}</h2>{html.paragraph(facts["what"])}'
    yield html.paragraph(", ".join(f"{key} {x}" for key, x in same.items()))
    columns = [html.mixers(mixers), [*map(html.whole, summary.parameters(name))]]
    columns += [*different.values(), *(_marked(summary, name, x) for x in metrics)]
    yield html.table(f"quality-{place}", ["mixer", "parameters", *different, *metrics], columns)
    yield from _efforts(summary, name)
    yield from _curves(summary, name)
    yield from _pictures(summary, name)
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


def _efforts(summary: Summary, name: str) -> Parts:
    unit, names = summary.grid.domains[name]["unit"], summary.names(name, effort)
    if names:
        place = [*summary.grid.domains].index(name)
        titles = [charts.words(x, unit) for x in names]
        columns = [html.numbers(bare(summary.column(name, effort, x))) for x in names]
        columns = [html.mixers(summary.grid.mixers), *columns]
        yield "<h3>Cost, and what the solver did</h3>"
        yield html.table(f"effort-{place}", ["mixer", *titles], columns)
        yield html.figures("", (charts.scatter(summary, name, x) for x in OTHERS))


def _curves(summary: Summary, name: str) -> Parts:
    runs = [run for run in summary.results if run.domain == name]
    values = {x: _values(runs, x) for x in first_seen(x for run in runs for x in run.curves)}
    steady = {x: found.pop() for x, found in values.items() if len(found) == 1}
    moving = [x for x in values if x not in steady]
    solver = [x for x in moving if x.startswith("solver/")]
    first = ["train/loss", f"val/{summary.grid.domains[name]['headline']}"]
    learning = sorted((x for x in moving if x not in solver), key=lambda x: x not in first)
    for title, some in (("Learning curves", learning), ("The solver over training", solver)):
        found = (charts.curve(summary, name, x) for x in some[:CURVES])
        yield html.figures(title, found, CAPTION)
    said = [f"{x} is {exact(value)} at every step" for x, value in steady.items()]
    said += [f"not drawn: {', '.join(learning[CURVES:])}"] if learning[CURVES:] else []
    yield html.paragraph("; ".join(said))


def _values(runs: list[Result], curve: str) -> set[float]:
    return {number(x) for run in runs for _, x in run.curves.get(curve, [])}


def _pictures(summary: Summary, name: str) -> Parts:
    mixers, first = summary.grid.mixers, f"Of seed {summary.grid.seeds[0]}."
    for i, (title, some) in enumerate(pictures.of_kind(summary, name, "forecast").items()):
        found = pictures.forecasts(title, some, mixers)
        yield html.figures(f"Forecasts of {title}", found, first, fold=i > 0)
    for i, (title, some) in enumerate(pictures.of_kind(summary, name, "rollout").items()):
        rest = pictures.left_out(some)
        note = f"{first} Not drawn: {', '.join(rest)}." if rest else first
        drawn = pictures.rollouts(title, some, mixers)
        yield html.figures(f"Truth and imagined, {title}", drawn, note, fold=i > 0)
    for title, texts in pictures.of_kind(summary, name, "text").items():
        yield f'<h3>Texts, {escaped(title)}</h3>{html.paragraph(first)}<div class="figures">'
        for i, picture in texts.items():
            yield f'<figure data-mixer="{i}"><figcaption>{html.mixer(i, mixers[i])}</figcaption>'
            yield f'<pre dir="auto">{escaped(picture["text"])}</pre></figure>'
        yield "</div>"


def runs(summary: Summary) -> Parts:
    """Yield the table of all finished runs, whose numbers are those of the CSV files."""
    pairs = zip(results_rows(summary), costs_rows(summary), strict=True)
    titles, *body = [[*found, *costs[len(KEYS) :]] for found, costs in pairs]
    links = ", ".join(f'<a href="{name}">{name}</a>' for name in FILES)
    yield '<section id="runs"><h2>All runs</h2>'
    yield f"<p>The numbers in full, beside this page: {links}.</p>"
    if body:
        columns = [*map(list, zip(*body, strict=True))]
        keys = [[*map(html.cell, column)] for column in columns[: len(KEYS)]]
        yield html.table("all", titles, [*keys, *map(_of_runs, columns[len(KEYS) :])])
    yield "</section>"


def _of_runs(column: list[str]) -> list[str]:
    decimals = digits(float(x) for x in column if x)
    return [html.cell(shown(float(x), decimals) if x else "-", x) for x in column]


def failed(summary: Summary) -> Parts:
    """Yield what failed, and what has not been run."""
    if summary.failures:
        yield '<section id="failed"><h2>Failed</h2>'
        for key, traceback in summary.failures.items():
            said = escaped(f"{key}: {last_line(traceback)}")
            yield f"<details><summary>{said}</summary><pre>{escaped(traceback)}</pre></details>"
        yield "</section>"
    if summary.missing:
        names = ", ".join(map(str, summary.missing))
        yield f'<section id="missing"><h2>Not run</h2>{html.paragraph(names)}</section>'
