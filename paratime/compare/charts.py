"""Figures of a comparison, drawn by matplotlib as SVG for a page whose CSS gives them colours.

Everything of a mixer stands in a group with the classes ``m0`` to ``m7``, its colour, and ``d0`` to
``d3``, its dashes, by its place in the grid. Marks have eight shapes, so that mixers differ without
colour, too.
"""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, MaxNLocator
from matplotlib.transforms import Bbox

from paratime.compare.glossary import axis_text, term
from paratime.compare.results import Result, Standing, Summary, cost, first_seen, number, quality
from paratime.compare.tables import Row, exact
from paratime.io.figures import inline, spread
from paratime.io.html import printable

WIDTH, HEIGHT, LOW, TALL = 360, 224, 170, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 22, 36
FONT, LINE = 11, 13
"""Size and height of a line of text; like all sizes, in points, which are units of the viewBox."""

LONGEST = 24
"""Letters of a label."""

COLORS, DASHES = 8, 4
SHAPES = {"o": 8, "s": 7.5, "^": 9, "D": 7, "v": 9, "P": 9.5, "X": 9, "*": 12}
"""Marks and their sizes."""

MOST, SMOOTH = 60, 15
"""Points of a curve, and of a training curve, which is noisy."""

CHANNELS = 6
"""Channels of a rollout that are drawn."""

EXTREME = 1e30
"""Values of this size or its inverse get no room on an axis."""

ZEROS = "Zeros lie at the low end of a logarithmic axis."
GAP = 9
"""Distance between a point and its label."""

styled = matplotlib.rc_context(
    {"font.size": FONT, "svg.fonttype": "none", "svg.hashsalt": "paratime"}
)
"""Gives a function that draws these settings."""

Picture = dict[str, Any]
Point = tuple[float, float]


@dataclass(frozen=True)
class Chart:
    """A drawing and its data.

    Attributes:
        title: Plain text.
        svg: The drawing.
        rows: A header and rows of the data.
        note: Further information, as plain text.
        mixer: The place in the grid of the only mixer in the drawing, whose name is the title.
    """

    title: str
    svg: Markup
    rows: list[Row]
    note: str = ""
    mixer: int | None = None


@dataclass(frozen=True)
class Scale:
    """The range of an axis.

    Attributes:
        low: Least value.
        high: Largest value.
        log: Whether the axis is logarithmic.
        whole: Whether ticks are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        *,
        wide: float = math.inf,
        margin: float = 0.06,
        whole: bool = False,
    ) -> Self:
        """Return a scale for values, except extreme ones, such as those of models that diverged.

        Args:
            values: The values.
            wide: Ratio of the largest to the least positive value from which the axis is
                logarithmic, unless some are negative.
            margin: Share of the range to leave free at each end.
            whole: Whether ticks are whole numbers.
        """
        usual = [x for x in values if abs(x) < EXTREME] or [0.0]
        positive = [x for x in usual if x > 1 / EXTREME]
        log = bool(positive) and min(usual) >= 0 and max(positive) >= wide * min(positive)
        inside = [math.log10(x) for x in positive] if log else usual
        rest = margin * (max(inside) - min(inside)) or 0.05 * abs(max(inside)) or 1.0
        low, high = min(inside) - rest, max(inside) + rest
        return cls(10**low if log else low, 10**high if log else high, log, whole)

    def holds(self, value: float) -> bool:
        """Return whether a value has a place on the axis."""
        return self.low <= value <= self.high or (self.log and value == 0)

    def placed(self, values: Iterable[float]) -> np.ndarray:
        """Return values as they are drawn: zeros on the axis, and no further off than needed."""
        found = np.array([*values], dtype=float)
        found[~np.isfinite(found)] = np.nan
        if not self.log:
            far = 2 * (self.high - self.low)
            return np.clip(found, self.low - far, self.high + far)
        far = (self.high / self.low) ** 2
        found[found == 0] = self.low
        found[found < 0] = np.nan
        return np.clip(found, self.low / far, self.high * far)

    def apply(self, axes: Axes, name: str, ticks: int) -> None:
        """Give the axis ``x`` or ``y`` this range, and some round ticks."""
        axes.set(**{f"{name}scale": "log" if self.log else "linear"})
        axis: Axis = getattr(axes, f"{name}axis")
        axis.set_minor_locator(FixedLocator([]))
        axis.set_major_locator(self._locator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
        axis.set_view_interval(self.low, self.high, ignore=True)

    def _locator(self, ticks: int) -> Locator:
        decades = math.log10(self.high / self.low) if self.log else 0.0
        if decades < 0.7:
            return MaxNLocator(ticks, steps=(1, 2, 5, 10), integer=self.whole, min_n_ticks=1)
        subs = (1, 2, 5) if decades < 1.7 else (1, 3) if decades < 2.5 else (1,)
        return LogLocator(subs=subs, numticks=ticks)


def tick_text(value: float) -> str:
    """Return a round value in few letters."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-3:
        return f"{value:g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def shortened(name: str) -> str:
    """Return a name that fits a label: without its module and its middle, if need be."""
    if len(name) > LONGEST:
        path, bracket, rest = name.partition("(")
        name = path.rpartition(".")[2] + bracket + rest
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"


