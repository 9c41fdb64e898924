"""The steps of a stream: which one a timestamp is, and what the calendar says of it.

A step is the ordinal of its period. Calendars are computed in blocks and kept, since one row of
them costs pandas as much as a few hundred.
"""

from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.data.calendar import calendar, quiet
from paratime.forecast.data.frequency import DAY, period_frequency
from paratime.forecast.data.sources.rows import shown

BLOCK = 512
"""Steps whose calendar is computed at a time."""

BLOCKS = 256
"""Blocks that are kept."""

UNITS = {"s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "D": DAY}
"""Nanoseconds between ordinals, where all are as far apart."""

LONGEST_GAP = 100_000
"""Steps between two observations beyond which a date is more likely wrong."""


class Clock:
    """Timestamps, steps and calendars of one frequency.

    Args:
        freq: Frequency of the periods.
    """

    def __init__(self, freq: str) -> None:
        self.freq = period_frequency(freq)
        self.stride = int(self.period(0).freq.n)
        """Ordinals between neighbouring steps, such as 15 for ``15min``."""
        self._code = self.freq.lstrip("0123456789")
        self._unit = UNITS.get(self._code)
        self._block = lru_cache(BLOCKS)(self._compute)

    def period(self, ordinal: int) -> pd.Period:
        """Return a step as a period."""
        with quiet():
            return pd.Period(ordinal=ordinal, freq=self.freq)

    def shown(self, ordinal: int) -> str:
        """Return where a step begins, as text."""
        with quiet():
            return shown(self.period(ordinal).start_time)

    def ordinal(self, timestamp: Any, label: str) -> int:
        """Return the step that a timestamp is.

        Periods have no time zone: a timestamp with one is converted to UTC, but the midnights of
        steps of a day or longer are dates, and stay the same.

        Args:
            timestamp: A period of this frequency; or a date, as text or otherwise, that is the
                beginning or the last day of one, or its first or last business day.
            label: What messages call it.

        Raises:
            InputError: It is no date, or off the grid.
        """
        if isinstance(timestamp, pd.Period):
            return self._own(timestamp, label)
        try:
            if not isinstance(timestamp, str | date | np.datetime64):
                raise ValueError(timestamp)
            time = self._without_zone(pd.Timestamp(timestamp))
            if self._unit:  # what pandas would do below, at a tenth of the time
                ordinal, rest = divmod(time.value, self._unit)
                if not rest:
                    return ordinal
            with quiet():
                period = time.to_period(self.freq)
                begin, end = period.start_time, period.end_time
        except (ValueError, AttributeError, TypeError, OverflowError):  # NaT has no period
            remedy = "write 2024-03-31 13:30"
            raise InputError(label, "a date", repr(timestamp), remedy) from None
        if time != begin and not self._ends(time, begin, end.normalize()):
            remedy = f"give the beginning of a step, such as {shown(begin)}"
            raise InputError(label, f"steps of {self.freq}", shown(time), remedy)
        return int(period.ordinal)

    def steps(self, last: int, ordinal: int, label: str) -> int:
        """Return how many steps an ordinal lies behind another one.

        Raises:
            InputError: It lies between two steps, or so far ahead that it is more likely wrong.
        """
        steps, rest = divmod(ordinal - last, self.stride)
        if rest:
            remedy = f"give the beginning of a step, such as {self.shown(ordinal - rest)}"
            raise InputError(label, f"steps of {self.freq}", self.shown(ordinal), remedy)
        if steps > LONGEST_GAP:
            got, expected = self.shown(ordinal), f"at most {LONGEST_GAP} steps behind the last"
            raise InputError(label, expected, got, "check the date, or begin a new series")
        return steps

    def calendar(self, ordinal: int, count: int) -> Tensor:
        """Return the calendar (count, features) of some steps, the first one given."""
        step, phase = divmod(ordinal, self.stride)
        block, begin = divmod(step, BLOCK)
        if begin + count <= BLOCK:
            return self._block(phase, block)[begin : begin + count]
        blocks = range(block, (step + count - 1) // BLOCK + 1)
        return torch.cat([self._block(phase, b) for b in blocks])[begin : begin + count]

    def _compute(self, phase: int, block: int) -> Tensor:
        first = self.period(phase + self.stride * BLOCK * block)
        return torch.from_numpy(calendar(first, BLOCK))

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
        """Return whether a time is the last day of a period, or its first or last business day."""
        if time != time.normalize():
            return False
        if self._code[0] not in "MQY" or time == last:
            return bool(time == last)
        first, day, end = (t.to_datetime64().astype("datetime64[D]") for t in (begin, time, last))
        return not (np.busday_count(first, day) and np.busday_count(day + 1, end + 1))
