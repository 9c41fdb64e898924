"""Figures of a comparison: where points lie, and what is left out."""

import math
import re
from dataclasses import replace
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from compare import grids
from matplotlib.figure import Figure

from paratime.compare import charts, report
from paratime.compare.charts import Scale
from paratime.compare.results import Result, Summary
from paratime.io.figures import spread
from paratime.io.html import STYLE

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


def groups(drawing: str, role: str) -> list[ElementTree.Element]:
    """Return the groups of a role, such as line, in a drawing."""
    found = ElementTree.fromstring(drawing).iter("g")
    return [x for x in found if x.get("class", "").split(" ")[0] == role]


def points(group: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """Return the pieces of the lines of a group."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", piece)]
        for path in group.iter("path")
        for piece in path.get("d").split("M")[1:]
    ]


def texts(drawing: str, role: str) -> list[str]:
    return [x.text for group in groups(drawing, role) for x in group.iter("text")]


def ticks(scale: Scale, count: int = 5) -> tuple[list[float], list[str]]:
    """Return the ticks inside a scale, and their texts."""
    axes = Figure().add_subplot()
    scale.apply(axes, "y", count)
    values = [x for x in axes.yaxis.get_major_locator()() if scale.low <= x <= scale.high]
    return values, [charts.tick_text(x) for x in values]


@pytest.mark.parametrize(
    "low, high", [(-1, 0), (-3, 7), (0.0973, 0.1042), (2.5e-7, 9e-6), (1e5, 3.2e8), (5, 5)]
)
@pytest.mark.parametrize("wide", (math.inf, 1))
def test_axes_hold_their_numbers_and_have_round_ticks(low, high, wide):
    scale = Scale.over([low, high, NAN, math.inf], wide=wide)
    assert scale.low < low <= high < scale.high
    assert scale.log == (low > 0 and wide == 1)
    values, names = ticks(scale)
    assert 2 <= len(values) <= 7 and values == sorted(values)
    assert len({*names}) == len(values) and all(len(text) <= 8 for text in names)


def test_axes_of_ratios_have_zero_at_the_low_end_and_say_what_they_are():
    scale = Scale.over([0.0, 1e-6, 1e-3], wide=10)
    assert scale.log and scale.holds(0) and scale.placed([0])[0] == scale.low
    assert np.isnan(scale.placed([NAN, -1, math.inf])).all()
    assert not Scale.over([-1.0, 1e-6, 1e-3], wide=10).log
    assert not Scale.over([0.0, 0.0], wide=10).log
    found = summary(curves={"solver/defect": [[0, 1e-6], [10, 1e-3]]})
    drawing = charts.curve(found, "tokens", "solver/defect").svg
    assert "logarithmic" in texts(drawing, "unit")


@pytest.mark.parametrize("wide", (math.inf, 1))
def test_axes_are_not_for_what_diverged(wide):
    scale = Scale.over([1.0, 2.0, 1e300, math.inf, NAN], wide=wide)
    assert scale.low < 1 and 2 < scale.high < 3 and not scale.holds(1e300)
    for values in ([1e300, 1e-320], [NAN], []):
        assert ticks(Scale.over(values, wide=wide))


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
    assert charts.tick_text(value) == text


@pytest.mark.parametrize("low, high", [(2, 3), (2, 5), (0, 11), (0, 300), (4, 4)])
def test_axes_of_whole_numbers_have_no_others(low, high):
    values, _ = ticks(Scale.over([low, high], whole=True))
    assert values and all(float(value).is_integer() for value in values)


def test_names_of_times_do_not_touch():
    names = [f"2015-01-{day:02} 00:00" for day in range(1, 31)]
    picture = {"time": names, "target": [*range(30)], "quantiles": {"0.5": [*range(30)]}}
    (figure,) = charts.forecasts("T1", {0: picture}, ["a"])
    (below, _) = groups(figure.svg, "axis")
    places = [(float(x.get("x")), x.text) for x in below.iter("text")]
    assert 2 <= len(places) <= 4 and {text for _, text in places} <= {*names}
    assert all(b - a > 6 * len(names[0]) for (a, _), (b, _) in pairwise(places))


def drawn(values: list[float | None], others: list[float | None]) -> str:
    """Return a forecast over the same steps, whose target holds 0 and 1."""
    levels = {"0.5": values, "0.1": others, "0.9": [1.0] * len(values)}
    picture = {"time": [*range(len(values))], "target": [0.0, *values[1:-1], 1.0]}
    (figure,) = charts.forecasts("T1", {0: picture | {"quantiles": levels}}, ["a"])
    return figure.svg


def test_lines_lie_where_their_numbers_are_and_break_where_there_is_none():
    (line,) = groups(drawn([0, 0.5, NAN, 0.9, math.inf, 0.25], [0] * 6), "line")
    first, second, third = points(line)
    (left, bottom), (middle, half) = first
    right, quarter = third[0]
    assert (middle - left) * 5 == pytest.approx(right - left, abs=0.5)
    assert bottom - quarter == pytest.approx((bottom - half) / 2, abs=0.2)
    assert second[0][0] - left == pytest.approx(3 / 5 * (right - left), abs=0.5), "a point alone"
    assert all("h" in piece for piece in re.findall("M[^M]*", line[0].get("d"))[1:])
    assert not points(groups(drawn([NAN] * 3, [NAN] * 3), "line")[0])


def test_bands_go_there_above_and_back_below():
    (band,) = groups(drawn([0.5] * 2, [0, 0.5]), "band")
    (piece,) = points(band)
    heights = sorted({y for _, y in piece})
    assert len({x for x, _ in piece}) == 2 and len(heights) == 3
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)


def test_what_is_far_off_stays_a_small_number():
    drawing = drawn([0, 1e300, -1e300, 0], [-1e300] * 4)
    found = [*groups(drawing, "line"), *groups(drawing, "band")]
    assert max(abs(x) for g in found for piece in points(g) for p in piece for x in p) < 1e3


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
    found = [charts.shortened(name) for name in (*names, "mine.layers.Second")]
    assert len({*found}) == 5 and max(map(len, found)) <= charts.LONGEST
    assert found[0] == "ParaGRU"


@pytest.mark.parametrize(
    "name, label",
    [
        ("ParaLSTM(block_size=4)", "ParaLSTM(block_size=4)"),
        ("mine.module.layers.MyLayer(size=4)", "MyLayer(size=4)"),
        ("mine.MyLayer", "mine.MyLayer"),
        ("ParaGRU(block_size=4, max_recurrent=0.5)", "ParaGRU(bloc…urrent=0.5)"),
    ],
)
def test_labels_keep_the_class_and_the_end(name, label):
    assert charts.shortened(name) == label and len(label) <= charts.LONGEST


@pytest.mark.parametrize("places", ([5.0, 5.0, 5.0], [0.0, 170.0, 169.0, 168.0], [10.0], []))
def test_labels_are_moved_apart_and_stay_above_the_axis(places):
    found = spread(places, charts.LINE, 170)
    order = [found[i] for i in sorted(range(len(places)), key=lambda i: places[i])]
    assert all(b - a >= charts.LINE for a, b in pairwise(order))
    assert max(found, default=0) <= 170


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("width", (0.0, 0.01, 0.5))
def test_every_label_has_a_place_of_its_own_inside_the_figure(seed, width):
    random = np.random.default_rng(seed)
    grid = replace(grids.GRID, domains={"tokens": grids.GRID.domains["tokens"]}, seeds=[0])
    runs = [replace(grids.result(*key, i), quality={}) for i, key in enumerate(grid.runs())]
    for run in runs:
        run.quality["bits_per_byte"] = 2.5 + width * random.uniform(-1, 1)
        run.cost["units_per_s"] = 1e4 * math.exp(width * random.uniform(-1, 1))
    drawing = charts.scatter(Summary(grid, runs, {}), "tokens", "units_per_s", "title").svg
    boxes = [box_of(x) for group in groups(drawing, "label") for x in group.iter("text")]
    assert len(boxes) == len(grids.MIXERS)
    for left, top, right, bottom in boxes:
        assert left >= charts.LEFT and right <= charts.WIDTH
        assert top >= charts.TOP - charts.LINE and bottom <= charts.HEIGHT - charts.BOTTOM
    for a, b in combinations(boxes, 2):
        assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def box_of(label: ElementTree.Element) -> tuple[float, float, float, float]:
    x, y, wide = float(label.get("x")), float(label.get("y")), 5.5 * len(label.text)
    return x, y - 8, x + wide, y + 2


def test_a_label_is_beside_its_point_where_there_is_room():
    drawing = charts.scatter(summary(), "tokens", "units_per_s", "title").svg
    marks = [group.find(".//path").get("transform") for group in groups(drawing, "mark")]
    for mark, group in zip(marks, groups(drawing, "label"), strict=True):
        x, y = map(float, re.findall(r"-?[\d.]+", mark))
        label = group.find("text")
        left, right = float(label.get("x")), float(label.get("x")) + charts.GAP * len(label.text)
        assert left - charts.GAP - 1 <= x <= right and abs(float(label.get("y")) - y) < charts.LINE
    assert not groups(drawing, "lead")


def test_mixers_have_their_own_colour_and_dashes():
    count = charts.COLORS * charts.DASHES
    assert len({charts.colored(i) for i in range(count)}) == count
    (mark,) = groups(charts.swatch(9), "mark")
    assert mark.get("class") == f"mark {charts.colored(9)}" and mark.get("data-mixer") == "9"
    shapes = {groups(charts.swatch(i), "mark")[0].find(".//path").get("d") for i in range(8)}
    assert len(shapes) == 8


def test_the_figure_of_a_curve_has_a_line_a_mixer_and_its_numbers():
    found = summary()
    figure = charts.curve(found, "tokens", "train/loss")
    for role in ("line", "band", "mark", "label"):
        assert [x.get("data-mixer") for x in groups(figure.svg, role)] == ["0", "1"]
    assert figure.rows[0] == ["step", *grids.MIXERS[:2]]
    assert len(figure.rows) == 1 + charts.SMOOTH, "curves of training are smoothed"
    expected = charts.gathered(found.runs("tokens", "ParaLSTM"), "train/loss", charts.SMOOTH)
    column = [float(row[2]) for row in figure.rows[1:]]
    np.testing.assert_allclose(column, expected.mean, rtol=1e-5)
    assert texts(figure.svg, "label") == grids.MIXERS[:2]
    assert charts.curve(found, "tokens", "no such curve") is None


def test_axes_of_curves_hold_bands_and_goals_and_have_units():
    low, high = ([[10, 0.5], [20, x]] for x in (0.55, 0.7))
    found = summary(curves={})
    for run in found.results:
        run.curves["solver/iterations"] = [[10, 3.0], [20, 3.0 + 4 * run.seed]]
        run.curves["solver/defect"] = [[10, 1e-6], [20, 1e-8 * run.seed]]
        run.curves["val/loss"] = high if run.seed else low
    figure = charts.curve(found, "tokens", "solver/iterations")
    assert {"4", "6"} <= {*texts(figure.svg, "axis")} and "3.5" not in texts(figure.svg, "axis")
    band = groups(figure.svg, "band")[0]
    assert min(y for piece in points(band) for _, y in piece) > charts.TOP / 2
    assert "nats per token" in texts(charts.curve(found, "tokens", "val/loss").svg, "unit")
    zero = replace(found.results[0], curves={"solver/defect": [[0, 1e-6], [10, 1e-8], [20, 0]]})
    figure = charts.curve(replace(found, results=[zero]), "tokens", "solver/defect")
    assert figure.note == charts.ZEROS and len(points(groups(figure.svg, "line")[0])[0]) == 3
    curves = {"val/coverage_80": [[10, 0.9], [20, 0.95]]}
    runs = [replace(run, curves=curves) for run in found.results]
    figure = charts.curve(replace(found, results=runs), "tokens", "val/coverage_80")
    assert not groups(figure.svg, "goal"), "of a domain of one's own"
    grid = replace(found.grid, domains={"series": grids.GRID.domains["series"]})
    runs = [replace(run, domain="series") for run in runs]
    figure = charts.curve(Summary(grid, runs, {}), "series", "val/coverage_80")
    assert len(groups(figure.svg, "goal")) == 1 and "0.8" in texts(figure.svg, "axis")


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


def forecast(levels: dict[str, list[float | None]]) -> charts.Picture:
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
    (figure,) = charts.forecasts("T1", {1: forecast(levels)}, ["a", "b"])
    assert figure.mixer == 1 and figure.title == "b"
    assert len(groups(figure.svg, "band")) == bands and len(groups(figure.svg, "line")) == lines
    assert len(groups(figure.svg, "truth")) == 1
    ordered = sorted(names, key=float)
    assert figure.rows[0] == ["time", "target", *(f"quantile {x}" for x in ordered)]
    assert figure.rows[3] == ["c", "", *(f"{float(x):g}" for x in ordered)]


def test_forecasts_that_are_far_off_do_not_flatten_the_others():
    levels = {"0.5": [None, 1.5, 1e6]}
    near = {"0.5": [None, 1.5, 2.5]}
    far, _ = charts.forecasts("T1", {0: forecast(levels), 1: forecast(near)}, ["a", "b"])
    assert far.rows[3] == ["c", "", "1e+06"]
    scale = charts.around([1.0, 2.0], [[1e6, 2.5, NAN]])
    assert 2.5 < scale.high < 3 and scale.low < 1


def test_rollouts_have_the_truth_and_every_mixer():
    found = grids.rollouts(1.0, np.random.default_rng(0))[0]
    many = {f"o{i}": found["truth"]["cos"] for i in range(9)}
    wide = found | {"truth": many, "imagined": many}
    assert charts.left_out({0: wide}) == ["o6", "o7", "o8"]
    assert len([*charts.rollouts("e", {0: wide}, ["a"])]) == charts.CHANNELS
    figures = [*charts.rollouts("e", {0: found, 2: found}, ["a", "b", "c"])]
    assert [figure.title for figure in figures] == [*found["truth"]]
    for figure in figures:
        assert [x.get("data-mixer") for x in groups(figure.svg, "line")] == ["0", "2"]
        assert len(groups(figure.svg, "truth")) == 1
        assert figure.rows[0] == ["step", "truth", "a", "c"] and len(figure.rows) == 51
        column = [float(row[3]) for row in figure.rows[1:]]
        np.testing.assert_allclose(column, found["imagined"][figure.title], rtol=1e-4, atol=1e-9)


def test_pictures_are_of_the_first_seed():
    found = charts.of_kind(summary(), "tokens", "text")
    first = [grids.result("tokens", x, 0, i) for i, x in enumerate(grids.MIXERS[:2])]
    assert {i: x["text"] for i, x in found["prompt ROMEO:"].items()} == {
        i: run.pictures[0]["text"] for i, run in enumerate(first)
    }


def test_names_in_drawings_are_text_whatever_they_contain():
    found = summary()
    names = ["<b>$x^2$ & \x00</b>", "名前"]
    runs = [replace(run, mixer=names[grids.MIXERS.index(run.mixer)]) for run in found.results]
    found = replace(found, grid=replace(found.grid, mixers=names), results=runs)
    drawing = charts.curve(found, "tokens", "train/loss").svg
    assert texts(drawing, "label") == ["<b>$x^2$ & \ufffd</b>", "名前"]
    assert "style=" not in drawing and "<image" not in drawing


TO_LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
TO_LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
"""Oklab, https://bottosson.github.io/posts/oklab."""

SEEN_BY = {
    "most": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
"""Machado, Oliveira and Fernandes, 2009, at a severity of one; of linear red, green and blue."""


def colors(scheme: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the colour of the paper, and those of mixers, as linear red, green and blue."""
    index = ("light", "dark").index(scheme)
    paper = re.findall(r"--paper: (#\w+);", STYLE)[index]
    found = [re.findall(rf"--c{i}: (#\w+);", report.STYLE)[index] for i in range(charts.COLORS)]
    return linear(paper), [*map(linear, found)]


def linear(color: str) -> np.ndarray:
    wide = color[1:] if len(color) == 7 else "".join(2 * x for x in color[1:])
    value = np.array([int(wide[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_colors_stand_out_from_the_paper(scheme):
    paper, found = colors(scheme)
    weights = np.array([0.2126, 0.7152, 0.0722])
    for color in found:
        high, low = sorted((float(x @ weights) for x in (color, paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3, "WCAG 2.1, contrast of graphics"


@pytest.mark.parametrize("seen_by", SEEN_BY)
@pytest.mark.parametrize("scheme", ("light", "dark"))
def test_colors_are_told_apart_by_who_sees_fewer(scheme, seen_by):
    seen = np.clip(np.array(colors(scheme)[1]) @ np.transpose(SEEN_BY[seen_by]), 0, 1)
    lab = np.cbrt(seen @ np.transpose(TO_LMS)) @ np.transpose(TO_LAB)
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 0.1
