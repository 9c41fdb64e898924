"""Files of torch.save: every part is as it was written, and holds tensors and plain values."""

import pickle
import random
from collections import OrderedDict
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from paratime.errors import InputError
from paratime.io.saved.archives import check_archive, check_shards, read_archive


def test_flipped_bytes_are_refused_or_change_nothing(tmp_path):
    path, content = tmp_path / "a.pt", {"w": torch.randn(257), "n": [1, 2.5, "text", None]}
    torch.save(content, path)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = read_archive(path)
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert torch.equal(found["w"], content["w"]) and found["n"] == content["n"]
    assert refused > 100


@pytest.mark.parametrize("size", [0, 1, 100, -100, -1])
def test_cut_files_are_refused(tmp_path, size):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:size])
    for read in (read_archive, check_archive):
        with pytest.raises(InputError, match="expected a whole file of tensors"):
            read(path)


def test_packed_parts_are_refused(tmp_path):
    torch.save({"w": torch.ones(10)}, tmp_path / "a.pt")
    with ZipFile(tmp_path / "a.pt") as old, ZipFile(tmp_path / "b.pt", "w", ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match="a packed part"):
        check_archive(tmp_path / "b.pt")


def test_a_folder_without_a_description_is_refused(tmp_path):
    with pytest.raises(InputError, match="FileNotFoundError"):
        check_shards(tmp_path)
    (tmp_path / ".metadata").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="AttributeError"):
        check_shards(tmp_path)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"a": (1, {x: 2})}])
def test_classes_in_the_place_of_values_are_refused(wrap, tmp_path):
    torch.save(wrap(OrderedDict), tmp_path / "a")
    with pytest.raises(InputError, match="a class where there should be a value"):
        read_archive(tmp_path / "a")
    torch.save(wrap(torch.float32), tmp_path / "b")
    read_archive(tmp_path / "b")
