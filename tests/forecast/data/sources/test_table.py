"""Long tables to series."""

import numpy as np
import pandas as pd
import pytest
from forecast.tables import DAYS, HEAD, frame_of, refused, same
from gluonts.dataset.pandas import PandasDataset

from paratime.forecast.data.calendar import quiet_periods
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.table import Table, read_table

pytestmark = pytest.mark.filterwarnings(
    "ignore:Period(Dtype|).*deprecated:FutureWarning"  # of business days, by pandas
)


def pandas_dataset(frame, **options):
    return PandasDataset.from_long_dataframe(
        frame, item_id="item_id", timestamp="timestamp", **options
    )


@pytest.mark.parametrize("freq", ("min", "15min", "h", "D", "B", "W-SUN", "M", "Q-DEC", "Y-DEC"))
@pytest.mark.parametrize("target", ("target", ("target", "second")), ids=("one", "two"))
def test_a_table_is_what_gluonts_makes_of_it(freq, target, tmp_path):
    frame = frame_of({"M": "MS", "Q-DEC": "QS", "Y-DEC": "YS"}.get(freq, freq))
    frame.loc[3, "target"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False)
    columns = {"known": ("price", "holiday"), "past": ("count",)}
    static = {"static_real": ("size",), "static_cat": ("kind",)}
    table = Table(str(tmp_path / "data.csv"), target=target, **columns, **static).read()
    dataset = pandas_dataset(
        frame.astype({"kind": "category", "holiday": float}),
        target=target if isinstance(target, str) else [*target],
        feat_dynamic_real=["price", "holiday"],
        past_feat_dynamic_real=["count"],
        static_feature_columns=["size", "kind"],
        freq=freq,
    )
    same(table, from_gluonts(dataset), names=False)
    assert table.freq == freq
    assert (table.known, table.past) == (("price", "holiday"), ("count",))
    assert (table.static_real, table.categories) == (("size",), {"kind": ("x", "y")})
    assert from_gluonts(dataset).known == table.known


def test_the_future_of_known_covariates_is_what_gluonts_makes_of_it():
    frame = frame_of()
    columns = {"known": ["price"], "past": ["count"]}
    dataset = pandas_dataset(
        frame,
        feat_dynamic_real=["price"],
        past_feat_dynamic_real=["count"],
        freq="D",
        future_length=4,
    )
    frame.loc[frame.groupby("item_id").tail(4).index, ["target", "count"]] = np.nan
    same(read_table(frame, **columns), from_gluonts(dataset))


def test_rows_in_any_order_and_names_in_that_of_the_table():
    frame = frame_of()
    mixed = frame.sample(frac=1, random_state=0)
    data, again = read_table(frame), read_table(mixed)
    assert [e["item_id"] for e in again.entries] == [*mixed["item_id"].unique()]
    by_name = {e["item_id"]: e["target"].tolist() for e in again.entries}
    assert by_name == {e["item_id"]: e["target"].tolist() for e in data.entries}


def test_rows_without_a_target_are_future_where_a_covariate_is_known():
    frame = frame_of(items=("a",))
    frame.loc[[0, 4, 9, 10, 11], "target"] = np.nan
    entry = read_table(frame, known=["price"], past=["count"]).entries[0]
    assert entry["target"].shape == (9,) and entry["past_feat_dynamic_real"].shape == (1, 9)
    assert entry["feat_dynamic_real"].shape == (1, 12)
    assert np.flatnonzero(np.isnan(entry["target"])).tolist() == [0, 4]
    entry = read_table(frame, past=["count"]).entries[0]
    assert entry["target"].shape == (12,) and entry["past_feat_dynamic_real"].shape == (1, 12)
    assert entry["feat_dynamic_real"].shape == (0, 12)
    frame["target"] = np.nan
    assert read_table(frame, known=["price"]).entries[0]["target"].shape == (0,)


@pytest.mark.parametrize("freq", ("D", "W-MON", "2h", "MS"))
@pytest.mark.parametrize(
    ("first", "steps"), {12: 0, 14: 0, 9: 3, 0: 12}.items(), ids=("next", "later", "early", "old")
)
def test_a_new_item_is_forecast_from_the_end_of_the_others(freq, first, steps):
    frame = frame_of(freq, 20, items=("a",))
    frame.loc[12:, "target"] = np.nan
    new = frame[first:].assign(item_id="new", target=np.nan)
    data = read_table(pd.concat([frame, new]), known=["price"], past=["count"])
    old, entry = data.entries
    with quiet_periods():
        assert entry["start"] == old["start"] + first
    assert old["target"].shape == (12,) and entry["target"].shape == (steps,)
    assert entry["feat_dynamic_real"].shape == (1, 20 - first)
    assert entry["past_feat_dynamic_real"].shape == (1, steps)
    assert np.isnan(entry["target"]).all()


