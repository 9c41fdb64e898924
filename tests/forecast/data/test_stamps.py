"""The timestamps of forecasts are those that the table has later."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.table import Table, read_table
from paratime.forecast.data.stamps import Stamps
from paratime.forecast.streaming.clock import Clock

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "MAR", "JUN", "NOV", "DEC")
SHORT = ("10us", "ms", "250ms", "s", "10s", "min", "5min", "15min", "90min", "h", "2h", "6h")
DAYS = ("D", "2D", "10D", "B", "2B", *(f"{n}W-{day}" for n in ("", 2, 4) for day in WEEKDAYS))
CALENDAR = (
    *(f"{n}{m}" for n in ("", 2) for m in ("MS", "ME", "BMS", "BME")),
    *(f"{q}-{m}" for q in ("QS", "QE", "BQS", "BQE") for m in MONTHS),
    *(f"{y}-{m}" for y in ("YS", "YE", "BYS", "BYE") for m in MONTHS),
    *("2YS", "WOM-1MON", "WOM-3FRI", "WOM-4SUN", "2WOM-2TUE"),
)
ZONES = (None, "UTC", "+05:30", "-03:30", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
LATER = 9


def read_back(time, form, folder):
    """Return the series of a table in memory, in Parquet or in CSV."""
    frame = pd.DataFrame({"item_id": "a", "timestamp": time, "target": 1.0})
    if form == "memory":
        return read_table(frame)
    path = folder / f"data.{form}"
    frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)
    return Table(str(path)).read()


def following(data, count=LATER):
    """Return the timestamps after the end of a series."""
    entry = data.entries[0]
    with quiet_periods():
        first = entry["start"] + entry["target"].shape[-1]
        return entry["stamps"].times(pd.period_range(first, periods=count, freq=data.freq))


def continues(time, data):
    """Check that forecasts join the last rows of a table, and that a stream accepts these."""
    later = time[-LATER:]
    found = following(data)
    assert found.tolist() == later.tolist(), data.entries[0]["stamps"]
    assert (found.tz is None) == (later.tz is None)
    clock, stamps = Clock(data.freq), data.entries[0]["stamps"]
    steps = [clock.ordinal(t, "x", stamps) for t in later]
    assert np.diff(steps).tolist() == [clock.stride] * (LATER - 1)


@dataclass(frozen=True)
class Rows:
    """Timestamps without gaps, and which of the first ones are missing."""

    time: pd.DatetimeIndex
    gaps: tuple[int, ...]

    @property
    def known(self):
        return self.time[:-LATER].delete(list(self.gaps))


@st.composite
def regular(draw):
    """Return rows of any frequency, offset and zone, some of them missing."""
    freq = draw(st.sampled_from(SHORT) | st.sampled_from(DAYS) | st.sampled_from(CALENDAR))
    start = draw(st.datetimes(pd.Timestamp("1975-01-01"), pd.Timestamp("2037-12-31")))
    steps = draw(st.integers(36, 60))
    zone = draw(st.sampled_from(ZONES))
    if freq in SHORT:
        base = pd.Timestamp(start).floor("D")
        offset = pd.Timedelta(draw(st.integers(0, 59)), "s" if freq in ("min", "h") else "ms")
        time = pd.date_range(base, periods=steps, freq=freq) + offset
        time = time if zone is None else time.tz_localize("UTC").tz_convert(zone)
    else:
        hours = draw(st.sampled_from((0, 0, 4, 7, 17, 23)))
        minutes = draw(st.sampled_from((0, 30, 59)))
        offset = pd.Timedelta(hours=hours, minutes=minutes * bool(hours))
        if freq in ("MS", "QS-MAR", "YS-JUN"):
            offset += pd.Timedelta(days=draw(st.integers(0, 27)))
        time = pd.date_range(pd.Timestamp(start).floor("D"), periods=steps, freq=freq) + offset
        time = time if zone is None else time.tz_localize(zone)
    seen = steps - LATER
    gaps = draw(st.sets(st.integers(3, seen - 4), max_size=5)) if steps > 20 else ()
    return Rows(time, tuple(sorted(gaps)))


@settings(deadline=None, max_examples=120, derandomize=True)
@given(rows=regular())
def test_forecasts_have_the_timestamps_of_the_rows_that_come_later(rows):
    continues(rows.time, read_back(rows.known, "memory", None))


@pytest.mark.parametrize("months", (1, 2, 3, 12))
@pytest.mark.parametrize("zone", (None, "America/New_York"))
@pytest.mark.parametrize("week", (*range(4), -1))
def test_days_of_the_weeks_of_a_month(week, zone, months):
    offset = pd.offsets.LastWeekOfMonth(weekday=4)
    if week >= 0:
        offset = pd.offsets.WeekOfMonth(week=week, weekday=4)
    time = pd.date_range("2001-01-01 09:30", periods=40 * months, freq=offset, tz=zone)[::months]
    continues(time, read_back(time[:-LATER].delete([5, 6]), "memory", None))


@pytest.mark.parametrize("clock", ("00:00", "07:30"))
@pytest.mark.parametrize("begin", ("2020-01", "2021-02", "2022-03"))
@pytest.mark.parametrize("months", (1, 2, 3, 6, 12))
@pytest.mark.parametrize("day", (28, 29, 30, 31))
def test_a_day_that_short_months_lack_is_their_last_one(day, months, begin, clock):
    first = pd.period_range(begin, periods=30 + LATER, freq=f"{months}M")
    days = np.minimum(day, first.asfreq("M").days_in_month)
    time = (
        first.asfreq("M").start_time + pd.to_timedelta(days - 1, "D") + pd.Timedelta(f"{clock}:00")
    )
    continues(time, read_back(time[:-LATER].delete([5, 6]), "memory", None))


@pytest.mark.parametrize("form", ("csv", "parquet"))
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq", ("15min", "h", "D", "W-MON", "ME"))
def test_zones_survive_files(form, zone, freq, tmp_path):
    time = pd.date_range("2024-03-25", periods=60, freq=freq, tz=zone)
    data = read_back(time[:-LATER], form, tmp_path)
    if form == "csv" and freq == "ME" and zone == "America/New_York":
        assert data.entries[0]["stamps"].zone == zone  # its offsets are those of no other rule
    continues(time, data)


@pytest.mark.parametrize("begin", ("2024-03-30", "2024-10-26"), ids=("spring", "autumn"))
@pytest.mark.parametrize("steps", range(20, 60, 3))
def test_hours_of_a_zone_whose_clock_changes(begin, steps):
    time = pd.date_range(begin, periods=steps + LATER, freq="h", tz="Europe/Berlin")
    continues(time, read_back(time[:-LATER], "memory", None))


@pytest.mark.parametrize(
    ("rows", "later"),
    {
        ("2024-05-06", "2024-05-13"): ("2024-05-20", "2024-05-27"),
        ("2024-01-31", "2024-02-29"): ("2024-03-31", "2024-04-30"),
        ("2024-07-31", "2024-08-31"): ("2024-09-30", "2024-10-31"),
        ("2024-01-15", "2024-02-15"): ("2024-03-15", "2024-04-15"),
        ("2024-05-01 07:00", "2024-05-02 07:00"): ("2024-05-03 07:00", "2024-05-04 07:00"),
        ("2024-05-01 07:30", "2024-05-01 08:30"): ("2024-05-01 09:30", "2024-05-01 10:30"),
        ("2024-05-01 07:00+05:30", "2024-05-01 08:00+05:30"): (
            "2024-05-01 09:00+05:30",
            "2024-05-01 10:00+05:30",
        ),
        ("2024-05-31", "2024-06-28", "2024-07-31"): ("2024-08-30", "2024-09-30"),
    }.items(),
    ids=str,
)
def test_few_rows_are_enough(rows, later):
    data = read_table(pd.DataFrame({"timestamp": rows, "target": 1.0}), item_id=None)
    assert following(data, 2).tolist() == [*map(pd.Timestamp, later)]


def test_a_short_series_is_stamped_like_the_others():
    long = pd.date_range("2023-01-01", periods=17, freq="BME")
    frame = pd.DataFrame({"item_id": "a", "timestamp": long, "target": 1.0})
    short = pd.DataFrame({"item_id": ["b"], "timestamp": [long[-1]], "target": 1.0})
    assert long[-1].is_month_end
    stamps = [e["stamps"] for e in read_table(pd.concat([frame, short])).entries]
    assert stamps[0] == stamps[1] and stamps[0].business
    fridays = pd.date_range("2023-01-01", periods=17, freq="WOM-3FRI")
    both = [frame.assign(timestamp=fridays), short.assign(timestamp=fridays[-1])]
    stamps = [e["stamps"] for e in read_table(pd.concat(both)).entries]
    assert stamps[0] == stamps[1] and stamps[0].weekday


@pytest.mark.parametrize(
    ("start", "freq", "second"),
    (
        ("2024-01-31", "M", "2024-02-29"),
        ("2024-01-15", "M", "2024-02-15"),
        ("2024-05-13", "W-MON", "2024-05-20"),
        ("2024-05-13 07:00", "D", "2024-05-14 07:00"),
        ("2024-05-13T00:00+05:30", "D", "2024-05-14T00:00+05:30"),
        ("2024-05-13T00:00+05:30", "h", "2024-05-13T01:00+05:30"),
    ),
)
def test_an_entry_is_stamped_like_its_start(start, freq, second):
    data = from_gluonts([{"start": start, "target": [1.0]}], freq)
    assert following(data, 1).tolist() == [pd.Timestamp(second)]


@pytest.mark.parametrize("form", ("memory", "csv", "parquet"))
@pytest.mark.parametrize(
    ("first", "step"), ((0, 1), (-5, 1), (1, 1), (1690, 1), (7, 5), (1000, 3600), (0, 7)), ids=str
)
def test_numbers_of_steps_continue(form, first, step, tmp_path):
    time = np.arange(first, first + 900 * step, step)
    data = read_back(np.delete(time[:-LATER], [5, 6]), form, tmp_path)
    assert not data.dated and data.seasonality == 1
    assert data.entries[0]["target"].size == len(time) - LATER
    assert following(data).tolist() == time[-LATER:].tolist()
    clock, stamps = Clock(data.freq), data.entries[0]["stamps"]
    steps = [clock.ordinal(t, "x", stamps) for t in time[-LATER:]]
    assert np.diff(steps).tolist() == [clock.stride] * (LATER - 1)


def test_years_and_digits_are_dates():
    for time, freq in ((np.arange(1990, 2020), "Y-DEC"), (np.arange(20240101, 20240120), "D")):
        data = read_back(time, "memory", None)
        assert data.freq == freq and data.dated


def test_by_default_timestamps_are_the_beginnings_of_periods():
    periods = pd.period_range("2024-01", periods=3, freq="M")
    assert Stamps().times(periods).equals(periods.start_time)