@styled
def scatter(summary: Summary, domain: str, name: str, title: str) -> Chart | None:
    """Draw a domain's headline metric against a cost; None if no mixer has both.

    Args:
        summary: The state of the comparison.
        domain: Name of a domain.
        name: Name of a cost.
        title: Of the figure, as plain text.
    """
    headline, unit = (summary.grid.domains[domain][x] for x in ("headline", "unit"))
    names, label = summary.grid.mixers, axis_text(name, unit)
    costs, scores = summary.column(domain, cost, name), summary.column(domain, quality, headline)
    x = Scale.over((cell.mean for cell in costs), wide=3, margin=0.12)
    y = Scale.over((end for cell in scores for end in _range(cell)), wide=30)
    pairs = [(c.mean, s.mean) for c, s in zip(costs, scores, strict=True)]
    at = {i: pair for i, pair in enumerate(pairs) if x.holds(pair[0]) and y.holds(pair[1])}
    if not at:
        return None
    axes = _axes(x, y, label, f"{headline}, lower is better")
    places = {i: (x.placed([a])[0], y.placed([b])[0]) for i, (a, b) in at.items()}
    for i, (left, height) in places.items():
        axes.plot([left] * 2, y.placed(_range(scores[i])), gid=f"bar-{i}")
        _mark(axes, i, left, height)
    _label_points(axes, {i: shortened(names[i]) for i in at}, places)
    hints = {
        f"mark-{i}": f"{names[i]}: {headline} {b:.4g}, {label} {a:.4g}" for i, (a, b) in at.items()
    }
    rows = [["mixer", label, headline], *([names[i], *map(exact, at[i])] for i in at)]
    absent = ", ".join(mixer for i, mixer in enumerate(names) if i not in at)
    zeros = _zeros(x, (cell.mean for cell in costs)) or _zeros(y, (cell.mean for cell in scores))
    notes = (f"No place here: {absent}." if absent else "", zeros)
    said = f"{domain}: {headline} against {label}"
    return Chart(title, _svg(axes, said, hints), rows, " ".join(filter(None, notes)))


def _zeros(scale: Scale, values: Iterable[float]) -> str:
    return ZEROS if scale.log and 0 in values else ""


def _range(cell: Standing) -> Point:
    width = cell.spread or 0.0
    return cell.mean - width, cell.mean + width