def test_an_item_that_ends_before_the_others_has_no_history_without_values():
    frame = frame_of(items=("a",))
    old = frame[:5].assign(item_id="old", target=np.nan)
    assert read_table(pd.concat([frame, old]), known=["price"]).entries[1]["target"].shape == (0,)


def test_channels_end_with_the_last_that_is_observed():
    frame = frame_of(items=("a",))
    frame.loc[8:, "target"] = np.nan
    frame.loc[10:, "second"] = np.nan
    entry = read_table(frame, target=["target", "second"], known=["price"]).entries[0]
    assert entry["target"].shape == (2, 10) and entry["feat_dynamic_real"].shape == (1, 12)


def test_names_and_categories_are_text(tmp_path):
    rows = "007,2024-01-01,1,NA\n007,2024-01-02,NA,NA\nNA,2024-01-01,2,1\n"
    (tmp_path / "data.csv").write_text("item_id,timestamp,target,kind\n" + rows)
    data = Table(str(tmp_path / "data.csv"), static_cat=("kind",)).read()
    assert [e["item_id"] for e in data.entries] == ["007", "NA"]
    assert data.categories == {"kind": ("1", "NA")}
    assert [e["feat_static_cat"].tolist() for e in data.entries] == [[1], [0]]
    numbered = frame_of().assign(item_id=lambda f: f["item_id"].map({"a": 3, "b": 1, "c": 2}))
    assert [e["item_id"] for e in read_table(numbered).entries] == ["3", "1", "2"]


@pytest.mark.parametrize(
    "index", (["timestamp"], ["item_id", "timestamp"]), ids=("time", "item and time")
)
def test_an_index_counts_as_columns(index):
    same(read_table(frame_of().set_index(index)), read_table(frame_of()))


@pytest.mark.parametrize(
    "convert",
    (
        lambda t: t.dt.to_period("D"),
        lambda t: t.dt.date,
        lambda t: t.dt.strftime("%Y%m%d"),
        lambda t: t.dt.strftime("%Y%m%d").astype(int),
        lambda t: t.astype("datetime64[s]"),
        lambda t: t.dt.tz_localize("Australia/Melbourne"),
        lambda t: t.dt.strftime("%Y-%m-%dT00:00:00+11:00"),
    ),
    ids=("periods", "dates", "digits", "numbers", "seconds", "zone", "offset"),
)
def test_dates_in_any_form_are_the_same_dates(convert):
    frame = frame_of()
    same(read_table(frame.assign(timestamp=convert(frame["timestamp"]))), read_table(frame))


ONE = {
    "no item": ("timestamp,target", 1),
    "other names": ("date,value", 1),
    "an index": (",date,value", 1),
    "a label": ("date,shop,value", 1),
}


@pytest.mark.parametrize("form", ("csv", "parquet", "memory"))
@pytest.mark.parametrize("name", ONE)
def test_a_table_of_one_series_needs_no_names(name, form, tmp_path):
    frame = frame_of(items=("a",))[["timestamp", "target"]]
    truth = read_table(frame, item_id=None)
    other = frame if name == "no item" else frame.set_axis(["date", "value"], axis=1)
    other = other.assign(shop="x")[["date", "shop", "value"]] if name == "a label" else other
    path = tmp_path / f"data.{form}"
    if form == "memory":
        return same(read_table(other), truth)
    other.to_csv(path, index=name == "an index") if form == "csv" else other.to_parquet(path)
    same(Table(str(path)).read(), truth)


@pytest.mark.parametrize(
    ("columns", "pattern"),
    (
        (["date", "low", "high"], "'target': expected a column of the table"),
        (["date", "value", "other"], "'target': expected a column of the table"),
        (["day", "date", "value"], "'timestamp': expected a column of the table"),
        (["date", "shop"], "'target': expected a column of the table"),
    ),
)
def test_columns_in_doubt_are_refused(columns, pattern):
    frame = frame_of(items=("a",))
    values = {"date": "timestamp", "day": "timestamp", "shop": "kind"}
    table = pd.DataFrame({c: frame[values.get(c, "target")] for c in columns})
    refused(pattern, lambda: read_table(table))


def test_several_series_without_their_names_are_refused():
    refused(
        r"timestamp: .* got a second .*delete one, or name the column of series as item_id",
        lambda: read_table(frame_of()[["timestamp", "target", "kind"]]),
    )


HOURS = "".join(f"b,2024-01-01T0{i}:00,{i},{i}\n" for i in range(8))
KNOWN, PAST, REAL, CAT = ({k: ("x",)} for k in ("known", "past", "static_real", "static_cat"))

