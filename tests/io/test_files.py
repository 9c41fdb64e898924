"""Files that users name: regular ones, with columns of different names."""

import os

import numpy as np
import pytest

from paratime.errors import InputError
from paratime.forecast.data.sources.table import Table as Series
from paratime.io import files
from paratime.io.files import find
from paratime.world import Npz
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


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    path, steps = tmp_path / "e.npz", np.arange(9)
    about = {"is_first": steps == 0, "is_last": steps == 8, "is_terminal": steps == 8}
    about |= {"reward": np.ones(9), "action": np.zeros((9, 1)), "place": np.zeros((9, 10_000))}
    np.savez_compressed(path, **about)
    assert len(Npz(str(path)).read().episodes) == 1
    size = 9 * 10_000 * 8
    assert path.stat().st_size < size / 100
    monkeypatch.setattr(files, "_free_memory", lambda: 4 * size)
    with pytest.raises(InputError, match=r"e\.npz: expected at most 0\.0 GiB"):
        Npz(str(path)).read()
    monkeypatch.setattr(files, "_free_memory", lambda: None)
    Npz(str(path)).read()
