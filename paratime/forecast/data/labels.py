"""The text of names, labels and counts; of a value, the same however a file stores it."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from paratime.errors import abridged

LONGEST = 60
"""Characters of a name in a message."""

WHOLE = re.compile(r"[+-]?\d+\.0*")
"""A whole number that a column of floats wrote."""

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character, which no file can hold."""


def label_text(value: Any) -> str:
    """Return a name or label as text, empty if it is missing.

    Blanks around it do not count. A whole number has no decimals, in text as well, so that 1 is the
    same label in CSV and in Parquet; so are ``true`` and ``True``. Text such as ``007`` stays.
    """
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return _plain(value)
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return ""
    if isinstance(value, date | np.datetime64):
        return str(pd.Timestamp(value)).removesuffix(" 00:00:00")
    if isinstance(value, float | np.floating) and value == value // 1:
        return str(int(value))
    return _plain(str(value))


def amount(number: int, unit: str) -> str:
    """Return a number with its unit, in the plural unless it is one."""
    return f"{number:,} {unit if number == 1 else unit + 's'}"


def score(value: float) -> str:
    """Return a score with four decimals, or with three digits if it is small."""
    return f"{value:#.3g}" if 0 < abs(value) < 0.01 else f"{value:.4f}"


def shorten(names: Sequence[str]) -> str:
    """Return the first names, for messages."""
    return ", ".join(
        [*(abridged(name, LONGEST) for name in names[:3]), *["..."] * (len(names) > 3)]
    )


def _plain(text: str) -> str:
    text = _SURROGATE.sub("\ufffd", text.strip())
    if text.lower() in ("true", "false"):
        return text.capitalize()
    if WHOLE.fullmatch(text):
        text = text.partition(".")[0]
        return "0" if text.strip("+-0") == "" else text
    return text
