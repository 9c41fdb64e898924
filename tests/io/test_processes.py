"""Locks hold between processes, survive kills, and say what they wait for."""

import subprocess
import sys
import time

import pytest

from paratime.errors import InputError
from paratime.io import processes
from paratime.io.processes import alone_in, holding

HOLD = """
import sys, time
from paratime.io.processes import alone_in, holding
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
