"""Timestamps to steps."""

import numpy as np
import pandas as pd
import pytest
from forecast.tables import frame_of, refused
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from paratime.errors import InputError
from paratime.forecast.data.frequency import period_frequency
from paratime.forecast.data.sources.table import read_table

pytestmark = pytest.mark.filterwarnings(
    "ignore:Period(Dtype|).*deprecated:FutureWarning"  # of business days, by pandas
)

FREQUENCIES = {
    "us": "us",
    "ms": "ms",
    "100ms": "100ms",
    "250ms": "250ms",
    "1500ms": "1500ms",
    "s": "s",
    "min": "min",
    "5min": "5min",
    "15min": "15min",
    "30min": "30min",
    "90min": "90min",
    "h": "h",
    "6h": "6h",
    "D": "D",
    "10D": "10D",
    "2D": "2D",
    "B": "B",
    "2B": "2B",
    "W-SUN": "W-SUN",
    "W-MON": "W-MON",
    "2W-WED": "2W-WED",
    "4W-SUN": "4W-SUN",
    "MS": "M",
    "ME": "M",
    "BMS": "M",
    "BME": "M",
    "2MS": "2M",
    "WOM-3FRI": "M",
    "WOM-1MON": "M",
    "QS-OCT": "Q-DEC",
    "QE": "Q-DEC",
    "BQE": "Q-DEC",
    "QS-FEB": "Q-JAN",
    "QE-FEB": "Q-FEB",
    "YS": "Y-DEC",
    "YE": "Y-DEC",
    "YS-JUL": "Y-JUN",
    "BYE": "Y-DEC",
    "13W-SAT": "13W-SAT",
    "2YS": "2Y-DEC",
}
"""The frequency of rows, and that of the periods that they are."""


@pytest.mark.parametrize(("rows", "freq"), FREQUENCIES.items(), ids=FREQUENCIES)
@pytest.mark.parametrize("given", (False, True), ids=("found", "given"))
def test_rows_of_any_frequency_with_gaps(rows, freq, given):
    steps = 60
    time = pd.date_range("2023-12-01", periods=steps, freq=rows)
    random = np.random.default_rng(1)
    gaps = random.choice(np.arange(1, steps - 1), 15, replace=False)
    frame = pd.DataFrame({"item_id": "a", "timestamp": time, "target": np.arange(steps)})
    data = read_table(frame.drop(gaps), freq=rows if given else None)
    expected = np.arange(steps, dtype=np.float32)
    expected[gaps] = np.nan
    np.testing.assert_array_equal(data.entries[0]["target"], expected)
    assert data.freq == period_frequency(data.freq) == data.entries[0]["start"].freqstr
    assert data.freq == (period_frequency(rows) if given else freq)
    assert data.entries[0]["start"].start_time <= time[0] <= data.entries[0]["start"].end_time


CALENDARS = {"SME": 24, "SMS": 24, "SMS-20": 24, "SME-10": 24, "445": 12, "454": 12, "544": 12}
"""Steps that periods cannot be, and those of a year."""


@pytest.mark.parametrize("rows", CALENDARS)
def test_other_calendars_are_refused_with_a_remedy_that_works(rows):
    if rows.isdecimal():
        weeks = np.cumsum(np.tile([*map(int, rows)], 10))
        time = pd.Timestamp("2022-01-01") + pd.to_timedelta(7 * weeks, "D")
    else:
        time = pd.date_range("2022-01-03", periods=30, freq=rows)
    frame = pd.DataFrame({"timestamp": time, "target": np.arange(30.0)})
    season = CALENDARS[rows]
    pattern = rf"got (two rows a month|months of 4 and 5 weeks) .*number the steps.*{season} as sea"
    refused(pattern, lambda: read_table(frame))
    if not rows.isdecimal():
        refused("number the steps", lambda: read_table(frame, freq=rows))
    numbered = read_table(frame.assign(timestamp=np.arange(30)))
    assert numbered.entries[0]["target"].tolist() == frame["target"].tolist()


def test_the_same_day_of_each_month():
    time = pd.date_range("2024-01-01", periods=9, freq="MS") + pd.Timedelta(days=14)
    assert read_table(pd.DataFrame({"timestamp": time, "target": 1}), item_id=None).freq == "M"


def test_a_week_without_its_end_is_of_days_or_of_working_days():
    days = frame_of(items=("a",)).assign(timestamp=pd.date_range("2024-01-01", periods=12))
    assert read_table(days[:5]).freq == "D"
    assert read_table(days.drop([5, 6])[:6]).freq == "B"


@pytest.mark.parametrize("old", (("H", "h"), ("T", "min"), ("A", "Y-DEC"), ("1D", "D")), ids=str)
def test_old_spellings_of_frequencies(old):
    assert period_frequency(old[0]) == old[1]


@pytest.mark.parametrize("freq", ("", "fortnight", "lunar", "-1h", "0h", "SME"))
def test_frequencies_that_are_none(freq):
    with pytest.raises(InputError, match=r"freq: expected steps of equal length, .* got"):
        period_frequency(freq)


def test_leap_days_are_steps():
    entry = read_table(frame_of("D")).entries[0]
    assert str(entry["start"] + 9) == "2024-02-29" and len(entry["target"]) == 12


