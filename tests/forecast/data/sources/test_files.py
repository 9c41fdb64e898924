"""Files to series."""

import gzip
import json
import sys

import numpy as np
import pytest
from forecast.tables import DAYS, HEAD, entries_of, frame_of, refused, same
from gluonts.dataset.common import MetaData, TrainDatasets
from gluonts.dataset.jsonl import JsonLinesWriter
from jsonargparse import ArgumentParser

from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.sources.base import Source
from paratime.forecast.data.sources.competitions import TsData
from paratime.forecast.data.sources.json_lines import JsonLines
from paratime.forecast.data.sources.table import Table, read_table

pytestmark = pytest.mark.filterwarnings(
    "ignore:Period(Dtype|).*deprecated:FutureWarning"  # of business days, by pandas
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
    config = {"class_path": "paratime.forecast.data.sources.table.Table", "init_args": init}
    source = parser.instantiate_classes(parser.parse_object({"source": config})).source
    assert source == Table("data.csv", target=("y", "z"), known=("x",), item_id=None)
    given = [
        "--source=paratime.forecast.data.sources.competitions.TsData",
        "--source.name=vic_elec",
    ]
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
    "nan": ('{"target": [NaN]}\n', r"data.json, line 1: .*, got no JSON; .*null where missing"),
    "pretty": (
        json.dumps({"start": 1}, indent=1),
        r"data.json, line 1: expected a JSON object, got no",
    ),
    "nothing": ("", r"data.json: expected data entries, got an empty file"),
    "no start": (
        '{"target": [1]}\n',
        r"start of series '0' \(entry 1\) of .*: expected it in each entry",
    ),
    "no target": (
        '{"start": "2024"}\n',
        r"target of series '0' \(entry 1\) of .*: expected it in each",
    ),
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
    refused(r"expected metadata.json next to train, got none", JsonLines(str(tmp_path)).read)