BAD_TABLES = {
    "a second row": (
        DAYS + "a,2024-01-03,3,3\n",
        {},
        r"timestamp: expected one row a time in a series, got a second after row 3 of data.csv: "
        r"series 'a' at 2024-01-03 \(row 8 of data.csv\); delete one; local times repeat or skip "
        r"an hour when summer time changes: give UTC or an offset$",
    ),
    "an hour twice": (
        HOURS + "b,2024-01-01T02:00,1,1\n",
        {},
        r"row 3 .* at 2024-01-01 02:00:00 \(row 9 .*; .* summer time changes: give UTC",
    ),
    "two frequencies": (
        DAYS + HOURS,
        {},
        r"timestamp: expected steps of h in all series, got D in series 'a'; split the table",
    ),
    "two frequencies, the other way": (
        DAYS.replace("a,", "c,") + DAYS + "".join(HOURS.splitlines(keepends=True)[:3]),
        {},
        r"timestamp: expected steps of D in all series, got h in series 'b'; split the table",
    ),
    "another frequency": (
        DAYS,
        {"freq": "h"},
        r"timestamp: expected steps of h in all series, got D in series 'a'; ",
    ),
    "a longer frequency": (DAYS, {"freq": "MS"}, r"expected steps of M in all series, got D in"),
    "no frequency": (DAYS, {"freq": "x"}, r"freq: expected steps .* got 'x'; give a"),
    "one row": (
        "a,2024-01-01,1,1\nb,2024-01-02,1,1\n",
        {},
        r"freq: expected a series of at least two rows, got none; give freq",
    ),
    "a row off the grid": (
        HOURS + "b,2024-01-01T08:07,1,1\n",
        {},
        r"timestamp: expected steps of h, got a row off that grid, series 'b' at "
        r"2024-01-01 08:07:00 \(row 9 of data.csv\); correct it, or give freq; local times",
    ),
    "a first row off the grid": (
        "b,2023-12-31T23:50,1,1\n" + HOURS,
        {},
        r"series 'b' at 2023-12-31 23:50:00 \(row 1 of",
    ),
    "a row off the grid of a multiple": (
        "".join(f"a,2024-01-01T00:{i},1,1\n" for i in ("00", "15", "30", "45", "52")),
        {},
        r"steps of 15min, got a row off that grid, series 'a' at 2024-01-01 00:52:00 \(row 5 ",
    ),
    "a day off the months": (
        "".join(f"a,2024-0{i}-01,1,1\n" for i in range(1, 7)) + "a,2024-07-15,1,1\n",
        {},
        r"steps of M, got a row off that grid, series 'a' at 2024-07-15 \(row 7 of",
    ),
    "two days of a month that are as many working days into it": (
        "a,2024-01-06,1,1\na,2024-01-08,1,1\na,2024-02-08,1,1\n",
        {"freq": "M"},
        r"steps of M, got a row off that grid, series 'a' at 2024-01-06 \(row 1 of",
    ),
    "a weekend": (
        "".join(f"a,2024-01-{i:02},1,1\n" for i in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12)),
        {"freq": "B"},
        r"steps of B, got a row off that grid, series 'a' at 2024-01-06 \(row 6 of",
    ),
    "an infinite target": (
        DAYS.replace(",3,", ",inf,"),
        {},
        r"target in series 'a' at 2024-01-03 \(row 3 of data.csv\): expected a finite float32, "
        r"got 'inf'; correct it, or leave it empty",
    ),
    "too large a target": (
        DAYS.replace(",3,", ",1e39,"),
        {},
        r"\(row 3 .* finite .*, got '1e\+39'",
    ),
    "an infinite covariate": (
        DAYS.replace(",3\n", ",-inf\n"),
        PAST,
        r"x in series 'a' at .* '-inf'",
    ),
    "text for a target": (
        DAYS.replace(",3,", ",three,"),
        {},
        r"target in series 'a' at 2024-01-03 \(row 3 of .* expected a number, got 'three'; correct",
    ),
    "text for a covariate": (
        DAYS.replace(",4\n", ",x\n"),
        KNOWN,
        r"x in .*row 4 .*number, got 'x'",
    ),
    "a missing covariate": (
        DAYS.replace(",4\n", ",\n"),
        KNOWN,
        r"x in series 'a' at 2024-01-04 \(row 4 of data.csv\): expected a value at every step, got "
        r"none; fill it in",
    ),
    "a covariate that ends early": (
        DAYS + "a,2024-01-08,,8\na,2024-01-09,,\n",
        KNOWN,
        r"x in series 'a' at 2024-01-09 \(row 9 of data.csv\): expected a value at every",
    ),
    "a covariate in a gap": (
        DAYS.replace("a,2024-01-05,5,5\n", ""),
        PAST,
        r"x in series 'a' at 2024-01-05 \(no row\): expected a value at every step, got none; fill "
        r"it in, adding the row",
    ),
    "a missing column": (
        DAYS,
        {"target": "tagret"},
        r"'tagret': expected a column of data.csv, got none of that name; the nearest are 'target'",
    ),
    "a missing covariate column": (DAYS, {"known": ("targets",)}, r"'targets': .* are 'target', "),
    "two roles": (DAYS, {"known": ("target",)}, r"'target': expected only one of .*, got several"),
    "no time": (
        DAYS + "a,,8,8\n",
        {},
        r"timestamp in row 8 of data.csv: expected a time, got none; fill it in",
    ),
    "no name": (DAYS + ",2024-01-08,8,8\n", {}, r"item_id in row 8 of .* a name, got none; fill"),
    "an unreadable time": (
        DAYS.replace("2024-01-05", "05/01/24"),
        {},
        r"timestamp in row 5 of data.csv: expected an ISO 8601 time from 1678 to 2261, got "
        r"'05/01/24'; write it like 2024-03-31",
    ),
    "a day that is none": (DAYS + "a,2024-02-30,1,1\n", {}, r"row 8 .* got '2024-02-30'; write it"),
    "a time that is a word": (DAYS + "a,today,1,1\n", {}, r"row 8 of .* got 'today'; write it"),
    "a time out of range": (
        DAYS + "a,0024-01-08,1,1\n",
        {},
        r"from 1678 to 2261, got '0024-01-08'",
    ),
    "some zones": (
        HOURS + "b,2024-01-01T08:00Z,1,1\n",
        {},
        r"timestamp in row 9 of data.csv: expected no zone as before, got '2024-01-01T08:00Z'",
    ),
    "a number that varies": (
        DAYS,
        REAL,
        r"x in series 'a' at 2024-01-02 \(row 2 of data.csv\): expected '1' as before, a static "
        r"column, got '2'; name it known or past, or correct it",
    ),
    "a missing number": (DAYS.replace(",3\n", ",\n"), REAL, r"x in .*row 3 .* every row, got none"),
    "a category that varies": (
        DAYS,
        CAT,
        r"x in series 'a' at 2024-01-02 .* '1' as before, .* '2'",
    ),
    "a missing category": (DAYS.replace(",3\n", ",\n"), CAT, r"x in row 3 of .* a name, got none"),
    "no rows": ("", {}, r"data.csv: expected at least one row, got a header only; check that it"),
    "too many fields": (
        DAYS + "a,2024-01-08,8,8,8\n",
        {},
        r"CSV text in UTF-8, got .* line 9, saw 5",
    ),
    "an open quote": (DAYS + 'a,"2024-01-08,8,8\n', {}, r"expected CSV text in UTF-8, got Error"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_bad_table_is_refused_in_one_line(name, tmp_path):
    rows, options, pattern = BAD_TABLES[name]
    (tmp_path / "data.csv").write_text(HEAD + rows)
    refused(pattern, Table(str(tmp_path / "data.csv"), **options).read)


def test_names_that_are_numbers_here_and_text_there_are_the_same():
    frame = frame_of(items=(1, "1", 2)).drop(columns="timestamp")
    frame["timestamp"] = pd.date_range("2024-01-01", periods=len(frame))
    assert [e["item_id"] for e in read_table(frame).entries] == ["1", "2"]


def test_a_frame_is_refused_in_one_line():
    frame = frame_of()
    refused(
        r"target in series 'b' at 2024-02-20 \(row 13 of the table\): expected a number",
        lambda: read_table(frame.assign(target=["1"] * 12 + ["x"] * 27)),
    )
    refused(
        r"'target': expected a column of the table, got two of that name",
        lambda: read_table(frame.rename(columns={"second": "target"})),
    )
    refused(
        r"target in .*row 1 of the table\): expected a number, got '2024-02-20",
        lambda: read_table(frame.assign(target=frame["timestamp"])),
    )
    far = frame["timestamp"].astype("datetime64[s]") + np.timedelta64(365_000, "D")
    refused(
        r"timestamp in row 1 of the table: expected an ISO 8601 time from 1678 to 2261, got '3023",
        lambda: read_table(frame.assign(timestamp=far)),
    )
    refused(r"target: expected at least one column, got none", lambda: read_table(frame, target=[]))
    refused(r"the table: expected at least one row", lambda: read_table(frame[:0]))
    refused(
        r"'target': expected a column of the table, got none .*'item_id', 'timestamp', '1'",
        lambda: read_table(pd.DataFrame({"item_id": [1], "timestamp": [1], 0: [1], 1: [1]})),
    )
