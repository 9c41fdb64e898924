"""Tables and the page of a comparison: one source, nothing hidden, nothing unescaped."""

import csv
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from compare import grids

from paratime.compare import sections
from paratime.compare.report import page, table, write
from paratime.compare.result import Grid, Result
from paratime.compare.summary import Cell, quality, read, solver, standings
from paratime.compare.tables import bare, digits, exact, marked, shown, texts

NAN = math.nan
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


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def small(out: Path, seeds: int = 2, **change: object) -> Path:
    """Make a comparison of two mixers, fast."""
    grid = replace(grids.GRID, mixers=grids.MIXERS[:2], seeds=[*range(seeds)])
    return grids.make(out, replace(grid, **change))


def test_results_survive_their_file(tmp_path):
    run = grids.result("series", "Mamba", 1, 2)
    run.save(tmp_path / "deep" / "seed-1.json")
    assert Result.load(tmp_path / "deep" / "seed-1.json") == run
    grids.GRID.save(tmp_path / "grid.json")
    assert Grid.load(tmp_path / "grid.json") == grids.GRID


def test_a_run_is_a_row_with_its_numbers_in_full(tmp_path):
    write(small(tmp_path))
    results, costs = (rows_of(tmp_path / f"{name}.csv") for name in ("results", "costs"))
    runs = read(tmp_path).results
    assert len(results) == len(costs) == len(runs) == 3 * 2 * 2
    for run, result, cost in zip(runs, results, costs, strict=True):
        for row in (result, cost):
            assert (row["domain"], row["mixer"], row["seed"]) == (*_place(run), str(run.seed))
        assert int(result["parameters"]) == run.parameters
        assert {x: float(result[x]) for x in run.quality} == run.quality
        assert {x: float(cost[x]) for x in run.cost} == run.cost
        iterations = [value for _, value in run.curves["solver/iterations"]]
        assert float(result["solver_iterations_last"]) == iterations[-1]
        mean = sum(iterations) / len(iterations)
        assert float(result["solver_iterations_mean"]) == pytest.approx(mean)
        assert float(result["solver_defect_last"]) == run.curves["solver/defect"][-1][1]
        assert float(result["solver_loop_share_mean"]) == 0
    assert results[0]["mean_wQL"] == "" and results[4]["bits_per_byte"] == ""


def _place(run: Result) -> tuple[str, str]:
    return run.domain, run.mixer


def test_curves_are_there_in_full(tmp_path):
    write(small(tmp_path))
    rows = rows_of(tmp_path / "curves.csv")
    assert len(rows) == sum(len(x) for run in read(tmp_path).results for x in run.curves.values())
    run = read(tmp_path).results[-1]
    found = [
        [int(row["step"]), float(row["value"])]
        for row in rows
        if (row["domain"], row["mixer"], row["seed"]) == (*_place(run), str(run.seed))
        and row["curve"] == "train/loss"
    ]
    assert found == run.curves["train/loss"]


