"""Timestamps to steps, and calendars in blocks."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch
from forecast.tables import SEASONS, refused

from paratime.forecast.data.calendar import calendar, quiet_periods
from paratime.forecast.streaming.clock import BLOCK, LONGEST_GAP, Clock

FREQUENCIES = (*SEASONS, "s", "2D", "W-WED", "2M", "Q-MAR", "2Y-JUN")
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("freq", FREQUENCIES)
@pytest.mark.parametrize("start", ("2024-02-27", "1969-12-30", "2100-02-27"))
def test_the_calendar_in_blocks_is_the_calendar(freq, start):
    clock = Clock(freq)
    with quiet_periods():
        first = pd.Period(start, freq=freq)
    whole = torch.from_numpy(calendar(first, 2 * BLOCK + 7))
    for begin, count in ((0, 1), (3, 60), (BLOCK - 5, 10), (1, 2 * BLOCK), (5, BLOCK)):
        found = clock.calendar(first.ordinal + begin * clock.stride, count)
        assert torch.equal(found, whole[begin : begin + count])
    rows = [clock.calendar(first.ordinal + k * clock.stride, 1) for k in range(BLOCK + 3)]
    assert torch.equal(torch.cat(rows), whole[: BLOCK + 3])


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_steps_are_those_of_pandas(freq):
    clock = Clock(freq)
    with quiet_periods():
        periods = pd.period_range("1999-12-20", periods=130, freq=freq)
        starts = periods.start_time
    ordinals = [clock.ordinal(time, "timestamp") for time in starts]
    assert ordinals == periods.asi8.tolist()
    assert [clock.ordinal(p, "timestamp") for p in periods] == ordinals
    assert [clock.ordinal(str(t), "timestamp") for t in starts] == ordinals
    zoned = starts.tz_localize("UTC")
    assert [clock.ordinal(t.to_pydatetime(), "timestamp") for t in zoned] == ordinals
    assert {clock.steps(*pair, "timestamp") for pair in pairwise(ordinals)} == {1}
    assert clock.steps(ordinals[3], ordinals[0], "timestamp") == -3
    assert clock.period(ordinals[-1]) == periods[-1]


@pytest.mark.parametrize(
    ("freq", "days"),
    {
        "D": ("2024-02-29",),
        "B": ("2024-03-01",),
        "W-SUN": ("2024-02-26", "2024-03-03"),
        "W-WED": ("2024-02-29", "2024-03-06"),
        "M": ("2024-06-01", "2024-06-03", "2024-06-28", "2024-06-30"),
        "Q-DEC": ("2023-10-01", "2023-10-02", "2023-12-29", "2023-12-31"),
        "Y-JUN": ("2023-07-01", "2023-07-03", "2024-06-28", "2024-06-30"),
    }.items(),
)
def test_days_that_stand_for_longer_steps(freq, days):
    clock = Clock(freq)
    with quiet_periods():
        step = pd.Period(days[0], freq=freq).ordinal
    for day in days:
        for form in (day, date.fromisoformat(day), np.datetime64(day)):
            assert clock.ordinal(form, "timestamp") == step


OFF = {
    "min": ("2024-03-01 00:00:30", "2024-03-01"),
    "h": ("2024-03-01 10:00:00.5", "2024-03-01 10:00:00"),
    "D": ("2024-03-01 05:00", "2024-03-01"),
    "B": ("2024-03-02", "2024-03-04"),
    "W-SUN": ("2024-03-02", "2024-02-26"),
    "M": ("2024-06-15", "2024-06-01"),
    "Q-DEC": ("2024-05-31", "2024-04-01"),
    "Y-DEC": ("2024-06-15", "2024-01-01"),
}


@pytest.mark.parametrize("freq", OFF)
def test_times_between_steps(freq):
    time, nearest = OFF[freq]
    pattern = rf"timestamp: expected steps of {freq}, got {time}.*; give .* such as {nearest}$"
    refused(pattern, lambda: Clock(freq).ordinal(time, "timestamp"))


def test_multiples_go_on_from_where_a_series_began():
    clock = Clock("2h")
    began, odd, on = (clock.ordinal(f"2024-03-01 {h}:00", "x") for h in ("01", "06", "07"))
    assert clock.steps(began, on, "x") == 3
    refused(
        r"x: expected steps of 2h, got 2024-03-01 06:00:00; .* such as 2024-03-01 05:00:00",
        lambda: clock.steps(began, odd, "x"),
    )
    assert clock.steps(began, began + 2 * clock.longest_gap, "x") == clock.longest_gap
    refused(
        r"x: expected at most", lambda: clock.steps(began, began + 2 * clock.longest_gap + 2, "x")
    )


@pytest.mark.parametrize("day", ("2024-03-31", "2024-10-27"), ids=("spring", "autumn"))
def test_summer_time_neither_skips_nor_repeats_a_step(day):
    hours, days = Clock("h"), Clock("D")
    begin = datetime.fromisoformat(day).replace(tzinfo=BERLIN).astimezone(UTC)
    local = [(begin + timedelta(hours=h)).astimezone(BERLIN) for h in range(30)]
    steps = [hours.ordinal(time, "timestamp") for time in local]
    assert np.diff(steps).tolist() == [1] * 29
    assert steps[0] == hours.ordinal(begin.replace(tzinfo=None), "timestamp")
    dates = [datetime.fromisoformat(day).replace(tzinfo=BERLIN) + timedelta(days=d) for d in (0, 1)]
    for time in dates:
        assert days.ordinal(time, "x") == days.ordinal(time.date(), "x")
        assert days.ordinal(str(time), "x") == days.ordinal(time.date(), "x")


@pytest.mark.parametrize(
    "time", ("soon", "", None, 20240301, pd.NaT, "9999999-01-01", float("nan"))
)
def test_no_dates(time):
    for freq in ("h", "M"):
        refused(
            r"x: expected a date, got .*; write 2024",
            lambda freq=freq: Clock(freq).ordinal(time, "x"),
        )


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_a_mistyped_year_is_too_far(freq):
    clock = Clock(freq)
    assert 100 <= clock.longest_gap <= LONGEST_GAP
    with quiet_periods():
        last, wrong = (pd.Period(f"{year}-03-04", freq).ordinal for year in (1700, 2200))
    wrong -= (wrong - last) % clock.stride
    refused(
        r"x: expected at most .* after the last, got (2|1999)",
        lambda: clock.steps(last, wrong, "x"),
    )
