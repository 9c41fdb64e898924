"""What goes wrong while mixers are compared, and that the comparison says so and goes on."""

import fcntl
import math
import signal
from multiprocessing import forkserver
from pathlib import Path

import pytest
from small import only, results

from paratime.cli import build
from paratime.compare.pool import Claim, warm_up

FORKING = """\
import os, time
from pathlib import Path
from paratime import MinGRU

class Forking(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        if not Path("forked").exists():
            Path("forked").touch()
            if os.fork() == 0:
                time.sleep(30)
                Path("late").touch()
                os._exit(0)
        return super().forward(x, h0, reset=reset, lengths=lengths)
"""


def test_what_a_mixer_starts_is_not_waited_for(folder, compare, monkeypatch):
    only(folder, "trajectories")
    (folder / "forking.py").write_text(FORKING)
    monkeypatch.syspath_prepend(folder)
    assert compare("--mixers", "[MinGRU, forking.Forking]")[0] == 0
    assert Path("forked").exists() and not Path("late").exists()


DIVERGED = """\
from paratime import MinGRU

class Diverged(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        y, state = super().forward(x, h0, reset=reset, lengths=lengths)
        return y * float("nan"), state

    def step(self, x, state=None, reset=None):
        y, state = super().step(x, state, reset)
        return y * float("nan"), state
"""


def test_a_model_that_diverged_is_not_a_number_and_never_the_best(folder, compare, monkeypatch):
    (folder / "diverged.py").write_text(DIVERGED)
    monkeypatch.syspath_prepend(folder)
    status, out = compare("--mixers", "[diverged.Diverged, MinGRU]")
    assert status == 0 and "6 of 6 runs finished" in out
    row = next(line for line in out.splitlines() if line.startswith("diverged.Diverged "))
    assert row.split()[2::2] == ["nan", "nan", "nan"]
    for run in results(Path("out")).values():
        unknown = [*map(math.isnan, run["quality"].values())]
        assert all(unknown) if run["mixer"] == "diverged.Diverged" else not unknown[0]
    assert "No text: logits: expected finite numbers" in Path("out/report.html").read_text()


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
