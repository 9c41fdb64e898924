"""The timestamps of a series: where in their periods they lie, and in which time zone.

A period is a span of time, such as a month; a row is a moment of it: its beginning, its end, the
15th, the last business day, the third Friday, half past. A forecast continues a series with its own
kind of moments.
"""

from dataclasses import astuple, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paratime.forecast.data.calendar import base_frequency, quiet_periods

Ints = NDArray[np.int64]
Days = NDArray[np.datetime64]

SECOND = 10**9
DAY = 86_400 * SECOND
NEVER = np.iinfo(np.int64).min

ALIGNMENTS: tuple[dict[str, bool], ...] = (
    *({}, {"from_end": True}),
    *({"business": True}, {"from_end": True, "business": True}),
    *({"weekday": True}, {"from_end": True, "weekday": True}),
)
"""Ways of measuring the distance of a moment, as arguments of ``Stamps``."""

SUMMER_TIMES = (
    *(f"Europe/{city}" for city in ("Berlin", "London", "Athens", "Chisinau")),
    *(f"America/{city}" for city in ("New_York", "Chicago", "Denver", "Los_Angeles")),
    *(f"America/{city}" for city in ("Halifax", "St_Johns", "Anchorage", "Santiago", "Havana")),
    *(f"Australia/{city}" for city in ("Sydney", "Adelaide", "Lord_Howe")),
    *("Pacific/Auckland", "Pacific/Chatham", "Africa/Cairo", "Asia/Jerusalem", "Asia/Beirut"),
)
"""A zone of each rule of summer time."""


