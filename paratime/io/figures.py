"""Figures on disk."""

from typing import TYPE_CHECKING

from paratime.errors import InputError
from paratime.io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def check_figure(path: str) -> str:
    """Return the format that the ending of a figure's name means.

    Raises:
        InputError: It means none.
    """
    _, dot, kind = path.rpartition(".")
    if not dot or kind not in FORMATS:
        raise InputError("out", "a name in ." + ", .".join(FORMATS), repr(path), "rename it")
    return kind


def save(figure: "Figure", path: str) -> None:
    """Write a figure, whole or not at all, in the format of its name's ending.

    Raises:
        InputError: That format is unknown.
    """
    kind = check_figure(path)
    with replacing(path) as draft:
        figure.savefig(draft, format=kind, dpi=130)
