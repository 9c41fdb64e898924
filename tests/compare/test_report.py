"""The page of a comparison: nothing hidden, nothing unescaped."""

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from compare import grids
from compare.grids import rows_of, small

from paratime.compare import report, tables
from paratime.compare.report import measured, page, write_page
from paratime.compare.results import Result, Summary, read, solver
from paratime.compare.tables import aligned_text

VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """What is open at the end, tags with their attributes, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_what_failed_or_is_missing_is_said_everywhere(tmp_path):
    path = write_page(grids.broken(tmp_path))
    summary, text = read(tmp_path), path.read_text(encoding="utf-8")
    assert [*summary.failures] == [grids.FAILED]
    assert summary.missing == [grids.MISSING]
    assert len(rows_of(tmp_path / "results.csv")) == 70
    assert "70 of 72 runs finished, 1 failed, 1 not run" in aligned_text(summary)
    for found in (text, (tmp_path / "results.md").read_text(encoding="utf-8")):
        assert "series Mamba seed 1: RuntimeError: state is not finite" in found
        assert "(1 failed)" in found and "(1 not run)" in found and "nan" in found
    assert "series Attention seed 2" in text and "Traceback (most recent call last)" in text
    assert text.count("step\n") == report.LAST - 3, "the end of a long log"
    assert ("td", {"data-value": "nan"}) in Page(text).tags, "NaN is shown, and marked as nothing"
    assert not re.findall(r' (?:d|x|y|transform)="[^"]*(?:nan|inf)', text)


def test_a_comparison_of_which_nothing_is_there_has_a_report(tmp_path):
    grids.make(tmp_path, change=lambda run: None)
    text = write_page(tmp_path).read_text(encoding="utf-8")
    assert "0 of 72 runs finished, 72 not run" in text and "<figure" not in text
    assert not Page(text).open and rows_of(tmp_path / "results.csv") == []
    assert "3 not run" in aligned_text(read(tmp_path))


def test_one_seed_has_no_spread(tmp_path):
    out = small(tmp_path, seeds=1)
    text = aligned_text(read(out))
    assert "±" not in text.split("\n\n")[0] and "one seed" in text
    text = write_page(out).read_text(encoding="utf-8")
    assert "One seed" in text and "±" not in text


def test_the_page_is_whole_small_and_needs_no_other(tmp_path):
    path = write_page(grids.make(tmp_path))
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    assert not found.open and len(text) < 1e6
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len({*ids})
    links = {attrs["href"] for tag, attrs in found.tags if "href" in attrs}
    assert {x[1:] for x in links if x[0] == "#"} <= {*ids}
    assert {x for x in links if x[0] != "#"} == {*tables.FILES}
    assert all((tmp_path / name).exists() for name in tables.FILES)
    assert not [attrs for _, attrs in found.tags if "src" in attrs or "style" in attrs]
    assert "@import" not in text and "url(" not in text.replace("url(#", "")


def test_every_figure_has_its_numbers_beside_it(tmp_path):
    text = write_page(grids.make(tmp_path)).read_text(encoding="utf-8")
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    drawn = [x for x in figures if 'role="img"' in x]
    assert len(drawn) == 3 * 3 + (3 * 2 + 3 * 2) + 3 * 8 + 2 * 4
    assert all("<details><summary>Data</summary>" in x and "<td>" in x for x in drawn)
    assert len(figures) - len(drawn) == 8, "texts"


def test_of_many_curves_losses_and_the_headline_are_drawn_and_the_others_named(tmp_path):
    def many(run: Result) -> Result:
        more = {f"val/{x}": [[1, 1.0], [2, 2.0]] for x in ("a", "b@1", "c@10", "d", "e", "f")}
        return replace(run, curves=more | {"val/still": [[1, 0.5], [2, 0.5]]} | run.curves)

    grid = replace(grids.GRID, mixers=grids.MIXERS[:2], seeds=[0])
    text = page(read(grids.make(tmp_path, grid, change=many)))
    last = text[text.index('id="domain-2"') :]
    captions = re.findall(r"<figcaption>((?:train|val)/[^<]*)", last)
    first = ["val/c@10", "train/loss", "val/nrmse@10"]
    assert captions == [*first, "val/a", "val/b@1", "val/d"]
    assert "Not drawn: val/e, val/f." in last and "val/still is 0.5 at every step" in last


def test_names_and_texts_are_escaped(tmp_path):
    path = write_page(grids.hostile(tmp_path))
    found = Page(path.read_text(encoding="utf-8"))
    assert not found.open
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert not [tag for tag, attrs in found.tags if tag == "img" or "onerror" in attrs]
    assert {*grids.HOSTILE} <= {*found.texts}
    assert rows_of(tmp_path / "results.csv")[3]["mixer"] == grids.HOSTILE[1]
    plain = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert r"| a \| b, c \& d; \`e\` \*f\* {title} |" in plain and "<script" not in plain.replace(
        "\\<", ""
    )


def test_a_failure_leaves_the_old_page(tmp_path, monkeypatch):
    out = small(tmp_path)
    (out / "report.html").write_text("old")
    monkeypatch.setattr(report, "page", lambda summary: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(out)
    assert (out / "report.html").read_text() == "old" and not [*out.glob(".*.paratime-*")]


def test_runs_without_a_solver_or_pictures_have_a_page(tmp_path):
    def bare_run(run: Result) -> Result:
        return replace(run, curves={}, pictures=[], cost={}, settings={})

    out = grids.make(tmp_path, change=bare_run)
    assert "<figure" not in page(read(out)) and solver(read(out).results[0]) == {}
    assert "solver" not in rows_of(write_page(out).parent / "results.csv")[0]["parameters"]


def summary(cost: dict, settings: dict, seeds: int = 1) -> Summary:
    """Return a comparison of one mixer on tokens, with these costs and settings."""
    domains = {"tokens": grids.GRID.domains["tokens"] | {"settings": settings}}
    grid = replace(grids.GRID, domains=domains, mixers=["ParaGRU"], seeds=[*range(seeds)])
    runs = [replace(grids.result(*key, 0), cost=cost) for key in grid.runs()]
    return Summary(grid, runs, {})


def said(found: Summary) -> str:
    """Return the text of a page in one line."""
    return " ".join(" ".join(Page(page(found)).texts).split())


def test_it_says_how_costs_were_measured_and_on_what():
    found = summary({"machine": "A CPU, 2 cores", "load": 1.25}, {"threads": 2}, seeds=2)
    found.results[1] = replace(found.results[1], cost={"machine": "A CPU, 2 cores", "load": 3.0})
    assert measured(found, "tokens") == (
        "A CPU, 2 cores; 2 threads a run; 1.2 to 3.0 processes in need of a core when runs ended"
    )
    found = summary({"machine": "A CPU, 2 cores", "units_per_s": 1.0}, {"threads": 1})
    text = said(found)
    assert "Tokens per second: the median over the second half of the training steps" in text
    assert "Seconds: the sum over all training steps" in text
    assert "Measured with: A CPU, 2 cores; 1 thread a run." in text
    assert "Measured with" not in said(summary({"units_per_s": 1.0}, {}))


def test_it_says_what_differs_from_the_config():
    given = {"overrides": {"data.context_length": 128, "trainer.limit_test_batches": 8}}
    text = said(summary({}, given))
    assert "config: data.context_length 128, trainer.limit_test_batches 8." in text
    assert "Changed from" not in said(summary({}, {"overrides": {}}))


@pytest.mark.parametrize("count, text", [(1, "other seeds may order"), (3, "over 3 seeds")])
def test_it_says_how_far_differences_mean_something(count, text):
    assert text in said(summary({}, {}, count))


WITHOUT = """\
import sys
from pathlib import Path
from paratime.compare import command
for name in {"matplotlib", *sys.modules}:
    if name.startswith("matplotlib"):
        sys.modules[name] = None
command.write_report(Path(sys.argv[1]))
"""


def test_without_matplotlib_there_are_tables_and_a_line_says_what_to_install(tmp_path):
    out = small(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(out)], capture_output=True, text=True, check=True
    )
    assert "12 of 12 runs finished" in run.stdout
    assert "matplotlib is missing; pip install matplotlib, then" in run.stdout.splitlines()[-1]
    assert len(rows_of(out / "results.csv")) == 12 and not (out / "report.html").exists()
