"""Figures of what models say: forecasts with their quantiles, and imagined rollouts."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from paratime.compare import svg
from paratime.compare.charts import Figure
from paratime.compare.summary import Summary, first_seen, number
from paratime.compare.tables import Row

Picture = dict[str, Any]

CHANNELS = 6
"""Numbers of a rollout that are drawn."""


def of_kind(summary: Summary, domain: str, kind: str) -> dict[str, dict[int, Picture]]:
    """Return pictures of the first seed by title, and then by the mixer's place in the grid.

    Args:
        summary: Where they are.
        domain: Name of a domain.
        kind: ``forecast``, ``rollout`` or ``text``.
    """
    found: dict[str, dict[int, Picture]] = {}
    for i, mixer in enumerate(summary.grid.mixers):
        runs = [x for x in summary.runs(domain, mixer) if x.seed == summary.grid.seeds[0]]
        for picture in (p for run in runs for p in run.pictures if p["kind"] == kind):
            found.setdefault(picture["title"], {})[i] = picture
    return found


def forecasts(title: str, pictures: dict[int, Picture], mixers: Sequence[str]) -> list[Figure]:
    """Draw a forecast of one series by each mixer: the target, quantiles and the bands they bound.

    Args:
        title: Name of the series, as plain text.
        pictures: By the mixer's place in the grid.
        mixers: Names in order of the grid.
    """
    lines = [numbers(x) for p in pictures.values() for x in p["quantiles"].values()]
    targets = [x for p in pictures.values() for x in numbers(p["target"])]
    y = around(targets, lines)
    return [_forecast(i, picture, y, mixers[i], title) for i, picture in pictures.items()]


def quantiles(pictures: dict[int, Picture]) -> str:
    """Return which quantiles of forecasts are drawn, and how, as plain text."""
    names = sorted({name for p in pictures.values() for name in p["quantiles"]}, key=float)
    half, odd = divmod(len(names), 2)
    lines = [f"the {names[half]} quantile as a line"] if odd else []
    pairs = zip(names[:half], reversed(names), strict=False)
    bands = (f"the range from the {a} to the {b} quantile as a band" for a, b in pairs)
    return ", ".join([*lines, *bands])


def _forecast(index: int, picture: Picture, y: svg.Axis, mixer: str, title: str) -> Figure:
    times, target = [str(x) for x in picture["time"]], numbers(picture["target"])
    quantiles = {
        name: numbers(picture["quantiles"][name])
        for name in sorted(picture["quantiles"], key=float)
    }
    levels = [*quantiles.values()]
    steps = range(len(times))
    panel = svg.Panel(svg.Axis(0, max(1, len(times) - 1), names=times), y, height=170)
    pairs = zip(levels, reversed(levels[(len(levels) + 1) // 2 :]), strict=False)
    drawn = [panel.band(steps, low, high) for low, high in pairs]
    if len(levels) % 2:
        drawn.append(panel.line(steps, levels[len(levels) // 2]))
    inside = [svg.group(index, "".join(drawn)), f'<g class="truth">{panel.line(steps, target)}</g>']
    rows = [["time", "target", *(f"quantile {q}" for q in quantiles)]]
    raw = [picture["target"], *(picture["quantiles"][name] for name in quantiles)]
    rows += map(list, zip(times, *map(_texts, raw), strict=True))
    said = f"{mixer}: forecast of {title}"
    return Figure(mixer, panel.svg(said, inside), rows, mixer=index)


def rollouts(title: str, pictures: dict[int, Picture], mixers: Sequence[str]) -> Iterator[Figure]:
    """Draw each number of one episode: the truth, and what each mixer imagined.

    Args:
        title: Name of the episode, as plain text.
        pictures: By the mixer's place in the grid; of the same truth.
        mixers: Names in order of the grid.
    """
    first = next(iter(pictures.values()))
    steps = numbers(first["steps"])
    for name in [*first["truth"]][:CHANNELS] if steps else []:
        truth = numbers(first["truth"][name])
        found = {i: numbers(x["imagined"][name]) for i, x in pictures.items()}
        y = around(truth, found.values())
        panel = svg.Panel(svg.Axis(steps[0], max(steps[-1], steps[0] + 1), "step"), y, height=190)
        inside = [svg.group(i, panel.line(steps, x)) for i, x in found.items()]
        inside.append(f'<g class="truth">{panel.line(steps, truth)}</g>')
        rows = [["step", "truth", *(mixers[i] for i in found)]]
        raw = [
            first["steps"],
            first["truth"][name],
            *(pictures[i]["imagined"][name] for i in found),
        ]
        rows += map(list, zip(*map(_texts, raw), strict=True))
        yield Figure(name, panel.svg(f"{title}: {name}, truth and imagined", inside), rows)


def left_out(pictures: dict[int, Picture]) -> list[str]:
    """Return the names of the numbers of rollouts that are not drawn."""
    return first_seen(name for p in pictures.values() for name in p["truth"])[CHANNELS:]


def around(truth: Iterable[float], others: Iterable[Sequence[float]]) -> svg.Axis:
    """Return an axis for the truth, and for the others as far as they are not far off."""
    known = [x for x in truth if math.isfinite(x)] or [0.0]
    low, high = min(known), max(known)
    span = (high - low) or abs(high) or 1.0
    near = [x for line in others for x in line if low - span <= x <= high + span]
    return svg.Axis.over([*known, *near])


def numbers(values: Iterable[Any]) -> list[float]:
    """Return numbers; NaN for null."""
    return [number(x) for x in values]


def _texts(values: Iterable[Any]) -> Row:
    return ["" if x is None else f"{x:.6g}" for x in values]
