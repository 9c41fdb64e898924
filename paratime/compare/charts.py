"""Figures of many mixers: quality against cost, and curves over training."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from paratime.compare import placing, svg
from paratime.compare.glossary import term
from paratime.compare.result import Result
from paratime.compare.summary import Cell, Summary, cost, number, quality
from paratime.compare.tables import Row, exact
from paratime.io.html import escaped

MOST, SMOOTH = 60, 15
"""Points of a drawn curve, and of one of training, which is noisy."""

ZEROS = "Zeros lie at the low end of a logarithmic axis."

TALL = 250
"""Height of the figure of curves."""


@dataclass(frozen=True)
class Figure:
    """A drawing, and the numbers in it.

    Attributes:
        title: Plain text.
        svg: The drawing.
        rows: A header and rows of what is drawn.
        note: What else there is to know, as plain text.
        mixer: The place in the grid of the one mixer that it is of, whose name is the title.
    """

    title: str
    svg: str
    rows: list[Row]
    note: str = ""
    mixer: int | None = None


def scatter(summary: Summary, domain: str, name: str, title: str) -> Figure | None:
    """Draw a domain's headline metric against a cost; None where no mixer has both.

    Args:
        summary: What to draw.
        domain: Name of a domain.
        name: Name of a cost.
        title: Of the figure, as plain text.
    """
    headline, unit = (summary.grid.domains[domain][x] for x in ("headline", "unit"))
    names, label = summary.grid.mixers, words(name, unit)
    costs, scores = summary.column(domain, cost, name), summary.column(domain, quality, headline)
    x = svg.Axis.over((cell.mean for cell in costs), label, wide=3, margin=0.12)
    ends = (end for cell in scores for end in _range(cell))
    panel = svg.Panel(x, svg.Axis.over(ends, f"{headline}, lower is better", wide=30))
    places = enumerate(panel.at(x.mean, y.mean) for x, y in zip(costs, scores, strict=True))
    at = {i: place for i, place in places if panel.holds(*place)}
    if not at:
        return None
    marks, rows = [], [["mixer", label, headline]]
    for i, place in at.items():
        bar = panel.line([costs[i].mean] * 2, _range(scores[i]))
        hint = f"{names[i]}: {headline} {scores[i].mean:.4g}, {label} {costs[i].mean:.4g}"
        marks.append(svg.group(i, bar + svg.mark(i, *place, hint)))
        rows.append([names[i], exact(costs[i].mean), exact(scores[i].mean)])
    labels = _labels({i: svg.shortened(names[i]) for i in at}, at, panel.size)
    drawing = panel.svg(f"{domain}: {headline} against {label}", marks, labels)
    absent = ", ".join(mixer for i, mixer in enumerate(names) if i not in at)
    zeros = _zeros(panel.x, costs) or _zeros(panel.y, scores)
    notes = (f"No place here: {absent}." if absent else "", zeros)
    return Figure(title, drawing, rows, " ".join(filter(None, notes)))


def _zeros(axis: svg.Axis, cells: Iterable[Cell]) -> str:
    return ZEROS if axis.log and any(cell.mean == 0 for cell in cells) else ""


def _range(cell: Cell) -> tuple[float, float]:
    spread = cell.spread or 0.0
    return cell.mean - spread, cell.mean + spread


def words(name: str, unit: str) -> str:
    """Return what a cost, or what a solver did, is called in figures and headings."""
    known = {
        "units_per_s": f"{unit} per second, training",
        "train_seconds": "seconds, training",
        "peak_memory_mib": "peak memory, MiB",
        "ms_per_generated_step": "ms per step, generating",
        "solver_iterations_mean": "iterations, mean",
        "solver_iterations_last": "iterations, last",
        "solver_defect_last": "defect, last",
        "solver_loop_share_mean": "loop share, mean",
    }
    return known[name]


def _labels(
    names: dict[int, str], at: dict[int, tuple[float, float]], size: tuple[float, float]
) -> Iterator[str]:
    """Yield a label as near to each point as there is room, with a line where it is not beside it.

    Only where a figure is full are names left to the legend.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in at.values()]
    for i, name in names.items():
        box = placing.nearest(at[i], svg.wide(name), taken, (size[0] + svg.RIGHT, size[1]))
        if box is None:
            continue
        taken.append(box)
        (x, y), (to, up) = at[i], placing.closest(at[i], box)
        far = math.hypot(to - x, up - y) > placing.GAP + 2
        lead = f'<path class="lead" d="M{x:.1f} {y:.1f}L{to:.1f} {up:.1f}"/>' if far else ""
        middle = f'x="{(box[0] + box[2]) / 2:.1f}" y="{(box[1] + box[3]) / 2:.1f}"'
        text = f'<text class="middle" {middle} dy=".35em">'
        yield svg.group(i, f"{lead}{text}{escaped(name)}</text>")


