"""The figures of a model's layers as an aligned table, and as a picture."""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TYPE_CHECKING

from paratime.doctor.examine import Layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = Callable[[Layer], str]


def _number(value: float | None, form: str = ".3g") -> str:
    return "-" if value is None else format(value, form)


def _slope(layer: Layer) -> str:
    return "-" if layer.slope is None else " ".join(f"{x:.3f}" for x in layer.slope)


def _newton(layer: Layer) -> str:
    if layer.iterations is None:
        return "-"
    return f"{layer.iterations}, {layer.defect:.0e}"


def _dead(layer: Layer) -> str:
    return "-" if layer.dead is None else f"{layer.dead}/{layer.channels}"


COLUMNS: dict[str, Cell] = {
    "layer": lambda layer: layer.name,
    "kind": lambda layer: layer.kind,
    "rms": lambda layer: _number(layer.weight_rms),
    "max": lambda layer: _number(layer.weight_max),
    "slope: least, median, greatest": _slope,
    "exponent": lambda layer: _number(layer.exponent, "+.4f"),
    "newton": _newton,
    "saturated": lambda layer: _number(layer.saturated, ".1%"),
    "dead": _dead,
    "not finite": lambda layer: f"{layer.not_finite:,}",
}
"""Cells of a layer by title."""


def layer_table(layers: Sequence[Layer]) -> str:
    """Return the figures as aligned text, a line a layer."""
    rows = [[*COLUMNS], *([cell(layer) for cell in COLUMNS.values()] for layer in layers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = enumerate(zip(row, widths, strict=True))
    cells = [x.ljust(w) if i < 2 else x.rjust(w) for i, (x, w) in padded]
    return "  ".join(cells).rstrip()


def draw_layers(layers: Sequence[Layer]) -> "Figure":
    """Return a figure of the exponents of all channels, and of saturated gates, by layer."""
    from matplotlib.figure import Figure

    from paratime.io.figures import COLORS, INK

    figure = Figure(figsize=(8, 1.6 + 0.4 * len(layers)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    for place, layer in enumerate(layers):
        known = [x for x in layer.exponents if isfinite(x)]
        left.plot(known, [place] * len(known), "|", color=COLORS[0], markersize=9)
        right.barh(place, layer.saturated or 0.0, color=COLORS[1])
    left.axvline(0, color=INK, linewidth=0.8)
    left.set_yticks(range(len(layers)), [layer.name.replace("$", r"\$") for layer in layers])
    left.invert_yaxis()
    left.set_xlabel("Lyapunov exponent of each channel, nats a step")
    right.set_xlabel("share of saturated gates")
    right.set_xlim(0, 1)
    return figure
