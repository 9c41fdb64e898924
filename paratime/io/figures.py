"""Figures on disk and in pages, and what all of them share: colours, and labels apart."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from textwrap import fill
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from paratime.errors import InputError, abridged
from paratime.io.atomic import replacing
from paratime.io.html import printable
from paratime.io.packages import import_package

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")

COLORS = ("#1b62a5", "#d1701c", "#4d8b55", "#8a5aa6", "#a8324e", "#6f6f6f")
INK, PALE, RULE, GRID = "#222222", "#767676", "#bdbdbd", "#e4e4e4"


def check_figure(path: str) -> str:
    """Return the format of a figure, from the suffix of its name.

    Raises:
        InputError: The format is unknown, or matplotlib is not installed.
    """
    _, dot, kind = path.rpartition(".")
    if not dot or kind not in FORMATS:
        raise InputError(
            "out",
            expected="a name in ." + ", .".join(FORMATS),
            got=repr(path),
            remedy="rename it",
        )
    import_package("matplotlib", what="out")
    return kind


def save_figure(figure: "Figure", path: str) -> None:
    """Write a figure, whole or not at all, in the format of its suffix.

    Raises:
        InputError: The format is unknown.
    """
    kind = check_figure(path)
    with replacing(path) as draft, without_glyphs():
        figure.savefig(draft, format=kind, dpi=130)


def in_figure(text: str, wide: int | None = None, longest: int = 100) -> str:
    """Return a text that matplotlib draws as it is: no mathematics, and no hidden label.

    Args:
        text: Any text.
        wide: Characters of a line.
        longest: Characters, of which the middle ones are left out if there are more.
    """
    text = abridged(text, longest)
    text = fill(text, wide) if wide else text
    return (" " * text.startswith("_") + text).replace("$", r"\$")


@contextmanager
def without_glyphs() -> Iterator[None]:
    """Draw characters that the font lacks as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+")
        warnings.filterwarnings("ignore", message=r"Matplotlib currently does not support")
        yield


def spread(places: Sequence[float], gap: float, most: float) -> list[float]:
    """Return places near the given ones, at least ``gap`` from each other and up to ``most``."""
    order, found = sorted(range(len(places)), key=lambda i: places[i]), [*places]
    for before, after in pairwise(order):
        found[after] = max(found[after], found[before] + gap)
    for i in reversed(order):
        found[i] = min(found[i], most)
        most = found[i] - gap
    return found


def inline(
    figure: "Figure",
    title: str,
    attributes: Callable[[str], dict[str, str]],
    hints: Mapping[str, str],
    css: str = "",
) -> str:
    """Return a figure as an SVG element for a page that gives it colours, dashes and fonts.

    matplotlib's own has styles that a page's security policy forbids and a dark page cannot change,
    and ids that other figures have, too.

    Args:
        figure: The figure, drawn with ``svg.fonttype`` none.
        title: What a screen reader says, as plain text; without one, it says nothing.
        attributes: Returns the attributes of a group of artists by its ``gid``.
        hints: Texts that appear at a group, by its ``gid``.
        css: Classes of the element.
    """
    buffer = BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    source = buffer.getvalue()
    root = ElementTree.fromstring(re.sub(rb' xmlns(:xlink)?="[^"]*"| xlink:', b" ", source))
    shapes = {x.get("id", ""): x.get("d", "") for x in root.iter("path")}
    clip = "c" + sha256(source + title.encode(errors="replace")).hexdigest()[:8]
    for element in [*root.iter()]:
        for child in [*element]:
            if child.tag in ("defs", "metadata") and child.find("clipPath") is None:
                element.remove(child)
        element.text, element.tail = (element.text or "").strip(), None
        group = element.get("id", "")
        element.attrib = _geometry(element, shapes, clip) | attributes(group)
        if group in hints:
            ElementTree.SubElement(element, "title").text = printable(hints[group])
    said = {"role": "img", "aria-label": printable(title)} if title else {"aria-hidden": "true"}
    root.attrib = {"viewBox": root.attrib["viewBox"], **said} | ({"class": css} if css else {})
    return ElementTree.tostring(root, "unicode")


def _geometry(element: ElementTree.Element, shapes: dict[str, str], clip: str) -> dict[str, str]:
    """Return the attributes of an element that place it; one that uses a path becomes one.

    Args:
        element: The element.
        shapes: Paths by their ids.
        clip: Id of the clip path.
    """
    old, new = element.attrib, {}
    if element.tag == "use":
        element.tag, place = "path", _rounded(f"{old['x']} {old['y']}")
        new = {"d": _rounded(shapes[old["href"][1:]]), "transform": f"translate({place})"}
    elif element.tag == "path":  # a point on its own becomes visible
        new = {"d": re.sub(r"(M \S+ \S+)(?= M|$)", r"\1 h 2", _rounded(old.get("d", "")))}
    elif element.tag == "clipPath":
        new = {"id": clip}
    else:
        new = {x: _rounded(old[x]) for x in ("x", "y", "width", "height", "viewBox") if x in old}
    if "clip-path" in old:
        new["clip-path"] = f"url(#{clip})"
    if anchor := re.search(r"text-anchor: (middle|end)", old.get("style", "")):
        new["text-anchor"] = anchor[1]
    return new


def _rounded(path: str) -> str:
    short = re.sub(r"-?\d+\.\d+", lambda x: f"{float(x[0]):.1f}".removesuffix(".0"), path)
    return " ".join(short.split())
