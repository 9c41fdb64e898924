"""Tables of other packages."""

import pandas as pd
import pyarrow
import pytest
from forecast.tables import frame_of, refused, same

from paratime.forecast.data.sources.table import read_table
from paratime.io.frames import as_pandas


class Only:
    """A table with one of the interfaces."""

    def __init__(self, table, name):
        setattr(type(self), name, lambda _, *a, **k: getattr(table, name)(*a, **k))


def only(table, name):
    """Return a table that has one of the interfaces of another one, and nothing else."""
    return type("Table", (Only,), {})(table, name)


def polars_of(frame):
    """Return a table of polars."""
    return pytest.importorskip("polars").from_pandas(frame)


TABLES = {
    "pandas": lambda frame: frame,
    "pyarrow": pyarrow.Table.from_pandas,
    "to_pandas": lambda frame: only(pyarrow.Table.from_pandas(frame), "to_pandas"),
    "stream": lambda frame: only(pyarrow.Table.from_pandas(frame), "__arrow_c_stream__"),
    "interchange": lambda frame: only(frame, "__dataframe__"),
    "polars": polars_of,
}


@pytest.mark.parametrize("kind", TABLES)
def test_series_of_tables_of_any_package(kind):
    frame = frame_of()[["item_id", "timestamp", "target", "price", "kind"]]
    roles = {"known": ["price"], "static_cat": ["kind"]}
    found = read_table(TABLES[kind](frame), **roles)
    same(found, read_table(frame, **roles))
    assert found.entries[0]["stamps"] == read_table(frame, **roles).entries[0]["stamps"]


def test_what_is_no_table():
    refused("frame: expected a table of pandas, polars or pyarrow, got list", lambda: as_pandas([]))
    lazy = type("LazyFrame", (), {"collect": None})()
    refused(r"got LazyFrame; pass one, after collect\(\)", lambda: read_table(lazy))


def test_without_pyarrow():
    class Frame:
        def to_pandas(self):
            raise ModuleNotFoundError("pyarrow")

    refused("frame: expected the package pyarrow.*pip install pyarrow", lambda: as_pandas(Frame()))
    frame = pd.DataFrame()
    assert as_pandas(frame) is frame