@dataclass(frozen=True)
class Stamps:
    """Timestamps of the steps of a series; by default, the beginnings of periods without a zone.

    Attributes:
        distance: From the beginning of a period, or from its end, in nanoseconds.
        from_end: Whether the distance is from the end of a period.
        business: Whether the days of the distance are business days.
        zone: Time zone, None for none.
        local: Whether periods follow the clock of the zone, not UTC.
        counted: Whether timestamps are the numbers of steps, which count as seconds from 1970.
        weekday: Whether the distance is a day of the week, from Monday, plus the weeks between the
            first (or last) such day of the period and that of the moment.
    """

    distance: int = 0
    from_end: bool = False
    business: bool = False
    zone: str | None = None
    local: bool = False
    counted: bool = False
    weekday: bool = False

    @classmethod
    def of(cls, time: pd.Timestamp, freq: str) -> tuple[pd.Period, Self]:
        """Return the period of the only known timestamp of a series, and how it is stamped.

        A time with a zone counts in UTC; if periods are days or longer, in its own.
        """
        zone, local = None, False
        if time.tzinfo is not None:
            zone, local = zone_name(time.tzinfo, time.utcoffset()), in_days(freq)
            time = (time if local else time.tz_convert("UTC")).tz_localize(None)
        index = pd.DatetimeIndex([time]).as_unit("ns")
        distances = alignments(index, freq)
        (chosen,) = choose_alignments(distances, distances != NEVER)
        with quiet_periods():
            period = index.to_period(freq)[0]
        distance = int(distances[chosen, 0])
        return period, cls(distance, zone=zone, local=local, **ALIGNMENTS[chosen])

    def times(self, periods: pd.PeriodIndex) -> pd.DatetimeIndex | pd.Index:
        """Return the timestamps of periods."""
        time = self._unzoned(periods)
        if self.counted:
            return pd.Index(time.asi8 // SECOND)
        if self.zone is None:
            return time
        if not self.local:
            return time.tz_localize("UTC").tz_convert(self.zone)
        first = np.ones(len(time), dtype=bool)  # of two hours of the same name
        return time.tz_localize(self.zone, ambiguous=first, nonexistent="shift_forward")

    def find(self, time: pd.Timestamp, freq: str) -> pd.Period | None:
        """Return the period that has a timestamp, None if none has."""
        readings = [time]
        if time.tzinfo is not None:
            readings = [time.tz_convert("UTC").tz_localize(None)]
            if self.local:  # the second, since an offset may be that of another season
                readings = [time.tz_convert(self.zone).tz_localize(None), time.tz_localize(None)]
        for reading in readings:
            with quiet_periods():
                periods = pd.DatetimeIndex([reading]).to_period(freq)
            if self._unzoned(periods)[0] == reading:
                return periods[0]
        return None

    def plain(self) -> tuple[Any, ...]:
        """Return the arguments that make it."""
        return astuple(self)

    def _unzoned(self, periods: pd.PeriodIndex) -> pd.DatetimeIndex:
        begin, end = edges(periods)
        days, rest = divmod(self.distance, DAY)
        if self.weekday:
            return _at(self._weekdays(_days(begin), _days(end), days), rest)
        if self.business and self.from_end:
            days = -(-self.distance // DAY)
            day = np.busday_offset(_days(end), -days, roll="forward")
            return _at(day, days * DAY - self.distance)
        if self.business:
            return _at(np.busday_offset(_days(begin), days, roll="forward"), rest)
        if self.from_end:
            return end - pd.Timedelta(self.distance, "ns")
        time = begin + pd.Timedelta(self.distance, "ns")
        # The 30th of February is its last day.
        if self.distance < 31 * DAY and in_months(periods.freqstr):
            end = pd.DatetimeIndex(np.minimum(end, begin + pd.offsets.MonthBegin(1)))
        return pd.DatetimeIndex(np.where(time < end, time, end - pd.Timedelta(DAY - rest, "ns")))

    def _weekdays(self, first: Days, end: Days, days: int) -> Days:
        """Return a day of the week in periods from a day up to another one."""
        week = np.timedelta64(7, "D")
        weeks, day = divmod(days, 7)
        if self.from_end:
            return end - 1 - (_weekday(end - 1) - day) % 7 - weeks * week
        found = first + (day - _weekday(first)) % 7 + weeks * week
        return np.where(found < end, found, found - week)  # the fifth, where a month has four


STARTS = Stamps()


def alignments(time: pd.DatetimeIndex, freq: str) -> Ints:
    """Return the distances of timestamps from the edges of their periods, (alignments, N).

    In months, quarters and years they are those of ``ALIGNMENTS``, ``NEVER`` for a business day on
    a weekend; in shorter periods, the distance from the beginning is enough.
    """
    with quiet_periods():
        periods = time.to_period(base_frequency(freq)[1])
        begin, end = edges(periods)
    distances = [time.asi8 - begin.asi8]
    if not in_months(freq):
        return np.stack(distances)
    first, day, last = _days(begin), _days(time), _days(end)
    distances.append(end.asi8 - time.asi8)
    distances.append(np.busday_count(first, day) * DAY + time.asi8 % DAY)
    distances.append(np.busday_count(day, last) * DAY - time.asi8 % DAY)
    weekday = _weekday(day) * DAY + time.asi8 % DAY
    distances.append((day - first).astype(np.int64) // 7 * 7 * DAY + weekday)
    distances.append((last - 1 - day).astype(np.int64) // 7 * 7 * DAY + weekday)
    found = np.stack(distances)
    found[2:4, time.dayofweek.to_numpy() >= 5] = NEVER
    return found


def in_longest_month(distances: Ints, time: pd.DatetimeIndex, begin: Ints) -> Ints:
    """Return distances where the last day of a short month counts as the day of longer ones.

    Such a day stands for the 29th, 30th or 31st in a series of them.

    Args:
        distances: From the beginning of months, quarters or years, (N,).
        time: The rows of S series, end to end.
        begin: First row of each series, (S,).
    """
    lengths = np.diff(begin, append=len(time))
    longest = np.repeat(np.maximum.reduceat(distances, begin), lengths)
    same_time = (longest - distances) % DAY == 0
    short = time.is_month_end & (time.day < longest // DAY + 1) & (longest < 31 * DAY)
    return np.where(short & same_time & (distances < 31 * DAY), longest, distances)


def choose_alignments(distances: Ints, fits: NDArray[np.bool_]) -> Ints:
    """Return the alignment of each series, (S,), among those that fit it.

    A month has a first or last day, or business day, more often than a 31st or a 22nd business day.
    Where a short series fits several of these, it is like most of the others; likewise elsewhere.

    Args:
        distances: Distances of S series, (alignments, S).
        fits: Whether all rows of a series have that distance, (alignments, S).
    """
    low = np.array([0, 1, 0, 1, NEVER, NEVER])[: len(distances), None]
    usual = (distances >= low) & (distances < DAY + low)
    order, alike = np.arange(len(distances))[:, None], fits.sum(axis=1, keepdims=True)
    score = (10 * len(distances) * fits.shape[1] * usual + len(distances)) * (1 + alike) - order
    return np.where(fits, score, -1).argmax(axis=0)


def edges(periods: pd.PeriodIndex) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Return the beginnings of periods and of those after them; of a multiple, of its first."""
    with quiet_periods():
        base = base_frequency(periods.freqstr)[1]
        single = pd.PeriodIndex.from_ordinals(periods.asi8, freq=base)
        return single.start_time, (single + 1).start_time


def in_days(freq: str) -> bool:
    """Return whether periods are days, or longer."""
    return base_frequency(freq)[1][0] in "DBWMQY"


def guess_zone(utc: pd.DatetimeIndex, local: pd.DatetimeIndex) -> str:
    """Return the zone of timestamps by their offsets.

    If these change, it is one of ``SUMMER_TIMES`` that has all of them, else the last offset.
    """
    offsets = local.asi8 - utc.asi8
    if (offsets != offsets[-1]).any():
        known = utc.tz_localize("UTC")
        for zone in SUMMER_TIMES:
            if known.tz_convert(zone).tz_localize(None).equals(local):
                return zone
    return offset_name(pd.Timedelta(offsets[-1], "ns"))


def zone_name(zone: Any, offset: Any) -> str:
    """Return the name of a time zone, or else its offset from UTC."""
    name = str(zone)
    if zone.utcoffset(None) is None:
        try:
            pd.Timestamp(0, tz=name)
            return name
        except (KeyError, ValueError, OSError):
            pass
    return offset_name(pd.Timedelta(offset))


def offset_name(offset: pd.Timedelta) -> str:
    """Return the name of the zone with a fixed offset."""
    minutes = round(offset.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}" if minutes else "UTC"


def in_months(freq: str) -> bool:
    """Return whether periods are months, or longer."""
    return base_frequency(freq)[1][0] in "MQY"


def _days(time: pd.DatetimeIndex) -> Days:
    return time.to_numpy().astype("datetime64[D]")


def _weekday(day: Days) -> Ints:
    """Return days of the week, 0 for Monday; 1970 began with a Thursday."""
    return (day.astype(np.int64) + 3) % 7


def _at(day: Days, rest: int) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(day.astype("datetime64[ns]")) + pd.Timedelta(rest, "ns")
