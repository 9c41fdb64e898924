"""What goes wrong while mixers are compared, and that the comparison says so and goes on."""

import fcntl
import math
import os
import signal
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
import yaml
from compare import grids
from compare.small import change, only, refused, results

from paratime.compare import command
from paratime.compare.command import check_folder, finish
from paratime.compare.config import Comparison, Domain
from paratime.compare.matching import jobs_of
from paratime.compare.pool import Claim, warm_up
from paratime.compare.result import Key
from paratime.compare.run import Job, measure
from paratime.errors import InputError
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


def test_a_file_that_was_cut_off_is_named(tmp_path, paratime):
    out = grids.make(tmp_path / "out", replace(grids.GRID, seeds=[0]))
    for name in ("runs/series/Mamba/seed-0.json", "grid.json"):
        path = out / name
        whole = path.read_text()
        for text in ("", whole[:100], "{}", "[]"):
            path.write_text(text)
            expected = f"{path}: expected a file that paratime compare wrote", "; remove it, and"
            refused(paratime("compare", "report", "--out", out), *expected)
            with pytest.raises(InputError, match="remove it"):
                check_folder(out, replace(grids.GRID, seeds=[0]))
        path.write_text(whole)


def test_out_is_a_folder(folder, paratime):
    Path("out").touch()
    refused(paratime("compare", "-c", "compare.yaml"), "out: expected a folder, got the file 'out'")


def test_of_two_comparisons_that_begin_at_once_one_has_the_folder(folder, paratime, monkeypatch):
    def other_is_faster(comparison: Comparison, keys: list[Key], build: object) -> list[Job]:
        replace(comparison, title="other").grid().save("out/grid.json")
        return []

    monkeypatch.setattr(command, "warm_up", lambda *arguments: None)
    monkeypatch.setattr(command, "jobs_of", other_is_faster)
    run = paratime("compare", "-c", "compare.yaml")
    refused(run, "out out: expected the title of out/grid.json, got others")


def test_a_comparison_is_not_finished_before_its_last_run(tmp_path, capsys):
    out = grids.make(tmp_path, change=lambda run: None if run.mixer == "Mamba" else run)
    assert finish(out, grids.GRID)
    assert capsys.readouterr().out.startswith("63 of 72 runs are finished; ")


NAMES = (
    *("ParaGRU(path=../../../x)", "ParaGRU(path=///x)", "ParaGRU(path=/x)", "/x", ".", ".."),
    *("ParaGRU(a={'b': 'c'})", "ParaGRU(a=é)", "ParaGRU(a=è)", 300 * "x", 301 * "x"),
)


def test_a_run_lies_in_its_folder_whatever_its_mixer_is_called(tmp_path):
    paths = [Key("tokens", name, 0).path(tmp_path) for name in NAMES]
    assert len({*paths}) == len(NAMES)
    assert {path.resolve().parents[1] for path in paths} == {tmp_path / "runs" / "tokens"}
    for path in paths:
        Claim(path).release()
    plain = Path("tokens", "ParaGRU(block_size=4)", "seed-0")
    assert Key("tokens", "ParaGRU(block_size=4)", 0).place == plain


def first_job(folder: Path) -> Job:
    """Return the first job of ``compare.yaml``."""
    config = yaml.safe_load((folder / "compare.yaml").read_text())
    domains = {name: Domain(**values) for name, values in config.pop("domains").items()}
    comparison = Comparison(**config, domains=domains)
    return jobs_of(comparison, comparison.grid().runs()[:1], build)[0]


def test_a_config_that_was_edited_since_is_not_used(folder):
    only(folder, "trajectories")
    job, path = first_job(folder), folder / "trajectories.yaml"
    path.write_text(path.read_text() + "# edited\n")
    with pytest.raises(InputError, match=r"config trajectories.yaml: expected what it was"):
        measure(job, build, lambda step, loss: None)


def test_a_run_that_ends_before_its_last_step_is_none(folder):
    only(folder, "trajectories")
    config = yaml.safe_load((folder / "compare.yaml").read_text())
    sooner = {"trainer.max_epochs": 1, "trainer.limit_train_batches": 2}
    config["domains"]["trajectories"]["overrides"] = sooner
    change(folder, domains=config["domains"])
    with pytest.raises(InputError, match=r"steps: expected 4, got 2; .*trainer.max_epochs"):
        measure(first_job(folder), build, lambda step, loss: None)


def test_overrides_are_of_what_a_comparison_does_not_set(folder):
    with pytest.raises(InputError, match=r"overrides: expected .*got 'model.encoder.width'"):
        Domain("tokens.yaml", 1, 8, 1, 8, {"model.encoder.width": 16})
