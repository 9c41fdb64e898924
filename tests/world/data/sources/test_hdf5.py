"""A trial reads all of an HDF5 file, whatever is in it, and leaves errors to the reader."""

import h5py
import numpy as np
import pytest

from paratime.errors import InputError
from paratime.io import processes
from paratime.world.data.sources import hdf5
from paratime.world.data.sources.minari import open_hdf5


def test_everything_is_read_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(hdf5, "_read", lambda node: read.append(node.name))
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["a/b/c"] = np.arange(5)
        file["a/text"] = ["x", "yy"]
        file["a/loop"] = file["a"]
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
        file["nowhere"] = h5py.SoftLink("/none")
        file.attrs["text"] = "about"
    hdf5.visit_file(str(tmp_path / "a.hdf5"))
    assert sorted(read) == ["/a/b/c", "/a/text"]


@pytest.mark.parametrize("options", [{}, {"chunks": (3, 2)}, {"compression": "gzip"}])
def test_rows_of_any_layout_are_read(tmp_path, options):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_dataset("a", data=np.ones((10, 2)), **options)
        file["scalar"], file["empty"] = 3.0, h5py.Empty("f")
    hdf5.visit_file(str(tmp_path / "a.hdf5"))
    with open_hdf5(tmp_path / "a.hdf5") as file:
        assert file["a"][()].sum() == 20


def test_damage_is_left_to_the_reader(tmp_path):
    (tmp_path / "a.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    hdf5.visit_file(str(tmp_path / "a.hdf5"))
    with pytest.raises(InputError, match="whole HDF5 file"), open_hdf5(tmp_path / "a.hdf5"):
        raise AssertionError


def test_a_file_that_would_end_the_process_is_refused(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["a"] = 1
    monkeypatch.setattr(processes, "_problem", lambda *_: "ends the process that reads it")
    with pytest.raises(InputError, match="ends the process"), open_hdf5(tmp_path / "a.hdf5"):
        raise AssertionError
