"""Names and labels are the same however a file stores them."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from forecast.streams import model
from forecast.tables import frame_of, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.forecast.data.features import match_features, unseen_labels
from paratime.forecast.data.labels import label_text
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.table import Table, read_table
from paratime.forecast.streaming.forecaster import Forecaster

COLUMNS = {
    "integers": np.array([1, 2, 10], np.int64),
    "small integers": np.array([1, 2, 10], np.int8),
    "floats": np.array([1.0, 2.0, 10.0]),
    "float32": np.array([1.0, 2.0, 10.0], np.float32),
    "nullable": pd.array([1, 2, 10], dtype="Int64"),
    "text": np.array(["1", "2", "10"], object),
    "decimals": np.array(["1.0", "2.00", "10."], object),
    "decimal values": np.array([Decimal("1"), Decimal("2.0"), Decimal("10.00")], object),
    "blanks": np.array(["1 ", " 2", "10\t"], object),
    "bytes": np.array([b"1", b"2", b"10 "], object),
    "categories": pd.Categorical(["1", "2", "10"]),
    "categories of numbers": pd.Categorical([1.0, 2.0, 10.0]),
    "mixed": np.array([1, "2", 10.0], object),
}


def labelled(values):
    frame = frame_of()[["item_id", "timestamp", "target"]]
    codes = pd.factorize(frame["item_id"])[0]
    column = pd.Series(values).take(codes).reset_index(drop=True)
    return frame.assign(item_id=column, kind=column)


@pytest.mark.parametrize("form", ("memory", "csv", "parquet"))
@pytest.mark.parametrize("name", COLUMNS)
def test_labels_and_names_match_those_of_another_file(name, form, tmp_path):
    trained = read_table(labelled(COLUMNS["integers"]), static_cat=["kind"])
    frame, path = labelled(COLUMNS[name]), tmp_path / f"data.{form}"
    if form == "csv":
        frame = frame.map(lambda x: x.decode() if isinstance(x, bytes) else x)
        frame.to_csv(path, index=False)
    if form == "parquet":
        if name == "mixed":
            return  # has no such columns
        frame.to_parquet(path)
    given = (
        read_table(frame, static_cat=["kind"])
        if form == "memory"
        else Table(str(path), static_cat=("kind",)).read()
    )
    assert [e["item_id"] for e in given.entries] == ["1", "2", "10"]
    spec = model(trained).spec
    codes = [e["feat_static_cat"].tolist() for e in match_features(given, spec).entries]
    assert codes == [e["feat_static_cat"].tolist() for e in trained.entries]
    assert unseen_labels(given, spec) == ""


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_one_label(number):
    forms = (number, float(number), np.float64(number), f" {number}.0 ", Decimal(number))
    assert {label_text(x) for x in forms} == {str(number)}


@pytest.mark.parametrize("text", ("007", "1.10", "1.5", "a.0", "v1.0", "1e5", "NA", "x y", "é"))
def test_other_text_stays(text):
    assert label_text(text) == text


def test_values_that_are_neither_numbers_nor_text():
    assert {label_text(x) for x in (True, np.True_, "true", "TRUE")} == {"True"}
    days = (date(2024, 1, 2), datetime(2024, 1, 2), np.datetime64("2024-01-02"), "2024-01-02")
    assert {label_text(x) for x in days} == {"2024-01-02"}
    assert {label_text(x) for x in (None, np.nan, pd.NA, pd.NaT, " ")} == {""}
    assert (label_text(0.5), label_text(np.float32(0.1)), label_text(-0.0)) == ("0.5", "0.1", "0")


def test_a_blank_name_is_none():
    frame = labelled(np.array(["a", "b", "  "], object))
    refused(r"item_id in row 26 of the table: expected a name", lambda: read_table(frame))


def test_labels_that_training_never_saw_are_noted():
    spec = model(read_table(labelled(COLUMNS["integers"]), static_cat=["kind"])).spec
    given = read_table(labelled(np.array(["1", "x", "y"], object)), static_cat=["kind"])
    assert unseen_labels(given, spec) == "training never saw 2 of 3 labels of kind: 'x', 'y'"


def test_names_of_entries_and_of_streams():
    data = from_gluonts([{"item_id": 1.0, "start": "2024-01-01", "target": [1.0, 2.0]}], "D")
    assert data.entries[0]["item_id"] == "1"
    stream = Forecaster(model(read_table(labelled(COLUMNS["floats"]), static_cat=["kind"])))
    stream.start(1, static_cat=[2.0])
    assert 1.0 in stream and "1 " in stream
    assert stream.update(1.0, "2024-01-01", 3.0) == 1
