"""Tables of other packages, as pandas', and tables of CSV, whose texts are no formulas."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from paratime.errors import InputError
from paratime.io.atomic import replacing
from paratime.io.packages import import_package

_GUARDED = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet may take for a formula, after guards that it had before."""

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def as_pandas(table: Any) -> pd.DataFrame:
    """Return a table of any package as pandas' without a copy where it is one.

    Packages such as polars and pyarrow offer ``to_pandas``, Arrow's stream (``__arrow_c_stream__``)
    or the dataframe interchange protocol (``__dataframe__``).

    Raises:
        InputError: It is no table, or pyarrow is missing that reads it.
    """
    if isinstance(table, pd.DataFrame):
        return table
    try:
        if hasattr(table, "to_pandas"):
            return pd.DataFrame(table.to_pandas())
    except ImportError:
        raise InputError(
            "frame",
            expected="the package pyarrow, to read a table that is not pandas'",
            got="none installed",
            remedy="pip install pyarrow",
        ) from None
    if hasattr(table, "__arrow_c_stream__"):
        return import_package("pyarrow", what="frame").table(table).to_pandas()
    if hasattr(table, "__dataframe__"):
        return pd.api.interchange.from_dataframe(table)
    lazy = ", after collect()" if hasattr(table, "collect") else ""
    raise InputError(
        "frame",
        expected="a table of pandas, polars or pyarrow",
        got=type(table).__name__,
        remedy=f"pass one{lazy}",
    )


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