@dataclass(frozen=True)
class Curve:
    """A curve over training: the mean over seeds, and the least and the largest of them."""

    steps: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def gathered(runs: Iterable[Result], name: str, most: int = MOST) -> Curve | None:
    """Return a curve over the steps that all its seeds have; None without any.

    Args:
        runs: Of one mixer, one for each seed.
        name: Name of the curve.
        most: Largest number of points; if there are more, neighbours are averaged.
    """
    lines = [run.curves[name] for run in runs if run.curves.get(name)]
    tables = [{step: number(value) for step, value in line} for line in lines]
    if not tables or not (steps := sorted(set.intersection(*map(set, tables)))):
        return None
    values = np.array([steps, *([table[step] for step in steps] for table in tables)])
    parts = np.array_split(values, min(most, len(steps)), axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs have no mean
        places, *seeds = np.stack([part.mean(axis=1) for part in parts], axis=1)
        found = (places, np.mean(seeds, 0), np.min(seeds, 0), np.max(seeds, 0))
        return Curve(*(x.tolist() for x in found))


@styled
def curve(summary: Summary, domain: str, name: str) -> Chart | None:
    """Draw a curve of every mixer over training; None if no run has it.

    Args:
        summary: The state of the comparison.
        domain: Name of a domain.
        name: Name of the curve.
    """
    mixers = summary.grid.mixers
    most = SMOOTH if name.startswith("train/") else MOST
    found = [gathered(summary.runs(domain, mixer), name, most) for mixer in mixers]
    curves = {i: x for i, x in enumerate(found) if x is not None}
    if not curves:
        return None
    last = max(1.0, *(c.steps[-1] for c in curves.values()))
    known, y = term(domain, name), _upwards(curves, domain, name, last)
    wanted = len(curves) * LINE <= TALL - TOP - BOTTOM
    names = {i: shortened(mixers[i]) if wanted else "" for i in curves}
    right = 20 + max(map(_wide, names.values())) if wanted else RIGHT
    unit = known.unit if known else ""
    axes = _axes(Scale(0, last, whole=True), y, "training step", unit, right=right, height=TALL)
    if known is not None and known.goal is not None:
        axes.plot([0, last], [known.goal] * 2, gid="goal")
    for i, c in curves.items():
        axes.fill_between(c.steps, y.placed(c.low), y.placed(c.high), gid=f"band-{i}")
        axes.plot(c.steps, y.placed(c.mean), gid=f"line-{i}")
    ends = {i: (c.steps[-1], c.mean[-1]) for i, c in curves.items() if y.holds(c.mean[-1])}
    _label_ends(axes, {i: (x, y.placed([z])[0]) for i, (x, z) in ends.items()}, names)
    zeros = _zeros(y, (x for c in curves.values() for x in c.mean))
    return Chart(
        name, _svg(axes, f"{domain}: {name} over training"), [*_rows(curves, mixers)], zeros
    )


def _upwards(curves: dict[int, Curve], domain: str, name: str, last: float) -> Scale:
    """Return a scale that holds lines and bands of the last nine tenths of training."""
    begin = 0.0 if name.startswith("solver/") else last / 10
    late = [
        value
        for c in curves.values()
        for step, *values in zip(c.steps, c.low, c.mean, c.high, strict=True)
        if step >= begin
        for value in values
    ]
    ends = [value for c in curves.values() for value in (*c.low, *c.high)]
    known, wide = term(domain, name), 10 if name.endswith("defect") else 50
    goal = [] if known is None or known.goal is None else [known.goal]
    return Scale.over([*late, *goal], wide=wide, whole=all(x.is_integer() for x in ends))


def _rows(curves: dict[int, Curve], mixers: list[str]) -> Iterator[Row]:
    yield ["step", *(mixers[i] for i in curves)]
    values = [dict(zip(c.steps, c.mean, strict=True)) for c in curves.values()]
    for step in sorted(set().union(*values)):
        yield [f"{step:.6g}", *(f"{x[step]:.6g}" if step in x else "" for x in values)]


def of_kind(summary: Summary, domain: str, kind: str) -> dict[str, dict[int, Picture]]:
    """Return pictures of the first seed by title, and then by the mixer's place in the grid.

    Args:
        summary: The state of the comparison.
        domain: Name of a domain.
        kind: ``forecast``, ``rollout`` or ``text``.
    """
    found: dict[str, dict[int, Picture]] = {}
    for i, mixer in enumerate(summary.grid.mixers):
        runs = [x for x in summary.runs(domain, mixer) if x.seed == summary.grid.seeds[0]]
        for picture in (p for run in runs for p in run.pictures if p["kind"] == kind):
            found.setdefault(picture["title"], {})[i] = picture
    return found


def forecasts(title: str, pictures: dict[int, Picture], mixers: Sequence[str]) -> list[Chart]:
    """Draw a forecast of one series by each mixer: the target, and quantiles as line and bands.

    Args:
        title: Name of the series, as plain text.
        pictures: By the mixer's place in the grid.
        mixers: Names in order of the grid.
    """
    lines = [numbers(x) for p in pictures.values() for x in p["quantiles"].values()]
    y = around([x for p in pictures.values() for x in numbers(p["target"])], lines)
    return [_forecast(i, picture, y, mixers[i], title) for i, picture in pictures.items()]


@styled
def _forecast(index: int, picture: Picture, y: Scale, mixer: str, title: str) -> Chart:
    times, names = [str(x) for x in picture["time"]], sorted(picture["quantiles"], key=float)
    raw = [picture["target"], *(picture["quantiles"][name] for name in names)]
    target, *levels = [y.placed(numbers(x)) for x in raw]
    steps, half = range(len(times)), len(levels) // 2
    axes = _axes(Scale(0, max(1, len(times) - 1)), y, height=LOW)
    _name_ticks(axes.xaxis, times)
    for low, high in zip(levels[:half], reversed(levels), strict=False):
        axes.fill_between(steps, low, high, gid=f"band-{index}")
    if len(levels) % 2:
        axes.plot(steps, levels[half], gid=f"line-{index}")
    axes.plot(steps, target, gid="truth")
    rows = [["time", "target", *(f"quantile {q}" for q in names)]]
    rows += map(list, zip(times, *map(_texts, raw), strict=True))
    return Chart(mixer, _svg(axes, f"{mixer}: forecast of {title}"), rows, mixer=index)


def _name_ticks(axis: Axis, names: Sequence[str]) -> None:
    """Mark as many of the whole numbers from 0 as have room for their names."""
    room = int((WIDTH - LEFT) / (max(map(_wide, names)) + LINE))
    step = -(-len(names) // max(1, min(4, room)))
    axis.set_major_locator(FixedLocator([*range(0, len(names), step)]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: printable(names[round(value)])))


def rollouts(title: str, pictures: dict[int, Picture], mixers: Sequence[str]) -> Iterator[Chart]:
    """Draw each channel of one episode: the truth, and the imagination of each mixer.

    Args:
        title: Name of the episode, as plain text.
        pictures: By the mixer's place in the grid; of the same truth.
        mixers: Names in order of the grid.
    """
    first = next(iter(pictures.values()))
    for name in [*first["truth"]][:CHANNELS] if first["steps"] else []:
        yield _rollout(title, name, pictures, mixers)


@styled
def _rollout(title: str, name: str, pictures: dict[int, Picture], mixers: Sequence[str]) -> Chart:
    first = next(iter(pictures.values()))
    steps, truth = numbers(first["steps"]), numbers(first["truth"][name])
    found = {i: numbers(x["imagined"][name]) for i, x in pictures.items()}
    y = around(truth, found.values())
    axes = _axes(Scale(steps[0], max(steps[-1], steps[0] + 1), whole=True), y, "step", height=190)
    for i, values in found.items():
        axes.plot(steps, y.placed(values), gid=f"line-{i}")
    axes.plot(steps, y.placed(truth), gid="truth")
    raw = [first["steps"], first["truth"][name], *(x["imagined"][name] for x in pictures.values())]
    rows = [["step", "truth", *(mixers[i] for i in found)]]
    rows += map(list, zip(*map(_texts, raw), strict=True))
    return Chart(name, _svg(axes, f"{title}: {name}, truth and imagined"), rows)


def left_out(pictures: dict[int, Picture]) -> list[str]:
    """Return the names of the channels of rollouts that are not drawn."""
    return first_seen(name for p in pictures.values() for name in p["truth"])[CHANNELS:]


def around(truth: Iterable[float], others: Iterable[Sequence[float]]) -> Scale:
    """Return a scale for the truth, and for the others as far as they are not far off."""
    known = [x for x in truth if math.isfinite(x)] or [0.0]
    low, high = min(known), max(known)
    span = (high - low) or abs(high) or 1.0
    near = [x for line in others for x in line if low - span <= x <= high + span]
    return Scale.over([*known, *near])


def numbers(values: Iterable[Any]) -> list[float]:
    """Return values as floats; NaN for null."""
    return [number(x) for x in values]


def _texts(values: Iterable[Any]) -> Row:
    return ["" if x is None else f"{x:.6g}" for x in values]


@cache
@styled
def swatch(index: int) -> Markup:
    """Return a mixer's line and mark for a line of text."""
    figure = Figure(figsize=(32 / 72, 12 / 72), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 1), ylim=(0, 1))
    axes.set_axis_off()
    axes.plot([0, 1], [0.5, 0.5], clip_on=False, gid=f"line-{index}")
    _mark(axes, index, 0.5, 0.5)
    return _svg(axes, "", css=f"swatch {colored(index)}")


def colored(index: int) -> str:
    """Return the classes of a mixer's colour and dashes: a pair of its own for each of 32."""
    return f"m{index % COLORS} d{(index + index // COLORS) % DASHES}"


def _axes(
    x: Scale, y: Scale, along: str = "", up: str = "", *, right: float = RIGHT, height: int = HEIGHT
) -> Axes:
    """Return the axes of a new figure.

    Args:
        x: The horizontal scale.
        y: The vertical scale.
        along: Label of the horizontal axis, at its right end.
        up: Label of the vertical axis, above it.
        right: Room at the right, for labels.
        height: Of the figure.
    """
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    up, along = (
        ", ".join(filter(None, (text, "logarithmic" if scale.log else "")))
        for text, scale in ((up, y), (along, x))
    )
    top, bottom = TOP if up else TOP / 2, BOTTOM if along else BOTTOM - LINE
    sizes = ((WIDTH - LEFT - right) / WIDTH, (height - top - bottom) / height)
    axes = figure.add_axes((LEFT / WIDTH, bottom / height, *sizes))
    axes.patch.set_visible(False)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_gid("base")
    axes.grid(axis="y")
    axes.tick_params(axis="y", length=0, pad=6)
    axes.tick_params(axis="x", length=4)
    axes.set_autoscale_on(False)
    x.apply(axes, "x", 4)
    y.apply(axes, "y", 5)
    ends: dict[str, Any] = {"va": "baseline", "parse_math": False, "gid": "unit"}
    figure.text(2 / WIDTH, 1 - 12 / height, printable(up), **ends)
    figure.text(1 - right / WIDTH, 5 / height, printable(along), ha="right", **ends)
    return axes


def _mark(axes: Axes, index: int, x: float, y: float) -> None:
    shape, size = [*SHAPES.items()][index % len(SHAPES)]
    axes.plot([x], [y], marker=shape, ms=size, ls="", clip_on=False, gid=f"mark-{index}")


def _wide(text: str) -> float:
    """Return the width of a text."""
    with _without_glyphs():
        font = FontProperties(size=FONT)
        return text_to_path.get_text_width_height_descent(printable(text), font, False)[0]


def _label(
    axes: Axes, index: int, text: str, point: Point, offset: Point, lead: Point | None
) -> None:
    """Write a label whose left end is ``offset`` from its point.

    A line to the point begins at ``lead``, in shares of the label's size; without one, there is no
    line.
    """
    line = {"arrowstyle": "-", "shrinkA": 0, "shrinkB": 0, "gid": f"lead-{index}", "relpos": lead}
    axes.annotate(
        printable(text),
        point,
        offset,
        textcoords="offset points",
        va="center_baseline",
        arrowprops=line if lead else None,
        parse_math=False,
        gid=f"label-{index}",
    )


def _label_ends(axes: Axes, ends: dict[int, Point], names: dict[int, str]) -> None:
    """Mark the ends of lines, with their names to the right, moved apart."""
    area, pixels = axes.bbox, {i: axes.transData.transform(end) for i, end in ends.items()}
    heights = spread([y - area.y0 for _, y in pixels.values()], LINE, area.height)
    for (i, (x, y)), height in zip(pixels.items(), heights, strict=True):
        if names[i]:
            offset = (area.x1 + 14 - x, area.y0 + height - y)
            _label(axes, i, names[i], ends[i], offset, (0, 0.5))
        _mark(axes, i, *ends[i])


def _label_points(axes: Axes, names: dict[int, str], points: dict[int, Point]) -> None:
    """Write names as near to their points as there is room; the legend has the others."""
    at = {i: axes.transData.transform(point) for i, point in points.items()}
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in at.values()]
    taken += [line.get_window_extent().padded(2) for line in axes.lines]
    area = axes.bbox
    for i, name in names.items():
        (x, y), wide = at[i], _wide(name) + 4
        for left, up in _offsets(wide):
            box = Bbox.from_bounds(x + left, y + up - LINE / 2, wide, LINE)
            inside = area.x0 + 4 <= box.x0 and box.x1 <= WIDTH and area.y0 <= box.y0
            if inside and box.y1 <= area.y1 + 4 and not box.count_overlaps(taken):
                taken.append(box)
                nearest = min(max(-left / wide, 0.0), 1.0), 0.0 if up > 0 else 1.0
                far = math.hypot(max(left, -left - wide, 0), up) > 2 * GAP
                _label(axes, i, name, points[i], (left, up), nearest if far else None)
                break


