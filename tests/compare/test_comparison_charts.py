"""Figures of a comparison: where points lie, and what is left out."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from compare import grids

from paratime.compare import charts, pictures, svg
from paratime.compare.result import Result
from paratime.compare.summary import Summary

NAN = math.nan


def summary(**change: object) -> Summary:
    """Return a comparison of two mixers on tokens, whose runs are changed."""
    domains = {"tokens": grids.GRID.domains["tokens"]}
    grid = replace(grids.GRID, domains=domains, mixers=grids.MIXERS[:2], seeds=[0, 1])
    runs = [
        replace(grids.result("tokens", mixer, seed, i), **change)
        for i, mixer in enumerate(grid.mixers)
        for seed in grid.seeds
    ]
    return Summary(grid, runs, {})


def points_of(path: str) -> list[list[tuple[float, float]]]:
    """Return the pieces of a path of straight lines."""
    (data,) = re.findall(r' d="([^"]*)"', path)
    number = r"(-?[\d.]+) (-?[\d.]+)"
    return [
        [(float(x), float(y)) for x, y in re.findall(number, piece)]
        for piece in data.split("M")[1:]
    ]


@pytest.mark.parametrize(
    "low, high", [(-1, 0), (-3, 7), (0.0973, 0.1042), (2.5e-7, 9e-6), (1e5, 3.2e8), (5, 5)]
)
@pytest.mark.parametrize("wide", (math.inf, 1))
def test_axes_hold_their_numbers_and_have_round_ticks(low, high, wide):
    axis = svg.Axis.over([low, high, NAN, math.inf], "x", wide=wide)
    assert axis.low < low <= high < axis.high
    assert axis.log == (low > 0 and wide == 1)
    assert 0 < axis.share(low) <= axis.share(high) < 1
    values = [value for value, _ in axis.ticks()]
    assert 2 <= len(values) <= 7 and values == sorted(values)
    assert all(0 <= axis.share(x) <= 1 for x in values)
    assert len({text for _, text in axis.ticks()}) == len(values)
    assert all(len(text) <= 8 for _, text in axis.ticks())


def test_axes_of_ratios_have_zero_at_the_low_end_and_say_what_they_are():
    axis = svg.Axis.over([0.0, 1e-6, 1e-3], "x", wide=10)
    assert axis.log and axis.share(0) == 0 and math.isnan(axis.share(NAN))
    assert math.isnan(axis.share(-1)) and axis.title == "x, logarithmic"
    assert axis.share(math.sqrt(1e-9)) == pytest.approx(0.5)
    assert not svg.Axis.over([-1.0, 1e-6, 1e-3], "x", wide=10).log
    assert not svg.Axis.over([0.0, 0.0], "x", wide=10).log


@pytest.mark.parametrize("wide", (math.inf, 1))
def test_axes_are_not_for_what_diverged(wide):
    axis = svg.Axis.over([1.0, 2.0, 1e300, math.inf, NAN], "x", wide=wide)
    assert axis.low < 1 and 2 < axis.high < 3 and axis.share(1e300) > 1
    assert svg.Axis.over([1e300, 1e-320], "x", wide=wide).ticks()
    assert svg.Axis.over([NAN], "x", wide=wide).ticks() and svg.Axis.over([], "x").ticks()


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0"),
        (40_000, "40k"),
        (2.5e6, "2.5M"),
        (1e-6, "1e-6"),
        (0.05, "0.05"),
        (1.5e12, "1.5e12"),
    ],
)
def test_ticks_have_few_letters(value, text):
    assert svg.tick_text(value) == text


@pytest.mark.parametrize("low, high", [(2, 3), (2, 5), (0, 11), (0, 300), (4, 4)])
def test_axes_of_whole_numbers_have_no_others(low, high):
    values = [value for value, _ in svg.Axis.over([low, high], whole=True).ticks()]
    assert values and all(value.is_integer() for value in values)


def test_names_of_times_do_not_touch():
    names = [f"2015-01-{day:02} 00:00" for day in range(1, 31)]
    ticks = svg.Axis(0, 29, names=names).ticks(4)
    assert 2 <= len(ticks) <= 4 and all(names[int(value)] == text for value, text in ticks)
    assert svg.LETTER * len(names[0]) * len(ticks) < svg.WIDTH


def test_lines_lie_where_their_numbers_are_and_break_where_there_is_none():
    panel = svg.Panel(svg.Axis(0, 10), svg.Axis(0, 1))
    width, height = panel.size
    first, second, third = points_of(
        panel.line([0, 5, 6, 7, 8, 10], [0, 0.5, NAN, 1, math.inf, 0.25])
    )
    np.testing.assert_allclose(first, [(0, height), (width / 2, height / 2)], atol=0.05)
    np.testing.assert_allclose(second, [(0.7 * width, 0)], atol=0.05)
    np.testing.assert_allclose(third, [(width, 0.75 * height)], atol=0.05)
    assert panel.line([0, 1], [NAN, NAN]) == "" and panel.line([], []) == ""


def test_bands_go_there_above_and_back_below():
    panel = svg.Panel(svg.Axis(0, 1), svg.Axis(0, 1))
    width, height = panel.size
    (piece,) = points_of(panel.band([0, 1], [0.0, 0.25], [0.5, 1.0]))
    expected = [(0, height), (width, 0.75 * height), (width, 0), (0, height / 2)]
    np.testing.assert_allclose(piece, expected, atol=0.05)


def test_what_is_far_off_stays_a_small_number():
    panel = svg.Panel(svg.Axis(0, 1), svg.Axis(0, 1))
    assert max(abs(x) for p in points_of(panel.line([0, 1], [1e300, -1e300]))[0] for x in p) < 1e3


def test_curves_are_means_over_seeds_and_neighbours():
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 100))
    runs = [
        Result("d", "m", i, 1, {}, {}, {"x": grids.points(np.arange(100), line)}, [], {})
        for i, line in enumerate(values)
    ]
    curve = charts.gathered(runs, "x", most=20)
    seeds = values.reshape(3, 20, 5).mean(-1)
    np.testing.assert_allclose(curve.steps, np.arange(100).reshape(20, 5).mean(-1))
    np.testing.assert_allclose(curve.mean, seeds.mean(0))
    np.testing.assert_allclose(curve.low, seeds.min(0))
    np.testing.assert_allclose(curve.high, seeds.max(0))
    whole = charts.gathered(runs, "x", most=100)
    np.testing.assert_allclose(whole.mean, values.mean(0))
    assert charts.gathered(runs, "y") is None and charts.gathered([], "x") is None


def test_curves_are_of_the_steps_that_all_seeds_have_and_keep_nan():
    lines = [[[1, 1.0], [2, 2.0], [3, None]], [[2, 4.0], [3, 1.0], [4, 1.0]]]
    runs = [Result("d", "m", i, 1, {}, {}, {"x": x}, [], {}) for i, x in enumerate(lines)]
    curve = charts.gathered(runs, "x")
    assert curve.steps == [2, 3]
    np.testing.assert_array_equal(curve.mean, [3.0, NAN])


def test_a_mean_too_large_for_a_number_is_infinite():
    runs = [Result("d", "m", i, 1, {}, {}, {"x": [[1, 1.7e308]]}, [], {}) for i in range(2)]
    assert charts.gathered(runs, "x").mean == [math.inf]


def test_long_names_keep_what_tells_them_apart():
    names = ["ParaGRU", "ParaGRU(block_size=4)", "ParaLSTM(block_size=4)", "mine.layers.First"]
    found = [svg.shortened(name) for name in (*names, "mine.layers.Second")]
    assert len({*found}) == 5 and max(map(len, found)) <= svg.LONGEST
    assert found[0] == "ParaGRU"


def test_the_figure_of_a_curve_has_a_line_a_mixer_and_its_numbers():
    found = summary()
    figure = charts.curve(found, "tokens", "train/loss")
    groups = re.findall(r'class="m(\d) d\1" data-mixer="\1"><path class="band"', figure.svg)
    assert groups == ["0", "1"] and figure.svg.count('class="mark"') == 2
    assert figure.rows[0] == ["step", *grids.MIXERS[:2]]
    assert len(figure.rows) == 1 + charts.SMOOTH, "curves of training are smoothed"
    expected = charts.gathered(found.runs("tokens", "ParaLSTM"), "train/loss", charts.SMOOTH)
    column = [float(row[2]) for row in figure.rows[1:]]
    np.testing.assert_allclose(column, expected.mean, rtol=1e-5)
    assert all(name in figure.svg for name in grids.MIXERS[:2])
    assert charts.curve(found, "tokens", "no such curve") is None


def test_axes_of_curves_hold_bands_and_goals_and_have_units():
    low, high = ([[10, 0.5], [20, x]] for x in (0.55, 0.7))
    found = summary(curves={})
    for run in found.results:
        run.curves["solver/iterations"] = [[10, 3.0], [20, 3.0 + 4 * run.seed]]
        run.curves["solver/defect"] = [[10, 1e-6], [20, 1e-8 * run.seed]]
        run.curves["val/loss"] = high if run.seed else low
    figure = charts.curve(found, "tokens", "solver/iterations")
    assert all(f">{tick}</text>" in figure.svg for tick in (4, 6)) and ">3.5<" not in figure.svg
    (band, *_) = (x for x in re.findall(r'<path class="band"[^>]*>', figure.svg))
    assert min(y for piece in points_of(band) for _, y in piece) > 0
    assert "nats per token</text>" in charts.curve(found, "tokens", "val/loss").svg
    zero = replace(found.results[0], curves={"solver/defect": [[0, 1e-6], [10, 1e-8], [20, 0]]})
    figure = charts.curve(replace(found, results=[zero]), "tokens", "solver/defect")
    assert figure.note == charts.ZEROS and len(points_of(line_of(figure.svg))[0]) == 3
    curves = {"val/coverage_80": [[10, 0.9], [20, 0.95]]}
    runs = [replace(run, curves=curves) for run in found.results]
    figure = charts.curve(replace(found, results=runs), "tokens", "val/coverage_80")
    assert "goal" not in figure.svg, "of a domain of one's own"
    grid = replace(found.grid, domains={"series": grids.GRID.domains["series"]})
    runs = [replace(run, domain="series") for run in runs]
    figure = charts.curve(Summary(grid, runs, {}), "series", "val/coverage_80")
    assert '<g class="goal"><path class="line"' in figure.svg and ">0.8</text>" in figure.svg


def line_of(drawing: str) -> str:
    return re.findall(r'<path class="line"[^>]*>', drawing)[0]


def test_quality_against_cost_leaves_out_what_has_no_number_and_says_so():
    found = summary()
    found.results[0].quality["bits_per_byte"] = NAN
    figure = charts.scatter(found, "tokens", "units_per_s", "title")
    assert figure.note == "No place here: ParaGRU."
    assert [row[0] for row in figure.rows[1:]] == ["ParaLSTM"]
    mean = np.mean([run.cost["units_per_s"] for run in found.runs("tokens", "ParaLSTM")])
    assert float(figure.rows[1][1]) == pytest.approx(mean)
    assert 'data-mixer="0"' not in figure.svg and 'data-mixer="1"' in figure.svg
    assert charts.scatter(summary(cost={}), "tokens", "units_per_s", "title") is None


def test_quality_against_cost_has_a_place_for_zero_but_not_for_what_diverged():
    found = summary()
    for run in found.results:
        run.cost["peak_memory_mib"] = 0.0
        if run.mixer == "ParaLSTM":
            run.quality["bits_per_byte"] = 1e300
    figure = charts.scatter(found, "tokens", "peak_memory_mib", "title")
    assert [row[:2] for row in figure.rows[1:]] == [["ParaGRU", "0"]]
    assert figure.note == "No place here: ParaLSTM." and "nan" not in figure.svg


def forecast(levels: dict[str, list[float | None]]) -> pictures.Picture:
    return {"time": ["a", "b", "c"], "target": [1.0, 2.0, None], "quantiles": levels}


@pytest.mark.parametrize(
    "names, bands, lines",
    [
        (("0.5",), 0, 1),
        (("0.9", "0.1"), 1, 0),
        (("0.1", "0.9", "0.5"), 1, 1),
        (("0.1", "0.25", "0.5", "0.75", "0.9"), 2, 1),
    ],
)
def test_forecasts_have_a_band_for_each_pair_of_quantiles(names, bands, lines):
    levels = {name: [None, None, float(name)] for name in names}
    (figure,) = pictures.forecasts("T1", {1: forecast(levels)}, ["a", "b"])
    assert figure.svg.count('class="band"') == bands and figure.mixer == 1 and figure.title == "b"
    assert figure.svg.count('class="line"') == lines + 1
    ordered = sorted(names, key=float)
    assert figure.rows[0] == ["time", "target", *(f"quantile {x}" for x in ordered)]
    assert figure.rows[3] == ["c", "", *(f"{float(x):g}" for x in ordered)]


def test_forecasts_that_are_far_off_do_not_flatten_the_others():
    levels = {"0.5": [None, 1.5, 1e6]}
    near = {"0.5": [None, 1.5, 2.5]}
    far, _ = pictures.forecasts("T1", {0: forecast(levels), 1: forecast(near)}, ["a", "b"])
    assert far.rows[3] == ["c", "", "1e+06"]
    axis = pictures.around([1.0, 2.0], [[1e6, 2.5, NAN]])
    assert 2.5 < axis.high < 3 and axis.low < 1


def test_rollouts_have_the_truth_and_every_mixer():
    found = grids.rollouts(1.0, np.random.default_rng(0))[0]
    many = {f"o{i}": found["truth"]["cos"] for i in range(9)}
    wide = found | {"truth": many, "imagined": many}
    assert pictures.left_out({0: wide}) == ["o6", "o7", "o8"]
    assert len([*pictures.rollouts("e", {0: wide}, ["a"])]) == pictures.CHANNELS
    figures = [*pictures.rollouts("e", {0: found, 2: found}, ["a", "b", "c"])]
    assert [figure.title for figure in figures] == [*found["truth"]]
    for figure in figures:
        assert figure.svg.count('class="line"') == 3
        assert figure.rows[0] == ["step", "truth", "a", "c"] and len(figure.rows) == 51
        column = [float(row[3]) for row in figure.rows[1:]]
        np.testing.assert_allclose(column, found["imagined"][figure.title], rtol=1e-4, atol=1e-9)


def test_pictures_are_of_the_first_seed():
    found = pictures.of_kind(summary(), "tokens", "text")
    first = [grids.result("tokens", x, 0, i) for i, x in enumerate(grids.MIXERS[:2])]
    assert {i: x["text"] for i, x in found["prompt ROMEO:"].items()} == {
        i: run.pictures[0]["text"] for i, run in enumerate(first)
    }
