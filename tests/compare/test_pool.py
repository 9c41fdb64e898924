"""Processes of runs, and the locks on runs."""

import fcntl
import os
import signal
import subprocess
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest
from compare.small import only

from paratime.compare import pool
from paratime.compare.pool import Claim, warm_up
from paratime.main import build

FORKING = """\
import os, time
from pathlib import Path
from paratime import MinGRU

class Forking(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        if not Path("forked").exists():
            if child := os.fork():
                Path("forked").write_text(str(child))
            else:
                time.sleep(600)
                os._exit(0)
        return super().forward(x, h0, reset=reset, lengths=lengths)
"""


def test_what_a_mixer_starts_is_not_waited_for(folder, compare, monkeypatch):
    only(folder, "trajectories")
    (folder / "forking.py").write_text(FORKING)
    monkeypatch.syspath_prepend(folder)
    assert compare("--mixers", "[MinGRU, forking.Forking]")[0] == 0
    os.kill(int(Path("forked").read_text()), signal.SIGKILL)  # an error if it has ended


def test_a_claim_is_for_one(tmp_path):
    path = tmp_path / "run.lock"
    claim = Claim(path)
    with pytest.raises(BlockingIOError):
        Claim(path)
    claim.release()
    assert not path.exists()
    Claim(path).release()


def test_a_claim_is_of_the_file_that_others_see(tmp_path, monkeypatch):
    path, lock = tmp_path / "run.lock", fcntl.flock
    claims = [Claim(path)]

    def late(file: object, how: int) -> None:
        while claims:
            claims.pop().release()  # which removes what was opened to be locked
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    claim = Claim(path)
    with pytest.raises(BlockingIOError):
        Claim(path)
    claim.release()


def test_a_key_that_interrupts_ends_no_import_of_the_server_with_a_trace(monkeypatch):
    found, before = [], signal.getsignal(signal.SIGINT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(
        forkserver, "ensure_running", lambda: found.append(signal.getsignal(signal.SIGINT))
    )
    warm_up(build, 1)
    assert found == [signal.SIG_IGN], "which a new program inherits"
    assert signal.getsignal(signal.SIGINT) == before


def test_it_is_imported_where_fcntl_is_missing():
    names = [path.stem for path in Path(pool.__file__).parent.glob("*.py")]
    imports = "; ".join(f"import paratime.compare.{name}" for name in names)
    script = f"import sys; sys.modules['fcntl'] = None; {imports}"
    subprocess.run([sys.executable, "-c", script], check=True)
