"""Results as files, and over seeds."""

import math
from pathlib import Path

import pytest
from compare import grids

from paratime.compare.pool import Claim
from paratime.compare.results import Grid, Key, Result, Standing, read, standings
from paratime.compare.tables import aligned_text, marked

NAN = math.nan


def test_results_survive_their_file(tmp_path):
    run = grids.result("series", "Mamba", 1, 2)
    run.save(tmp_path / "deep" / "seed-1.json")
    assert Result.load(tmp_path / "deep" / "seed-1.json") == run
    grids.GRID.save(tmp_path / "grid.json")
    assert Grid.load(tmp_path / "grid.json") == grids.GRID


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
    cell = Standing(values)
    assert cell.mean == pytest.approx(mean, nan_ok=True)
    assert cell.spread == pytest.approx(spread)
    assert cell.whole == (len(values) > 0 and not math.isnan(mean))


def test_the_best_is_the_lowest_mean_of_which_no_seed_is_missing():
    cells = [
        Standing((2.0, 2.2)),
        Standing((2.2, 2.3)),
        Standing((1.0, NAN)),
        Standing((1.0,), failed=1),
        Standing((1.0,), missing=1),
        Standing((-math.inf, 1.0)),
        Standing((9.0, 9.1)),
        Standing(()),
    ]
    assert standings(cells) == ["best", "level", "", "", "", "", "", ""]
    assert marked(cells[:3]) == ["2.100 ± 0.141*", "2.250 ± 0.071~", "nan "]
    assert standings(cells[1:3]) == ["", ""], "one alone is not the best"
    assert standings([Standing((1.0,)), Standing((2.0,)), Standing((1.0,))]) == ["best", "", "best"]


def test_a_run_that_failed_once_and_then_finished_has_not_failed(tmp_path):
    out = grids.small(tmp_path)
    (out / "runs" / "tokens" / "ParaGRU" / "seed-0.error.txt").write_text("RuntimeError: once")
    assert read(out).failures == {} and "12 of 12" in aligned_text(read(out))


NAMES = (
    *("ParaGRU(path=../../../x)", "ParaGRU(path=///x)", "ParaGRU(path=/x)", "/x", ".", ".."),
    *("ParaGRU(a={'b': 'c'})", "ParaGRU(a=é)", "ParaGRU(a=è)", 300 * "x", 301 * "x"),
)


def test_a_run_lies_in_its_folder_whatever_its_mixer_is_called(tmp_path):
    paths = [Key("tokens", name, 0).path(tmp_path) for name in NAMES]
    assert len({*paths}) == len(NAMES)
    assert {path.resolve().parents[1] for path in paths} == {tmp_path / "runs" / "tokens"}
    for path in paths:
        Claim(path).release()
    plain = Path("tokens", "ParaGRU(block_size=4)", "seed-0")
    assert Key("tokens", "ParaGRU(block_size=4)", 0).place == plain
