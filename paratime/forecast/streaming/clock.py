"""The steps of a stream: from timestamps to steps, and their calendar features.

A step is the ordinal of its period. Calendars are computed in blocks and cached, since one row
costs pandas as much as a few hundred.
"""

from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.data.calendar import base_frequency, calendar, quiet_periods
from paratime.forecast.data.frequency import period_frequency
from paratime.forecast.data.rows import format_time
from paratime.forecast.data.stamps import DAY, SECOND, STARTS, Stamps

BLOCK = 512
"""Steps whose calendar is computed at a time."""

BLOCKS = 256
"""Blocks in the cache."""

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": SECOND, "min": 60 * SECOND, "h": 3600 * SECOND}
UNITS |= {"D": DAY}
"""Nanoseconds between ordinals, of frequencies with equal steps."""

LONGEST_GAP = 100_000
"""Most steps between two observations; beyond, the date is probably wrong."""

YEARS = 10
"""Most years between two observations, unless they are fewer than a hundred steps."""


class Clock:
    """Timestamps, steps and calendars of one frequency.

    Args:
        freq: Frequency of the periods.
    """

    def __init__(self, freq: str) -> None:
        self.freq = period_frequency(freq)
        self.stride = int(self.period(0).freq.n)
        """Ordinals between neighbouring steps, such as 15 for ``15min``."""
        self._code = base_frequency(self.freq)[1]
        self.longest_gap = min(LONGEST_GAP, max(100, self._years(YEARS)))
        """Most steps between two observations of a series."""
        self._unit = UNITS.get(self._code)
        self._block = lru_cache(BLOCKS)(self._compute)

    def period(self, ordinal: int) -> pd.Period:
        """Return a step as a period."""
        with quiet_periods():
            return pd.Period(ordinal=ordinal, freq=self.freq)

    def shown(self, ordinal: int) -> str:
        """Return the beginning of a step as text."""
        with quiet_periods():
            return format_time(self.period(ordinal).start_time)

    def ordinal(self, timestamp: Any, label: str, stamps: Stamps = STARTS) -> int:
        """Return the step of a timestamp.

        Periods have no time zone: a timestamp with one is converted to UTC, but if steps are days
        or longer, a midnight is a date and stays the same.

        Args:
            timestamp: A period of this frequency; or a date, as text or otherwise, that is the
                beginning of a period, or its last day, or its first or last business day.
            label: Its name in messages.
            stamps: The series' own timestamps, which are allowed, too.

        Raises:
            InputError: It is not a date, or off the grid.
        """
        if isinstance(timestamp, pd.Period):
            return self._own(timestamp, label)
        try:
            if stamps.counted and isinstance(timestamp, int | np.integer):
                timestamp = pd.Timestamp(int(timestamp), unit="s")
            if not isinstance(timestamp, str | date | np.datetime64):
                raise ValueError(timestamp)
            given = pd.Timestamp(timestamp)
            if stamps != STARTS and (own := stamps.find(given, self.freq)) is not None:
                return int(own.ordinal)
            time = self._without_zone(given)
            if self._unit:  # as pandas does below, in a tenth of the time
                ordinal, rest = divmod(time.value, self._unit)
                if not rest:
                    return ordinal
            with quiet_periods():
                period = time.to_period(self.freq)
                begin, end = period.start_time, period.end_time
        except (ValueError, AttributeError, TypeError, OverflowError):  # NaT has no period
            raise InputError(
                label, expected="a date", got=repr(timestamp), remedy="write 2024-03-31 13:30"
            ) from None
        if time != begin and not self._ends(time, begin, end.normalize()):
            nearest = f"give the beginning of a step, such as {format_time(begin)}"
            raise InputError(label, f"steps of {self.freq}", format_time(time), nearest)
        return int(period.ordinal)

    def steps(self, last: int, ordinal: int, label: str) -> int:
        """Return the number of steps from one ordinal to a later one.

        Raises:
            InputError: It lies between two steps, or too far ahead to be plausible.
        """
        steps, rest = divmod(ordinal - last, self.stride)
        if rest:
            nearest = f"give the beginning of a step, such as {self.shown(ordinal - rest)}"
            raise InputError(label, f"steps of {self.freq}", self.shown(ordinal), nearest)
        if steps > self.longest_gap:
            limit, found = f"at most {self.longest_gap} steps after the last", self.shown(ordinal)
            raise InputError(label, limit, found, "check the date, or begin a new series")
        return steps

    def calendar(self, ordinal: int, count: int) -> Tensor:
        """Return the calendar (count, features) of steps from an ordinal on."""
        step, phase = divmod(ordinal, self.stride)
        block, begin = divmod(step, BLOCK)
        if begin + count <= BLOCK:
            return self._block(phase, block)[begin : begin + count]
        blocks = range(block, (step + count - 1) // BLOCK + 1)
        return torch.cat([self._block(phase, b) for b in blocks])[begin : begin + count]

    def _compute(self, phase: int, block: int) -> Tensor:
        first = self.period(phase + self.stride * BLOCK * block)
        return torch.from_numpy(calendar(first, BLOCK))

    def _years(self, years: int) -> int:
        """Return the steps in some years."""
        with quiet_periods():
            begin, end = (pd.Period(f"{y}-06-01", self.freq) for y in (2000, 2000 + years))
        return (end.ordinal - begin.ordinal) // self.stride

    def _own(self, period: pd.Period, label: str) -> int:
        freq = period_frequency(period.freqstr)
        if freq != self.freq:
            raise InputError(label, f"periods of {self.freq}", freq, f"use asfreq({self.freq!r})")
        return int(period.ordinal)

    def _without_zone(self, time: pd.Timestamp) -> pd.Timestamp:
        if time.tzinfo is None:
            return time
        local = time.tz_localize(None)
        is_date = self._code[0] in "DBWMQY" and local == local.normalize()
        return local if is_date else time.tz_convert("UTC").tz_localize(None)

    def _ends(self, time: pd.Timestamp, begin: pd.Timestamp, last: pd.Timestamp) -> bool:
        """Return whether a time is a period's last day, or its first or last business day."""
        if time != time.normalize():
            return False
        if self._code[0] not in "MQY" or time == last:
            return bool(time == last)
        first, day, end = (t.to_datetime64().astype("datetime64[D]") for t in (begin, time, last))
        return not (np.busday_count(first, day) and np.busday_count(day + 1, end + 1))
