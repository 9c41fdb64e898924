"""Places of labels in figures, such that none covers another."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise, product

from paratime.compare import svg

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

Point = tuple[float, float]

GRID = 4
"""Distance of the places that are tried."""

GAP = 9
"""Distance of a label from the point that it names, where there is room."""


def apart(places: Sequence[float], height: float) -> list[float]:
    """Return places of labels near others, at least a line from each other, above ``height``."""
    order, found = sorted(range(len(places)), key=lambda i: places[i]), [*places]
    for before, after in pairwise(order):
        found[after] = max(found[after], found[before] + svg.LINE)
    bottom = height
    for i in reversed(order):
        found[i] = min(found[i], bottom)
        bottom = found[i] - svg.LINE
    return found


def nearest(point: Point, wide: float, taken: Sequence[Box], size: Point) -> Box | None:
    """Return the free place for a line of text that is nearest to a point; None if all is full.

    Args:
        point: What the text names.
        wide: Width of the text.
        taken: What it must not cover, beside the point.
        size: Width and height of the figure.
    """
    (x, y), (width, height) = point, size
    lefts = [x + GAP, x - GAP - wide, x - wide / 2, *_steps(width - wide)]
    tops = [y - svg.LINE / 2, y - GAP - svg.LINE, y + GAP, *_steps(height - svg.LINE)]
    boxes = [
        (left, top, left + wide, top + svg.LINE)
        for left, top in product(lefts, tops)
        if 0 <= left <= width - wide and 0 <= top <= height - svg.LINE
    ]
    boxes.sort(key=lambda box: _distance(point, box))
    taken = [*taken, (x - GAP, y - GAP, x + GAP, y + GAP)]
    return next((box for box in boxes if not any(overlap(box, other) for other in taken)), None)


def _steps(last: float) -> Iterable[float]:
    return (float(x) for x in range(0, max(0, int(last)) + 1, GRID))


def closest(point: Point, box: Box) -> Point:
    """Return the point of a box that is nearest to another point."""
    (x, y), (left, top, right, bottom) = point, box
    return min(max(x, left), right), min(max(y, top), bottom)


def _distance(point: Point, box: Box) -> float:
    """Return how far a box is from a point; beside it is better than above or below it."""
    x, y = closest(point, box)
    return math.hypot(x - point[0], 1.5 * (y - point[1]))


def overlap(a: Box, b: Box) -> bool:
    """Return whether two boxes have more than an edge in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