def test_all_but_costs_are_the_same_for_the_same_results(tmp_path):
    def slower(run: Result) -> Result:
        return replace(run, cost={name: 2 * x for name, x in run.cost.items()})

    write(grids.make(tmp_path / "a"))
    write(grids.make(tmp_path / "b", change=slower))
    for name, same in (("results.csv", True), ("curves.csv", True), ("costs.csv", False)):
        a, b = ((tmp_path / x / name).read_bytes() for x in "ab")
        assert (a == b) == same
    assert table(tmp_path / "a") == table(tmp_path / "b")
    before = (tmp_path / "a" / "report.html").read_bytes()
    assert write(tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize(
    "values, mean, spread",
    [
        ((), NAN, None),
        ((2.0,), 2, None),
        ((1.0, 3.0), 2, 2**0.5),
        ((1.0, NAN), NAN, None),
        ((math.inf, -math.inf), NAN, None),
    ],
)
def test_cells_have_mean_and_spread_over_seeds(values, mean, spread):
    cell = Cell(values)
    assert cell.mean == pytest.approx(mean, nan_ok=True)
    assert cell.spread == pytest.approx(spread)
    assert cell.whole == (len(values) > 0 and not math.isnan(mean))


def test_the_best_is_the_lowest_mean_of_which_no_seed_is_missing():
    cells = [
        Cell((2.0, 2.2)),
        Cell((2.2, 2.3)),
        Cell((1.0, NAN)),
        Cell((1.0,), failed=1),
        Cell((1.0,), missing=1),
        Cell((-math.inf, 1.0)),
        Cell((9.0, 9.1)),
        Cell(()),
    ]
    assert standings(cells) == ["best", "level", "", "", "", "", "", ""]
    assert marked(cells[:3]) == ["2.100 ± 0.141*", "2.250 ± 0.071~", "nan "]
    assert standings(cells[1:3]) == ["", ""], "one alone is not the best"
    assert standings([Cell((1.0,)), Cell((2.0,)), Cell((1.0,))]) == ["best", "", "best"]


@pytest.mark.parametrize(
    "values, expected",
    [
        ((2.7134, 2.5), ["2.713", "2.500"]),
        ((0.09874, 0.1), ["0.0987", "0.1000"]),
        ((0.00412,), ["0.00412"]),
        ((41234.5, 999.0), ["41,234", "999"]),
        ((1.5e-7, 0.0), ["1.5e-07", "0"]),
        ((1.0, 2.0, 3e9), ["1.000", "2.000", "3.0e+09"]),
        ((NAN, math.inf, 1.0), ["nan", "inf", "1.000"]),
    ],
)
def test_numbers_have_the_digits_that_matter(values, expected):
    assert [shown(x, digits(values)) for x in values] == expected


@pytest.mark.parametrize("value", (0.1, 1 / 3, 2.0, 1e300, 5e-324, -0.5, math.inf))
def test_full_numbers_are_read_back_the_same(value):
    assert float(exact(value)) == value


def test_a_cell_says_which_runs_are_not_there():
    cells = [Cell((1.0, 2.0), failed=1), Cell((), failed=1, missing=2), Cell(())]
    assert texts(cells) == ["1.500 ± 0.707 (1 failed)", "1 failed, 2 not run", "-"]
    assert texts(bare(cells)) == ["1.500 ± 0.707", "-", "-"]


def test_the_text_table_has_a_row_a_mixer_and_marks_the_best(tmp_path):
    lines = table(grids.make(tmp_path)).splitlines()
    assert lines[0].split() == ["tokens", "series", "trajectories"]
    assert lines[1].split()[:3] == ["mixer", "size", "bits_per_byte"]
    assert [line.split()[0] for line in lines[2:10]] == grids.MIXERS
    assert max(map(len, lines[:10])) <= 84 and "over 3 seeds" in lines[11]
    summary = read(tmp_path)
    best = min(summary.column("tokens", quality, "bits_per_byte"), key=lambda x: x.mean)
    assert sum(f"{best.mean:.3f} ± {best.spread:.3f}*" in line for line in lines[2:10]) == 1
    ends = {match.end() for x in lines[2:10] for match in [re.match(r"\S+ +\d+k +[\d.]+", x)]}
    assert len(ends) == 1 and lines[-1] == "72 of 72 runs finished"


def test_what_failed_or_is_missing_is_said_everywhere(tmp_path):
    path = write(grids.broken(tmp_path))
    summary, text = read(tmp_path), path.read_text(encoding="utf-8")
    assert [*summary.failures] == [grids.FAILED]
    assert summary.missing == [grids.MISSING]
    assert len(rows_of(tmp_path / "results.csv")) == 70
    assert "70 of 72 runs finished, 1 failed, 1 not run" in table(tmp_path)
    for found in (text, (tmp_path / "results.md").read_text(encoding="utf-8")):
        assert "series Mamba seed 1: RuntimeError: state is not finite" in found
        assert "(1 failed)" in found and "(1 not run)" in found and "nan" in found
    assert "series Attention seed 2" in text and "Traceback (most recent call last)" in text
    assert text.count("step\n") == sections.LAST - 3, "the end of a long log"
    assert ("td", {"data-value": "nan"}) in Page(text).tags, "NaN is shown, and marked as nothing"
    assert not re.findall(r' (?:d|x|y|transform)="[^"]*(?:nan|inf)', text)


def test_a_comparison_of_which_nothing_is_there_has_a_report(tmp_path):
    grids.make(tmp_path, change=lambda run: None)
    text = write(tmp_path).read_text(encoding="utf-8")
    assert "0 of 72 runs finished, 72 not run" in text and "<figure" not in text
    assert not Page(text).open and rows_of(tmp_path / "results.csv") == []
    assert "3 not run" in table(tmp_path)


def test_a_run_that_failed_once_and_then_finished_has_not_failed(tmp_path):
    out = small(tmp_path)
    (out / "runs" / "tokens" / "ParaGRU" / "seed-0.error.txt").write_text("RuntimeError: once")
    assert read(out).failures == {} and "12 of 12" in table(out)


def test_one_seed_has_no_spread(tmp_path):
    out = small(tmp_path, seeds=1)
    assert "±" not in table(out).split("\n\n")[0] and "one seed" in table(out)
    text = write(out).read_text(encoding="utf-8")
    assert "One seed" in text and "±" not in text


def test_the_page_is_whole_small_and_needs_no_other(tmp_path):
    path = write(grids.make(tmp_path))
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    assert not found.open and len(text) < 1e6
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len({*ids})
    links = {attrs["href"] for tag, attrs in found.tags if "href" in attrs}
    assert {x[1:] for x in links if x[0] == "#"} <= {*ids}
    assert {x for x in links if x[0] != "#"} == {*sections.FILES}
    assert all((tmp_path / name).exists() for name in sections.FILES)
    assert not [attrs for _, attrs in found.tags if "src" in attrs or "style" in attrs]
    assert "@import" not in text and "url(" not in text


def test_every_figure_has_its_numbers_beside_it(tmp_path):
    text = write(grids.make(tmp_path)).read_text(encoding="utf-8")
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
    path = write(grids.hostile(tmp_path))
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
    monkeypatch.setattr(sections, "failed", lambda summary: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(out)
    assert (out / "report.html").read_text() == "old" and not [*out.glob("*.draft")]


def test_runs_without_a_solver_or_pictures_have_a_page(tmp_path):
    def bare_run(run: Result) -> Result:
        return replace(run, curves={}, pictures=[], cost={}, settings={})

    out = grids.make(tmp_path, change=bare_run)
    assert "<figure" not in page(read(out)) and solver(read(out).results[0]) == {}
    assert "solver" not in rows_of(write(out).parent / "results.csv")[0]["parameters"]
