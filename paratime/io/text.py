"""Texts from data, such as names of series, as text wherever they are shown or stored.

``paratime.errors.in_line`` makes one for a terminal, ``paratime.io.html.escaped`` for a page.
"""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd

from paratime.errors import in_line
from paratime.io.atomic import replacing

_GUARDED = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may take for a formula, after guards that it had before."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def in_figure(text: str, wide: int | None = None, longest: int = 100) -> str:
    """Return a text that matplotlib draws as it is: no mathematics, and no hidden label.

    Args:
        text: Any text.
        wide: Characters of a line.
        longest: Characters, of which the middle ones are left out if there are more.
    """
    text = in_line(text, longest)
    text = fill(text, wide) if wide else text
    return (" " * text.startswith("_") + text).replace("$", r"\$")


def in_cell(text: str) -> str:
    """Return a text for a cell of CSV: what a spreadsheet would run is given a leading apostrophe.

    That is text which begins with ``=``, ``+``, ``-``, ``@`` (of normal or full width), a tab or a
    line break, unless it is a number (OWASP, CSV Injection). So that ``from_cell`` finds the same
    text, one that begins with apostrophes before such a character is given another one.
    """
    return f"'{text}" if _GUARDED.match(text) and not _NUMBER.fullmatch(text) else text


def from_cell(text: str) -> str:
    """Return the text that ``in_cell`` was given."""
    return text[1:] if text.startswith("'") and _GUARDED.match(text) else text


def write_csv(table: pd.DataFrame, path: str | Path, **options: Any) -> None:
    """Write a table as CSV, whole or not at all, with texts ``in_cell``."""
    table = _mapped(table, in_cell)
    texts = [x for _, column in table.select_dtypes(object).items() for x in column.unique()]
    breaks = any("\r" in x for x in texts if isinstance(x, str))  # which Python does not quote
    quoting = csv.QUOTE_NONNUMERIC if breaks else csv.QUOTE_MINIMAL
    with replacing(path) as draft:
        table.to_csv(draft, index=False, quoting=quoting, errors="replace", **options)


def read_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of CSV with the texts that ``write_csv`` was given."""
    return _mapped(table, from_cell)


def _mapped(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return a table with its texts changed; columns of numbers and dates stay as they are."""
    table = table.copy(deep=False)
    for place in range(table.shape[1]):
        column = table.iloc[:, place]
        texts = [x for x in column.unique() if isinstance(x, str)] if column.dtype == object else []
        changed = {x: y for x in texts if (y := change(x)) != x}
        if changed:
            table.isetitem(place, [changed.get(x, x) for x in column])
    return table
