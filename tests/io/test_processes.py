"""Locks hold between processes, survive kills, and say what they wait for."""

import subprocess
import sys
import time

import pytest

from paratime.errors import InputError
from paratime.io import processes
from paratime.io.processes import alone_in, holding, read_on_trial

HOLD = """
import sys, time
from paratime.io.processes import alone_in, holding, read_on_trial
path, seconds, kind = sys.argv[1:]
with holding(path, "builds it") if kind == "file" else alone_in(path):
    print("held", flush=True)
    time.sleep(float(seconds))
"""


def holder(path, seconds, kind="file"):
    command = [sys.executable, "-c", HOLD, str(path), str(seconds), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


@pytest.mark.parametrize("patience, messages", [(0.1, 1), (100, 0)])
def test_a_process_waits_and_says_so_once_if_it_takes_long(
    tmp_path, caplog, monkeypatch, patience, messages
):
    monkeypatch.setattr(processes, "PATIENCE", patience)
    other = holder(tmp_path / "a.lock", 1)
    assert other.stdout.readline() == b"held\n"
    begun = time.monotonic()
    with holding(tmp_path / "a.lock", "builds it"):
        assert time.monotonic() - begun > 0.5
    other.communicate(timeout=60)
    assert caplog.messages == ["waiting for another process that builds it"] * messages


def test_a_lock_dies_with_its_process(tmp_path):
    other = holder(tmp_path / "a.lock", 60)
    assert other.stdout.readline() == b"held\n"
    other.kill()
    other.communicate(timeout=60)
    with holding(tmp_path / "a.lock", "builds it"):
        pass


def test_a_folder_has_one_writer(tmp_path):
    other = holder(tmp_path / "new", 60, "folder")
    assert other.stdout.readline() == b"held\n"
    refused = pytest.raises(InputError, match=r"out .*new: expected a folder that no other process")
    with refused, alone_in(tmp_path / "new"):
        raise AssertionError
    other.kill()
    other.communicate(timeout=60)
    with alone_in(tmp_path / "new"):
        pass


def test_locks_are_released_by_errors_and_links_are_not_followed(tmp_path):
    with pytest.raises(RuntimeError), alone_in(tmp_path):
        raise RuntimeError
    with alone_in(tmp_path):
        pass
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), alone_in(tmp_path / "new"):
        raise AssertionError
    assert not (tmp_path / "elsewhere").exists()


TRIALS = """
import ctypes, os, signal, time
from pathlib import Path

def fine(path):
    with open(Path(path).with_name("count"), "a") as file:
        file.write("x")

def crash(path):
    ctypes.string_at(0)

def bus(path):
    os.kill(os.getpid(), signal.SIGBUS)

def hang(path):
    time.sleep(600)

def greedy(path):
    bytearray(2**40)

def error(path):
    raise ValueError("no such thing")
"""


@pytest.mark.parametrize(
    "name, message",
    [
        ("crash", "one that ends the process that reads it, by signal 11"),
        ("bus", "by signal 7"),
        ("hang", "one that cannot be read in time"),
        ("greedy", "cannot be read: MemoryError"),
        ("error", "cannot be read: ValueError: no such thing"),
        ("fine", None),
    ],
)
def test_a_file_that_ends_its_reader_is_refused(tmp_path, monkeypatch, name, message):
    (tmp_path / "trials_of_files.py").write_text(TRIALS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(processes, "SECONDS", 10 if name == "hang" else 100)
    file = tmp_path / "a.bin"
    file.write_bytes(b"x")
    if message:
        with pytest.raises(InputError, match=message):
            read_on_trial(file, "trials_of_files", name)
        return
    for content in (b"x", b"x", b"xy"):
        if content != b"x":
            file.write_bytes(content)
        read_on_trial(file, "trials_of_files", name)
    assert (tmp_path / "count").read_text() == "xx", "a file that has not changed is read once"
