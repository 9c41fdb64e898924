"""A file or a folder is there whole, or as it was."""

import pytest

from paratime.io.atomic import making, replacing


def test_a_file_appears_with_its_folders(tmp_path):
    with replacing(tmp_path / "deep" / "a.txt") as draft:
        draft.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"
    assert [x.name for x in (tmp_path / "deep").iterdir()] == ["a.txt"]


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as draft:
        draft.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [x.name for x in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "new"
    path.mkdir(parents=True)
    with pytest.raises(RuntimeError), making(path) as draft:
        draft.mkdir()
        raise RuntimeError
    assert not [*path.iterdir()]
    with making(path) as draft:
        draft.mkdir()
        (draft / "a.txt").write_text("new")
        assert draft.name == "new" and not [*path.iterdir()]
    assert (path / "a.txt").read_text() == "new"
    with pytest.raises(OSError), making(path) as draft:
        draft.mkdir()
    assert [x.name for x in (tmp_path / "deep").iterdir()] == ["new"]
    assert (path / "a.txt").read_text() == "new"
