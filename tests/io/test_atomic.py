"""A file or a folder is there whole, or as it was, whatever lies next to it and whoever writes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paratime.errors import InputError
from paratime.io import atomic
from paratime.io.atomic import making, replacing

WRITER = """
import sys, time
from paratime.io.atomic import replacing, making
kind, path, text, seconds = sys.argv[1:]
with (replacing if kind == "file" else making)(path) as draft:
    if kind == "folder":
        draft.mkdir()
        draft = draft / "a.txt"
    with open(draft, "w") as file:
        for letter in text * 20000:
            file.write(letter)
        file.flush()
        print("half", flush=True)
        time.sleep(float(seconds))
        file.write("end")
"""


def writer(kind, path, text="x", seconds="0"):
    command = [sys.executable, "-c", WRITER, kind, str(path), text, seconds]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def write(path, text):
    with replacing(path) as draft:
        draft.write_text(text)


def names(folder):
    return sorted(x.name for x in folder.iterdir())


@pytest.fixture(autouse=True)
def new_process():
    """Let each test look for what killed processes left, as a new process would."""
    atomic._remove_abandoned.cache_clear()


def test_a_file_appears_with_its_folders(tmp_path):
    with replacing(tmp_path / "deep" / "a.txt") as draft:
        draft.write_text("new")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"
    assert names(tmp_path / "deep") == ["a.txt"]


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as draft:
        draft.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


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
    assert names(tmp_path / "deep") == ["new"]
    assert (path / "a.txt").read_text() == "new"


@pytest.mark.parametrize(
    "name", ["a.txt.draft", ".a.txt.draft", "a.txt.part", "a.txt.tmp", ".a.txt.paratime-"]
)
def test_neighbours_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    outside = tmp_path / "outside"
    outside.write_text("mine, too")
    (tmp_path / f"{name}.link").symlink_to(outside)
    write(tmp_path / "a.txt", "new")
    assert (tmp_path / name).read_text() == "mine" and outside.read_text() == "mine, too"
    assert (tmp_path / "a.txt").read_text() == "new" and len(names(tmp_path)) == 4


def test_names_are_not_repeated_and_only_the_owner_enters(tmp_path):
    folders = set()
    for _ in range(5):
        with replacing(tmp_path / "a.txt") as draft:
            folders.add(draft.parent.name)
            assert draft.parent.stat().st_mode & 0o777 == 0o700 and not draft.exists()
            draft.write_text("new")
    assert len(folders) == 5


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_open(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write(tmp_path / "a.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode
    (tmp_path / "a.txt").chmod(0o640)
    write(tmp_path / "a.txt", "newer")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_keeps_pointing(tmp_path, exists):
    (tmp_path / "far").mkdir()
    if exists:
        (tmp_path / "far" / "a.txt").write_text("old")
    (tmp_path / "link").symlink_to(Path("far", "a.txt"))
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "far" / "a.txt").read_text() == "new"
    assert names(tmp_path / "far") == ["a.txt"]


def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"), replacing(tmp_path / "loop"):
        raise AssertionError
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "device"), ("/dev/null", "dev")):
        with pytest.raises(InputError, match=what), replacing(path):
            raise AssertionError
    assert names(tmp_path) == ["loop", "pipe"]


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 120, "-rf", "a\nb", "..x", ".paratime-", "$x*"])
def test_any_name_will_do(tmp_path, name):
    write(tmp_path / name, "new")
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "new"


def test_a_folder_that_cannot_be_written_is_named_by_its_file(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied", "random")

    monkeypatch.setattr(atomic.tempfile, "mkdtemp", refuse)
    with pytest.raises(PermissionError, match=r"a\.txt"):
        write(tmp_path / "a.txt", "new")


def test_two_writers_never_mix(tmp_path):
    path = tmp_path / "a.txt"
    writers = [writer("file", path, text) for text in "abcd"]
    for each in writers:
        each.communicate(timeout=60)
        assert each.returncode == 0
    assert path.read_text() in {letter * 20000 + "end" for letter in "abcd"}
    assert names(tmp_path) == ["a.txt"]


def test_of_two_makers_one_wins(tmp_path):
    path = tmp_path / "new"
    makers = [writer("folder", path, text) for text in "abc"]
    for each in makers:
        each.communicate(timeout=60)
    assert sorted(x.returncode for x in makers) == [0, 1, 1]
    assert (path / "a.txt").read_text() in {letter * 20000 + "end" for letter in "abc"}
    assert names(tmp_path) == ["new"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_leaves_is_removed_and_what_another_writes_is_not(
    tmp_path, kind, monkeypatch
):
    monkeypatch.setattr(atomic, "FRESH", -1.0)
    dead, alive = (writer(kind, tmp_path / x, seconds="60") for x in ("dead", "alive"))
    try:
        for each in (dead, alive):
            assert each.stdout.readline() == b"half\n"
        dead.kill()
        dead.communicate(timeout=60)
        assert len(names(tmp_path)) == 2
        write(tmp_path / "other", "new")
        drafts = names(tmp_path)
        assert len(drafts) == 2 and drafts[0].startswith(".alive.paratime-")
        assert drafts[1] == "other"
    finally:
        for each in (alive, dead):
            each.kill()
            each.communicate(timeout=60)
    write(tmp_path / "other", "newer")  # the same process has looked before
    assert len(names(tmp_path)) == 2


def test_a_fresh_draft_is_never_removed(tmp_path):
    left = tmp_path / ".a.txt.paratime-abcdefgh"
    left.mkdir()
    write(tmp_path / "a.txt", "new")
    assert left.exists()
    hour = time.time() - 3600
    os.utime(left, (hour, hour))
    atomic._remove_abandoned.cache_clear()
    write(tmp_path / "a.txt", "newer")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.2])
def test_a_kill_at_any_time_leaves_the_old_file_or_the_new_one(tmp_path, delay):
    path = tmp_path / "a.txt"
    path.write_text("old")
    running = writer("file", path, seconds="0.05")
    running.stdout.readline()
    time.sleep(delay)
    running.kill()
    running.communicate(timeout=60)
    assert path.read_text() in ("old", "x" * 20000 + "end")