@pytest.mark.parametrize("text", (False, True), ids=("times", "text"))
def test_times_with_a_zone_become_utc_and_stay_regular_when_summer_time_ends(text):
    utc = pd.date_range("2024-04-06 12:00", periods=12, freq="30min", tz="UTC")
    local = utc.tz_convert("Australia/Melbourne")
    assert local[0].utcoffset() != local[-1].utcoffset()
    time = [t.isoformat() for t in local] if text else local
    data = read_table(pd.DataFrame({"item_id": "a", "timestamp": time, "target": 1.0}))
    assert str(data.entries[0]["start"]) == "2024-04-06 12:00"
    assert np.isfinite(data.entries[0]["target"]).all() and data.freq == "30min"


def test_local_times_when_summer_time_begins_have_a_gap():
    zone = "Australia/Melbourne"
    time = pd.date_range("2024-10-05 22:00", periods=8, freq="h", tz=zone).tz_localize(None)
    entry = read_table(pd.DataFrame({"item_id": "a", "timestamp": time, "target": 1.0})).entries[0]
    assert np.flatnonzero(np.isnan(entry["target"])).tolist() == [4]


def test_the_finest_frequency_may_be_given():
    days = pd.DataFrame(
        {"item_id": "a", "timestamp": pd.date_range("2024-01-01", periods=3), "target": 1.0}
    )
    hours = days.assign(item_id="b", timestamp=pd.date_range("2024-01-01", periods=3, freq="h"))
    data = read_table(pd.concat([days, hours]), freq="h")
    assert [e["target"].size for e in data.entries] == [49, 3]
    assert np.isfinite(data.entries[0]["target"]).sum() == 3


@settings(deadline=None, max_examples=60, derandomize=True)
@drawn(
    freq=st.sampled_from(("min", "15min", "h", "D", "B", "W-MON")),
    rows=st.integers(8, 120),
    place=st.floats(0, 1),
    year=st.sampled_from((1924, 1999, 2042, 2124, 2204)),
)
def test_a_mistyped_year_is_refused_with_its_row(freq, rows, place, year):
    time = pd.date_range("2024-03-04", periods=rows, freq=freq)
    wrong = int(place * (rows - 1))
    stray = time[wrong].replace(year=year)
    if freq in ("B", "W-MON"):
        stray += (time[wrong].dayofweek - stray.dayofweek) % 7 * pd.Timedelta("1D")
    frame = pd.DataFrame({"item_id": "a", "timestamp": [*time], "target": 1.0})
    frame.loc[wrong, "timestamp"] = stray
    gap = frame["timestamp"].sort_values().diff().max() / time.to_series().diff().min()
    if gap * (5 / 7 if freq == "B" else 1) > 1100:
        pattern = (
            rf"steps away, series 'a' at {year}-.*\(row {wrong + 1} of the table\); correct it"
        )
        refused(pattern, lambda: read_table(frame))


@pytest.mark.parametrize("freq", ("h", "D", "B", "W-MON", "MS", "QS"))
@pytest.mark.parametrize("years", (-10, -1, 1, 2, 10))
@pytest.mark.parametrize("place", (0.0, 0.3, 0.8, 1.0))
def test_a_year_mistyped_by_a_few_is_refused_however_long_the_table(freq, years, place):
    random = np.random.default_rng(0)
    time = pd.date_range("2010-01-04", "2021-06-30", freq=freq)[-5000:].to_series()
    time = time.drop(time.index[random.choice(np.arange(9, len(time) - 9), 3, replace=False)])
    wrong = int(place * (len(time) - 1))
    frame = pd.DataFrame({"timestamp": [*time], "target": 1.0})
    true = time.iloc[wrong]
    stray = true.replace(year=true.year + years)
    if freq in ("B", "W-MON"):  # on the grid, else it is refused for that
        stray -= (stray.dayofweek - true.dayofweek) * pd.Timedelta("1D")
    frame.loc[wrong, "timestamp"] = stray
    rest = time.drop(true)
    beyond = max(rest.min() - stray, stray - rest.max()) / rest.diff().median()
    if beyond > 22 and freq not in ("B", "W-MON"):
        refused(rf"row {wrong + 1} of the table\); correct", lambda: read_table(frame))


@pytest.mark.parametrize("freq", ("D", "B", "MS"))
def test_a_missing_year_is_a_gap(freq):
    time = pd.date_range("2017-01-01", "2023-12-31", freq=freq)
    for years in ((2019,), (2020, 2021), (2018, 2022)):
        frame = pd.DataFrame({"timestamp": time[~time.year.isin(years)], "target": 1.0})
        assert read_table(frame).entries[0]["target"].size == len(time)
    last = pd.DataFrame({"timestamp": [*time[: len(time) // 2], *time[-2:]], "target": 1.0})
    assert read_table(last).entries[0]["target"].size == len(time)


@pytest.mark.parametrize("rows", (2, 5, 50, 2000))
def test_gaps_that_data_has(rows):
    random = np.random.default_rng(0)
    for typical in (3, 200):  # steps between rows, as in sales of spare parts
        steps = np.cumsum(1 + random.poisson(typical, size=rows))
        time = pd.Timestamp("1990-01-01") + pd.to_timedelta(steps % 80_000, "D")
        data = read_table(
            pd.DataFrame({"timestamp": time, "target": 1.0}).drop_duplicates("timestamp"),
            item_id=None,
            freq="D",
        )
        assert np.isfinite(data.entries[0]["target"]).sum() <= rows
    year = pd.date_range("2023-01-01", periods=40).append(pd.date_range("2025-01-01", periods=40))
    assert read_table(pd.DataFrame({"timestamp": year, "target": 1.0}), item_id=None).freq == "D"
