"""The tables of a comparison as Markdown."""

import re
from collections.abc import Iterator

from paratime.compare.summary import Summary, effort, quality
from paratime.compare.tables import Row, bare, counts, last_line, legend, marked, texts


def markdown(summary: Summary) -> str:
    """Return the headline table, those of each domain, and what failed."""
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
    """Return lines of cells, the first of which is the heading, as a table of Markdown."""
    head, *rest = lines
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rest))


def _pipes(header: Row, mixers: Row, columns: list[Row]) -> str:
    rows = [header, *zip(mixers, *columns, strict=True)]
    return pipes([[*map(_plain, row)] for row in rows])


def _plain(text: str) -> str:
    """Return text in one line, in which Markdown and HTML find nothing to format."""
    return re.sub(r"([\\`*_~<>|#\[\]&])", r"\\\1", " ".join(text.split()))
