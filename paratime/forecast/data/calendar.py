"""Calendar features of the steps of a series, and the season of a frequency."""

import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from gluonts.time_feature import (
    day_of_month_index,
    day_of_week_index,
    day_of_year_index,
    hour_of_day_index,
    minute_of_hour_index,
    month_of_year_index,
    second_of_minute_index,
    time_features_from_frequency_str,
    week_of_year_index,
)
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from paratime.errors import InputError

Index = Callable[[pd.PeriodIndex], NDArray[np.float64]]

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

PERIODS: dict[str, tuple[Index, int, int]] = {
    "second_of_minute": (second_of_minute_index, 60, 1),
    "minute_of_hour": (minute_of_hour_index, 60, 1),
    "hour_of_day": (hour_of_day_index, 24, 2),
    "day_of_week": (day_of_week_index, 7, 3),
    "day_of_month": (day_of_month_index, 31, 1),
    "day_of_year": (day_of_year_index, 366, 1),
    "week_of_year": (week_of_year_index, 53, 1),
    "month_of_year": (month_of_year_index, 12, 1),
}
"""The index, the steps of a cycle and its harmonics, by GluonTS's name of a feature."""

SEASONS = {"s": 3600, "min": 1440, "h": 24, "D": 7, "B": 5, "M": 12, "Q": 4}
"""Steps of a season by unit of time, as in GluonTS but for days, whose season is a week."""

BELOW_A_SECOND = ("ms", "us", "ns")
"""Units whose calendar is that of seconds."""

NUMBER_THEM = "number the steps 1, 2, 3, ... in the column of times"
"""What helps for every calendar."""

LONGEST_SEASON = 288
"""Longer cycles are left to the encoder's state and the calendar."""


def check_frequency(freq: str) -> str:
    """Return a frequency in pandas' spelling for periods, such as ``M`` or ``30min``.

    Raises:
        InputError: The frequency is unknown, or has no calendar features.
    """
    try:
        with quiet_periods():
            spelled = str(pd.Period("2000-01-01", freq=freq).freqstr)
            _names(spelled)
    except (ValueError, RuntimeError, AttributeError) as error:
        raise InputError(
            "freq",
            expected="steps of equal length, or business days, months, quarters or years",
            got=repr(freq),
            remedy=f"give a pandas frequency, such as h, D or M, or {NUMBER_THEM}",
        ) from error
    return spelled


def base_frequency(freq: str) -> tuple[int, str]:
    """Return the count and the unit of a frequency of periods."""
    base = freq.lstrip("0123456789")
    return int(freq.removesuffix(base) or 1), base


def gluonts_frequency(freq: str) -> str:
    """Return the frequency whose features GluonTS has: seconds for parts of a second."""
    return "s" if base_frequency(freq)[1] in BELOW_A_SECOND else freq


@cache
def period_frequency(freq: str) -> str:
    """Return a frequency in pandas' spelling for periods.

    Starts and ends name the same period (``MS`` and ``ME`` are ``M``), as does a day of a month's
    weeks (``WOM-3FRI``); a year of quarters that starts in October ends in September, and old
    spellings such as ``H`` are accepted.

    Raises:
        InputError: The frequency is unknown, or has no calendar features.
    """
    with quiet_periods():
        try:
            offset = to_offset(freq)
        except ValueError:
            return check_frequency(freq)
        code, _, anchor = offset.rule_code.partition("-")
        if code in ("WOM", "LWOM"):
            code, anchor = "ME", ""
        if calendar := re.fullmatch(r"B?([MQY])([SE])", code):
            if anchor and calendar[2] == "S":
                anchor = MONTHS[MONTHS.index(anchor) - 1]
            code = calendar[1]
        count = "" if offset.n == 1 else offset.n
        return check_frequency(f"{count}{code}-{anchor}".removesuffix("-"))


def season_length(freq: str) -> int:
    """Return the default season of a frequency in steps, 1 for none."""
    count, unit = base_frequency(period_frequency(freq))
    season, rest = divmod(SEASONS.get(unit.partition("-")[0], 1), count)
    return season if not rest and season <= LONGEST_SEASON else 1


def calendar_features(freq: str) -> int:
    """Return the number of features that ``calendar`` gives a step."""
    return sum(2 * PERIODS[name][2] for name in _names(freq))


def calendar(start: pd.Period, length: int) -> NDArray[np.float32]:
    """Return sine and cosine of each step's position in its cycles, (length, features)."""
    with quiet_periods():
        index = pd.period_range(start, periods=length, freq=start.freq)
    columns = [np.zeros((length, 0))]
    for name in _names(start.freqstr):
        position, steps, harmonics = PERIODS[name]
        angle = 2 * np.pi * np.asarray(position(index), dtype=np.float64) / steps
        for k in range(1, harmonics + 1):
            columns += [np.sin(k * angle)[:, None], np.cos(k * angle)[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def quiet_periods() -> AbstractContextManager[Any]:
    """Ignore pandas' deprecation warnings about business days and old spellings."""
    return warnings.catch_warnings(action="ignore", category=FutureWarning)


@cache
def _names(freq: str) -> tuple[str, ...]:
    with quiet_periods():
        features = time_features_from_frequency_str(gluonts_frequency(freq))
    return tuple(feature.__name__ for feature in features)