def _offsets(wide: float) -> list[Point]:
    """Return offsets of a label's left end from its point, the nearest first."""
    lefts = [GAP, -GAP - wide, -wide / 2, *range(-300, 300, 12)]
    found = [(float(left), float(up)) for left in lefts for up in range(-195, 196, LINE)]

    def distance(offset: Point) -> float:
        left, up = offset
        return math.hypot(max(left, -left - wide, 0), 1.5 * max(0, abs(up) - LINE / 2))

    near = [x for x in found if abs(x[1]) >= LINE or not -wide - GAP < x[0] < GAP]
    return sorted(near, key=distance)


def _without_glyphs() -> warnings.catch_warnings:
    """Return a context without warnings of glyphs that matplotlib's font lacks; browsers differ."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)


ROLE = re.compile(
    r"(line|band|bar|mark|lead|label)-(\d+)|(truth|goal|base|unit)|matplotlib\.(axis)_\d"
)
"""Ids of groups in a drawing: of a mixer, or of all."""


def _svg(axes: Axes, title: str, hints: dict[str, str] | None = None, css: str = "") -> Markup:
    """Return the figure of some axes as SVG with classes for its colours.

    Args:
        axes: The axes.
        title: What a screen reader says, as plain text; without one, it says nothing.
        hints: Texts that appear at groups, by their ids.
        css: Classes of the drawing.
    """
    assert isinstance(axes.figure, Figure)
    with _without_glyphs():
        return Markup(inline(axes.figure, title, _attributes, hints or {}, css))


def _attributes(group: str) -> dict[str, str]:
    """Return the attributes of a group by its id: a mixer's has its colour and its place."""
    if (role := ROLE.fullmatch(group)) is None:
        return {}
    kind, mixer, *others = role.groups()
    if mixer is None:
        return {"class": others[0] or others[1]}
    return {"class": f"{kind} {colored(int(mixer))}", "data-mixer": mixer}