@dataclass(frozen=True)
class Curve:
    """A curve over training: its mean over seeds, and the least and the largest of them."""

    steps: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def gathered(runs: Iterable[Result], name: str, most: int = MOST) -> Curve | None:
    """Return a curve over the steps that all its seeds have; None where there are none.

    Args:
        runs: Of one mixer, one for each seed.
        name: Name of the curve.
        most: Points; neighbours are averaged, where there are more.
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


def curve(summary: Summary, domain: str, name: str) -> Figure | None:
    """Draw a curve of every mixer over training; None where there is none.

    Args:
        summary: What to draw.
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
    x, y = svg.Axis(0, last, "training step", whole=True), _upwards(curves, domain, name, last)
    wanted = len(curves) * svg.LINE <= TALL - svg.TOP - svg.BOTTOM
    right = 16 + max(svg.wide(svg.shortened(mixers[i])) for i in curves)
    panel = svg.Panel(x, y, right if wanted else svg.RIGHT, TALL)
    lines = [
        svg.group(i, panel.band(c.steps, c.low, c.high) + panel.line(c.steps, c.mean))
        for i, c in curves.items()
    ]
    if (known := term(domain, name)) is not None and known.goal is not None:
        lines.insert(0, f'<g class="goal">{panel.line([0, last], [known.goal] * 2)}</g>')
    drawing = panel.svg(
        f"{domain}: {name} over training", lines, _ends(panel, curves, mixers if wanted else [])
    )
    zeros = ZEROS if y.log and any(0 in c.mean for c in curves.values()) else ""
    return Figure(name, drawing, [*_rows(curves, mixers)], zeros)


def _upwards(curves: dict[int, Curve], domain: str, name: str, last: float) -> svg.Axis:
    """Return an axis that holds lines and bands of the last nine tenths of training."""
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
    whole = all(value.is_integer() for value in ends)
    return svg.Axis.over([*late, *goal], known.unit if known else "", wide=wide, whole=whole)


def _ends(panel: svg.Panel, curves: dict[int, Curve], mixers: list[str]) -> Iterator[str]:
    """Yield the marks of lines at their ends, and their names beside them, moved apart."""
    ends = {i: panel.at(c.steps[-1], c.mean[-1]) for i, c in curves.items()}
    ends = {i: end for i, end in ends.items() if panel.holds(*end)}
    width, height = panel.size
    places = placing.apart([y for _, y in ends.values()], height)
    for (i, (x, y)), place in zip(ends.items(), places, strict=True):
        lead = f'<path class="lead" d="M{x:.1f} {y:.1f}L{width + 10:.1f} {place:.1f}"/>'
        text = f'<text x="{width + 13:.1f}" y="{place:.1f}" dy=".35em">'
        name = f"{lead}{text}{escaped(svg.shortened(mixers[i]))}</text>" if mixers else ""
        yield svg.group(i, name + svg.mark(i, x, y))


def _rows(curves: dict[int, Curve], mixers: list[str]) -> Iterator[Row]:
    yield ["step", *(mixers[i] for i in curves)]
    values = [dict(zip(c.steps, c.mean, strict=True)) for c in curves.values()]
    for step in sorted(set().union(*values)):
        yield [f"{step:.6g}", *(f"{x[step]:.6g}" if step in x else "" for x in values)]
