"""Figures of many mixers: quality against cost, and curves over training."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from paratime.compare import svg
from paratime.compare.result import Result
from paratime.compare.summary import Cell, Summary, cost, number, quality
from paratime.compare.tables import Row, exact
from paratime.page import escaped

MOST = 60
"""Points of a drawn curve."""

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
    return Figure(title, drawing, rows, f"No place here: {absent}." if absent else "")


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
    """Yield a label beside each point where there is room; the legend names the others."""
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in at.values()]
    for i, name in names.items():
        wide, (x, y) = svg.LETTER * len(name), at[i]
        for anchor, here, middle, left in (
            ("start", x + 8, y, x + 8),
            ("end", x - 8, y, x - 8 - wide),
            ("middle", x, y - 12, x - wide / 2),
            ("middle", x, y + 12, x - wide / 2),
        ):
            box = (left, middle - 6, left + wide, middle + 6)
            inside = left >= -8 and box[2] <= size[0] + svg.RIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                place = f'class="{anchor}" x="{here:.1f}" y="{middle:.1f}" dy=".35em"'
                yield svg.group(i, f"<text {place}>{escaped(name)}</text>")
                break


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


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
    found = {i: gathered(summary.runs(domain, mixer), name) for i, mixer in enumerate(mixers)}
    curves = {i: x for i, x in found.items() if x is not None}
    if not curves:
        return None
    last = max(1.0, *(c.steps[-1] for c in curves.values()))
    begin = 0.0 if name.startswith("solver/") else last / 10
    late = (y for c in curves.values() for x, y in zip(c.steps, c.mean, strict=True) if x >= begin)
    y = svg.Axis.over(late, wide=10 if name.endswith("defect") else 50)
    wanted = len(curves) * svg.LINE <= TALL - svg.TOP
    right = 14 + svg.LETTER * max(len(svg.shortened(mixers[i])) for i in curves)
    panel = svg.Panel(svg.Axis(0, last, "step"), y, right if wanted else svg.RIGHT, TALL)
    lines = [
        svg.group(i, panel.band(c.steps, c.low, c.high) + panel.line(c.steps, c.mean))
        for i, c in curves.items()
    ]
    ends = _ends(panel, curves, mixers) if wanted else []
    said = f"{domain}: {name} over training"
    return Figure(name, panel.svg(said, lines, ends), [*_rows(curves, mixers)])


def _ends(panel: svg.Panel, curves: dict[int, Curve], mixers: list[str]) -> Iterator[str]:
    """Yield the names of lines beside their ends, moved apart."""
    ends = {i: panel.at(c.steps[-1], c.mean[-1]) for i, c in curves.items()}
    ends = {i: end for i, end in ends.items() if panel.holds(*end)}
    width, height = panel.size
    places = svg.apart([y for _, y in ends.values()], height)
    for (i, (x, y)), place in zip(ends.items(), places, strict=True):
        lead = f'<path class="lead" d="M{x:.1f} {y:.1f}L{width + 8:.1f} {place:.1f}"/>'
        text = f'<text x="{width + 11:.1f}" y="{place:.1f}" dy=".35em">'
        yield svg.group(i, f"{lead}{text}{escaped(svg.shortened(mixers[i]))}</text>")


def _rows(curves: dict[int, Curve], mixers: list[str]) -> Iterator[Row]:
    yield ["step", *(mixers[i] for i in curves)]
    values = [dict(zip(c.steps, c.mean, strict=True)) for c in curves.values()]
    for step in sorted(set().union(*values)):
        yield [f"{step:.6g}", *(f"{x[step]:.6g}" if step in x else "" for x in values)]
