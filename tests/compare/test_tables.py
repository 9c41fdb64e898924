"""Tables of a comparison: CSV, text and Markdown."""

import math
import re
from dataclasses import replace

import pytest
from compare import grids
from compare.grids import rows_of, small

from paratime.compare import report
from paratime.compare.results import Result, Standing, quality, read
from paratime.compare.tables import aligned_text, bare, digits, exact, shown, texts, write_tables

NAN = math.nan


def test_a_run_is_a_row_with_its_numbers_in_full(tmp_path):
    write_tables(read(small(tmp_path)), tmp_path)
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
    write_tables(read(small(tmp_path)), tmp_path)
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

    page = report.write_page(small(tmp_path / "a"))
    before = page.read_bytes()
    small(tmp_path / "b")
    for path in (tmp_path / "b").rglob("seed-*.json"):
        slower(Result.load(path)).save(path)
    write_tables(read(tmp_path / "b"), tmp_path / "b")
    for name, same in (("results.csv", True), ("curves.csv", True), ("costs.csv", False)):
        a, b = ((tmp_path / x / name).read_bytes() for x in "ab")
        assert (a == b) == same
    assert aligned_text(read(tmp_path / "a")) == aligned_text(read(tmp_path / "b"))
    assert report.write_page(tmp_path / "a").read_bytes() == before


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
    cells = [Standing((1.0, 2.0), failed=1), Standing((), failed=1, missing=2), Standing(())]
    assert texts(cells) == ["1.500 ± 0.707 (1 failed)", "1 failed, 2 not run", "-"]
    assert texts(bare(cells)) == ["1.500 ± 0.707", "-", "-"]


def test_the_text_table_has_a_row_a_mixer_and_marks_the_best(tmp_path):
    lines = aligned_text(read(grids.make(tmp_path))).splitlines()
    assert lines[0].split() == ["tokens", "series", "trajectories"]
    assert lines[1].split()[:3] == ["mixer", "size", "bits_per_byte"]
    assert [line.split()[0] for line in lines[2:10]] == grids.MIXERS
    assert max(map(len, lines[:10])) <= 84 and "over 3 seeds" in lines[11]
    summary = read(tmp_path)
    best = min(summary.column("tokens", quality, "bits_per_byte"), key=lambda x: x.mean)
    assert sum(f"{best.mean:.3f} ± {best.spread:.3f}*" in line for line in lines[2:10]) == 1
    ends = {match.end() for x in lines[2:10] for match in [re.match(r"\S+ +\d+k +[\d.]+", x)]}
    assert len(ends) == 1 and lines[-1] == "72 of 72 runs finished"
