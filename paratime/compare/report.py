"""The report of a comparison: a page that needs no other file, CSV, Markdown, and a text table."""

import csv
from collections.abc import Iterable
from pathlib import Path

from paratime.compare import sections, tables
from paratime.compare.markdown import markdown
from paratime.compare.summary import Summary, read
from paratime.io.atomic import replacing
from paratime.io.html import document

STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("report.js").read_text(encoding="utf-8")


def write(out: Path) -> Path:
    """Write what the runs of a comparison found, each file whole or not at all.

    These are ``results.csv``, which is the same to the byte for the same seeds, ``costs.csv``,
    ``curves.csv``, ``results.md`` and ``report.html``. Runs that failed or have not ended yet are
    shown as such.

    Args:
        out: Folder of the comparison.

    Returns:
        Path of the page.
    """
    summary, path = read(out), out / "report.html"
    _write_csv(tables.results_rows(summary), out / "results.csv")
    _write_csv(tables.costs_rows(summary), out / "costs.csv")
    _write_csv(tables.curves_rows(summary), out / "curves.csv")
    _write(markdown(summary), out / "results.md")
    _write(page(summary), path)
    return path


def table(out: Path) -> str:
    """Return the headline metrics of a comparison as aligned text, one row a mixer.

    Args:
        out: Folder of the comparison.
    """
    return tables.aligned_text(read(out))


def page(summary: Summary) -> str:
    """Return the page."""
    domains = [sections.domain(summary, name) for name in summary.grid.domains]
    parts = [sections.head(summary), *domains, sections.failed(summary)]
    body = "\n".join(text for part in parts for text in part if text)
    return document(summary.grid.title, body, style=STYLE, script=SCRIPT)


def _write_csv(rows: Iterable[tables.Row], path: Path) -> None:
    with replacing(path) as draft, draft.open("w", encoding="utf-8", errors="replace") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write(text: str, path: Path) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8", errors="replace")
