"""Where a disk is full, every library's writer ends in the system's error, with the file's name."""

import json
import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch

from paratime.io.atomic import making, replacing
from paratime.io.saved.writing import save

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")

VALUES = np.random.default_rng(0).normal(size=(400, 40))


def safetensors(path):
    from safetensors.torch import save_file

    save_file({"a": torch.tensor(VALUES)}, path)


def hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["a"] = VALUES


def image(path):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().imshow(VALUES)
    figure.savefig(path, format="png", dpi=300)


WRITERS = {
    "torch": lambda path: save({"a": torch.tensor(VALUES)}, path),
    "safetensors": safetensors,
    "hdf5": hdf5,
    "npz": lambda path: np.savez(path.open("wb"), a=VALUES),
    "packed npz": lambda path: np.savez_compressed(path.open("wb"), a=VALUES),
    "csv": lambda path: pd.DataFrame(VALUES).to_csv(path),
    "parquet": lambda path: pd.DataFrame(VALUES).rename(columns=str).to_parquet(path),
    "json": lambda path: path.write_text(json.dumps(VALUES.tolist())),
    "tokens": lambda path: path.write_bytes(VALUES.tobytes()),
    "png": image,
}


@contextmanager
def full(limit):
    """Have files of this process that grow beyond some bytes fail."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of closing files
@pytest.mark.parametrize("limit", (0, 1, 4000, 16384))
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_and_leaves_the_file_as_it_was(name, limit, tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with full(limit), pytest.raises(OSError, match="file") as caught, replacing(path) as draft:
        WRITERS[name](draft)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_text() == "before" and [*tmp_path.iterdir()] == [path]


def test_a_folder_is_named_too(tmp_path):
    with (
        full(1000),
        pytest.raises(OSError, match="made") as caught,
        making(tmp_path / "made") as it,
    ):
        it.mkdir()
        safetensors(it / "weights")
    assert caught.value.errno and not [*tmp_path.iterdir()]
