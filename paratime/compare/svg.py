"""Axes, lines, bands and marks as SVG, whose colours are those of the page that holds them.

Everything of a mixer stands in a group of the class ``m0`` to ``m7``, its colour, and ``d0`` to
``d3``, how its lines are dashed, by its place in the grid. Marks have eight shapes, so that colour
is not needed to tell mixers apart.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from paratime.io.html import escaped

WIDTH, HEIGHT = 360, 224
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 22, 36
LINE = 12
"""Height of a line of text; like all sizes, in units of the viewBox."""

LETTER = 6.4
"""Width of a letter, nearly; see ``wide``."""

LONGEST = 24
"""Letters of a label."""

COLORS, DASHES = 8, 4

EXTREME = 1e30
"""Size from which on a number, or one upon it, is not made room for."""

SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-4.8l4.8 8.4h-9.6z",
    "M0-5.2l4.8 5.2-4.8 5.2-4.8-5.2z",
    "M0 4.8l4.8-8.4h-9.6z",
    "M-1.6-4.8h3.2v3.2h3.2v3.2h-3.2v3.2h-3.2v-3.2h-3.2v-3.2h3.2z",
    "M0-2l2.3-2.3 2 2-2.3 2.3 2.3 2.3-2 2-2.3-2.3-2.3 2.3-2-2 2.3-2.3-2.3-2.3 2-2z",
    "M-5.2-2.2h10.4v4.4h-10.4z",
)

Points = Sequence[float]


@dataclass(frozen=True)
class Axis:
    """A range of numbers, and how it is divided.

    Attributes:
        low: Least number.
        high: Largest number.
        label: What they are, as plain text.
        log: Whether distances are ratios.
        whole: Whether it is of whole numbers, so that nothing is marked between them.
        names: Texts of the whole numbers from 0 on, to stand for them.
    """

    low: float
    high: float
    label: str = ""
    log: bool = False
    whole: bool = False
    names: Sequence[str] = ()

    @classmethod
    def over(
        cls,
        values: Iterable[float],
        label: str = "",
        *,
        wide: float = math.inf,
        margin: float = 0.06,
        whole: bool = False,
    ) -> Self:
        """Return an axis that holds all numbers but extreme ones, as of models that diverged.

        Args:
            values: Numbers.
            label: What they are, as plain text.
            wide: Ratio of the largest to the least, zeros aside, from which on distances are
                ratios, unless some are negative.
            margin: Share of the range to leave free at each end.
            whole: Whether nothing is to be marked between whole numbers.
        """
        usual = [x for x in values if abs(x) < EXTREME] or [0.0]
        positive = [x for x in usual if x > 1 / EXTREME]
        log = bool(positive) and min(usual) >= 0 and max(positive) >= wide * min(positive)
        inside = _log(positive) if log else usual
        rest = margin * (max(inside) - min(inside)) or 0.05 * abs(max(inside)) or 1.0
        low, high = min(inside) - rest, max(inside) + rest
        low, high = (10**low, 10**high) if log else (low, high)
        return cls(low, high, label, log, whole)

    @property
    def title(self) -> str:
        """The label, and whether distances are ratios."""
        return ", ".join(filter(None, (self.label, "logarithmic" if self.log else "")))

    def share(self, value: float) -> float:
        """Return where a number lies from 0 to 1, or some way beyond; NaN if nowhere.

        Where distances are ratios, zero lies at the low end.
        """
        if not math.isfinite(value) or (self.log and value < 0):
            return math.nan
        if self.log and value == 0:
            return 0.0
        ends = (self.low, value, self.high)
        low, here, high = _log(ends) if self.log else ends
        return min(3.0, max(-2.0, (here - low) / (high - low)))

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Return round numbers in the range, with their texts."""
        if self.names:
            room = int((WIDTH - LEFT) / (LETTER * max(map(len, self.names)) + LINE))
            step = -(-len(self.names) // max(1, min(most, room)))
            return [(float(i), self.names[i]) for i in range(0, len(self.names), step)]
        values = self._decades(most) if self.log else []
        values = values if len(values) > 1 else self._multiples(most)
        return [(x, tick_text(x)) for x in values]

    def _multiples(self, most: int) -> list[float]:
        rough = (self.high - self.low) / most
        power = 10 ** math.floor(math.log10(rough))
        step = next(x * power for x in (1, 2, 5, 10) if x * power >= rough * (1 - 1e-9))
        step = max(1.0, step) if self.whole else step
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [float(f"{i * step:.12g}") for i in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [f * 10.0**k for k in range(first, last + 1) for f in factors]
            inside = [x for x in values if self.low <= x <= self.high]
            if len(inside) <= most:
                return inside
        return inside[:: -(-len(inside) // most)]


def _log(values: Iterable[float]) -> list[float]:
    return [math.log10(x) for x in values]


def tick_text(value: float) -> str:
    """Return a round number in few letters."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-3:
        return f"{value:g}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


@dataclass(frozen=True)
class Panel:
    """Two axes, and what is drawn between them.

    Attributes:
        x: The axis to the right.
        y: The axis upwards.
        right: Room for labels at the right.
        height: Of all.
    """

    x: Axis
    y: Axis
    right: float = RIGHT
    height: float = HEIGHT

    @property
    def top(self) -> float:
        """Room for a label at the top."""
        return TOP if self.y.title else TOP / 2

    @property
    def size(self) -> tuple[float, float]:
        """Width and height between the axes."""
        return WIDTH - LEFT - self.right, self.height - self.top - BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point between the axes, from the upper left; NaN if nowhere."""
        width, height = self.size
        return self.x.share(x) * width, (1 - self.y.share(y)) * height

    def holds(self, x: float, y: float) -> bool:
        """Return whether a place of ``at`` lies between the axes."""
        width, height = self.size
        return 0 <= x <= width and 0 <= y <= height

    def line(self, xs: Points, ys: Points) -> str:
        """Return a line that is broken where a number is not finite."""
        pieces = _pieces([self.at(x, y) for x, y in zip(xs, ys, strict=True)])
        path = "".join(_path(piece) for piece in pieces)
        return f'<path class="line" d="{path}"/>' if path else ""

    def band(self, xs: Points, low: Points, high: Points) -> str:
        """Return the area between two lines."""
        pairs = [self.at(x, y) + self.at(x, z) for x, y, z in zip(xs, low, high, strict=True)]
        path = "".join(
            _path([p[:2] for p in piece] + [p[2:] for p in reversed(piece)]) + "z"
            for piece in _pieces(pairs)
        )
        return f'<path class="band" d="{path}"/>' if path else ""

    def svg(self, title: str, inside: Iterable[str], beside: Iterable[str] = ()) -> str:
        """Return the figure.

        Args:
            title: What a reader hears who cannot see it, as plain text.
            inside: SVG in the coordinates of ``at``, cut off at the axes.
            beside: Likewise, not cut off.
        """
        width, height = self.size
        box = f'width="{width:g}" height="{height:g}"'
        parts = [
            f'<svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" aria-label="{escaped(title)}">',
            *self._axes(),
            f'<svg x="{LEFT}" y="{self.top:g}" {box}>{"".join(inside)}</svg>',
            f'<g transform="translate({LEFT} {self.top:g})">{"".join(beside)}</g></svg>',
        ]
        return "\n".join(parts)

    def _axes(self) -> Iterator[str]:
        width, height = self.size
        yield f'<g class="axes" transform="translate({LEFT} {self.top:g})">'
        for value, name in self.y.ticks(5):
            place = f"{(1 - self.y.share(value)) * height:.1f}"
            yield f'<path d="M0 {place}h{width:g}"/>'
            yield f'<text x="-6" y="{place}" dy=".35em" class="end">{escaped(name)}</text>'
        for value, name in self.x.ticks(4):
            place = f"{self.x.share(value) * width:.1f}"
            side = "end" if self.x.share(value) > 0.9 else "middle"
            yield f'<path d="M{place} {height:g}v4"/>'
            yield f'<text x="{place}" y="{height + 16:g}" class="{side}">{escaped(name)}</text>'
        yield f'<path class="base" d="M0 {height:g}h{width:g}"/>'
        yield f'<text x="{2 - LEFT}" y="{11 - self.top:g}">{escaped(self.y.title)}</text>'
        place = f'x="{width:g}" y="{height + BOTTOM - 5:g}"'
        yield f'<text {place} class="end">{escaped(self.x.title)}</text></g>'


def _pieces(points: Sequence[tuple[float, ...]]) -> Iterator[list[tuple[float, ...]]]:
    """Yield the runs of points without NaN."""
    piece: list[tuple[float, ...]] = []
    for point in [*points, (math.nan,)]:
        if not any(map(math.isnan, point)):
            piece.append(point)
        elif piece:
            yield piece
            piece = []


def _path(points: Sequence[tuple[float, ...]]) -> str:
    """Return a line through points; a short one of a single point."""
    first, *others = [f"{x:.1f} {y:.1f}" for x, y in points]
    return f"M{first}" + ("L" + " ".join(others) if others else "h2")


def group(index: int, content: str) -> str:
    """Return what belongs to a mixer, in its colour, to be shown and hidden with it."""
    return f'<g class="{_style(index)}" data-mixer="{index}">{content}</g>'


def _style(index: int) -> str:
    """Return the classes of a mixer's colour and dashes: a pair of its own for each of 32."""
    return f"m{index % COLORS} d{(index + index // COLORS) % DASHES}"


def mark(index: int, x: float, y: float, title: str = "") -> str:
    """Return a mixer's mark at a place, with a text for who points at it."""
    shape = SHAPES[index % len(SHAPES)]
    inner = f"<title>{escaped(title)}</title>" if title else ""
    return f'<path class="mark" transform="translate({x:.1f} {y:.1f})" d="{shape}">{inner}</path>'


def swatch(index: int) -> str:
    """Return a mixer's line and mark in a line of text."""
    return (
        f'<svg class="swatch {_style(index)}" viewBox="-16 -6 32 12" aria-hidden="true">'
        f'<path class="line" d="M-16 0h32"/>{mark(index, 0, 0)}</svg>'
    )


def wide(text: str) -> float:
    """Return the width of a text, nearly."""
    return LETTER * (len(text) + 0.5 * sum(letter in "mMwW@" for letter in text))


def shortened(name: str) -> str:
    """Return a name that fits a label: if need be, without its module, and its middle left out."""
    if len(name) > LONGEST:
        path, bracket, rest = name.partition("(")
        name = path.rpartition(".")[2] + bracket + rest
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"
