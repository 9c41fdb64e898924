"""Files that users name: regular ones, with columns of different names."""

import os

import pytest

from paratime.errors import InputError
from paratime.forecast.data.sources.table import Table as Series
from paratime.io.files import find
from paratime.world.data.sources.table import Table as Episodes


@pytest.mark.parametrize("way", ("alone", "in a folder", "by a pattern"))
@pytest.mark.parametrize("kind", ("pipe", "device", "link to nothing", "link to itself"))
def test_what_is_no_file_is_refused_and_never_opened(kind, way, tmp_path):
    path = tmp_path / "a.csv"
    if kind == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes in folders")
        os.mkfifo(path)
    else:
        target = {"device": "/dev/zero", "link to nothing": "nowhere", "link to itself": "a.csv"}
        path.symlink_to(target[kind])
    named = {"alone": path, "in a folder": tmp_path, "by a pattern": tmp_path / "*.csv"}[way]
    with pytest.raises(InputError, match=r"a\.csv: expected a file, got a (device or pipe|link)"):
        find(str(named), (".csv",))


@pytest.mark.parametrize("name", ("target", "item_id", "timestamp", "x"))
def test_two_columns_of_one_name_are_refused(name, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"item_id,timestamp,target,x,{name}\na,2024-01-01,1,2,3\na,2024-01-02,1,2,3\n")
    for source in (
        Series(str(path)),
        Episodes(str(path), ("target",), ("x",), episode="item_id", step=None, reward=None),
    ):
        with pytest.raises(InputError, match=f"a.csv: expected columns .* got '{name}' twice"):
            source.read()
