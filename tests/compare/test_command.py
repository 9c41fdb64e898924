"""``paratime compare`` from its config to its report: what is written, once, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml
from compare import grids
from compare.small import MIXERS, TASKS, change, only, refused, results

from paratime.compare import command
from paratime.compare.command import check_folder, finish
from paratime.compare.config import Comparison, DomainConfig
from paratime.compare.glossary import term
from paratime.compare.pool import Claim
from paratime.compare.results import Grid, Key, Result, cost
from paratime.compare.run import Job
from paratime.errors import InputError

ROOT = Path(__file__).parents[2]


QUICK, FULL = (ROOT / "configs/compare" / f"{name}.yaml" for name in ("quick", "full"))


PICTURES = {"tokens": "text", "series": "forecast", "trajectories": "rollout"}


BROKEN = """\
import os
from paratime import MinGRU

class Binary(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        os.write(1, bytes(range(256)))
        raise RuntimeError("behind bytes")

class Broken(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        raise RuntimeError("boom")

class Killed(MinGRU):
    def forward(self, x, h0=None, *, reset=None, lengths=None):
        os.kill(os.getpid(), 9)
"""


MINE = """\
from paratime import Recurrent
from paratime.cells.elman import ElmanCell

class Mine(Recurrent):
    def __init__(self, width):
        super().__init__(ElmanCell(width, width))
"""


def check_result(path: Path, domain: str, headline: str) -> None:
    result = Result.load(path)
    assert next(iter(result.quality)) == headline and min(result.quality.values()) >= 0
    assert len(result.curves["train/loss"]) == 4
    assert ("solver/iterations" in result.curves) == (result.mixer == "ParaGRU")
    assert {picture["kind"] for picture in result.pictures} == {PICTURES[domain]}
    assert min(cost(result).values()) >= 0 and result.cost["ms_per_generated_step"] > 0
    assert "torch" in result.cost["machine"] and result.cost["load"] >= 0
    names = [*result.quality, *(x for x in result.curves if not x.startswith("solver/"))]
    assert [x for x in names if term(domain, x) is None] == [], "a name without a meaning"
    assert result.settings["steps"] == 4 and result.settings["config"] == f"{domain}.yaml"


def test_a_grid_from_its_config_to_its_report(folder, compare):
    status, out = compare()
    assert status == 0 and out.count("seed 0") >= 6
    lines = out.splitlines()
    assert all(any(line.startswith(mixer) for line in lines) for mixer in MIXERS)
    assert Path(lines[-1].split()[-1]).is_file()
    grid = Grid.load("out/grid.json")
    assert [*grid.domains] == [*TASKS] and len(grid.results(Path("out"))) == 6
    for key in grid.runs():
        check_result(key.path(Path("out")), key.domain, grid.domains[key.domain]["headline"])
        assert [*Path("out/tensorboard", *key[:2], "seed-0").glob("events.*")]
    assert not [*Path("out/runs").rglob("seed-0.[!j]*")]
    written = {path: path.stat().st_mtime_ns for path in Path("out").rglob("seed-0.json")}
    table = Path("out/results.csv").read_bytes()
    Path("text.txt").unlink()  # what is finished needs no data
    assert compare()[0] == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert Path("out/results.csv").read_bytes() == table


def test_results_depend_on_the_seed_alone(folder, compare):
    only(folder, "series")
    claim = Claim(Key("series", "MinGRU", 0).lock(Path("out")))
    status, out = compare()
    assert status == 0 and "1 of 2 runs are finished; the report comes with the last" in out
    assert not Path("out/results.csv").exists()
    claim.release()
    assert compare()[0] == 0
    for shard in ("1/2", "2/2"):
        status, out = compare("--out", "parts", "--processes", 1, "--shard", shard)
        assert status == 0 and ("1 of 2 runs are finished; " in out) == (shard == "1/2")
    assert results(Path("out")) == results(Path("parts")) != {}
    assert Path("out/results.csv").read_bytes() == Path("parts/results.csv").read_bytes()
    assert compare("--out", "other", "--mixers", "[ParaGRU]", "--seeds", "[1]")[0] == 0
    first, other = (
        Result.load(f"{where}/runs/series/ParaGRU/seed-{seed}.json")
        for where, seed in (("out", 0), ("other", 1))
    )
    assert first.quality != other.quality and first.parameters == other.parameters


def test_a_run_that_fails_leaves_the_others_alone(folder, compare, monkeypatch):
    only(folder, "trajectories")
    broken = ["Broken", "Binary", "Killed"]
    change(folder, mixers=["ParaGRU", *(f"broken.{name}" for name in broken), "MinGRU"])
    (folder / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(folder)
    status, out = compare()
    assert status == 1 and "failed: RuntimeError: boom" in out
    assert "failed: The process ended with status -9." in out
    assert "failed: RuntimeError: behind bytes" in out
    error = Path("out/runs/trajectories/broken.Broken/seed-0.error.txt")
    assert "boom" in error.read_text() and f"failed, see {error}" in out
    assert len(results(Path("out"))) == 2 and Path("out/results.csv").is_file()
    (folder / "broken.py").write_text(
        "".join(f"from paratime import MinGRU as {name}\n" for name in broken)
    )
    status, out = compare()
    assert status == 0 and out.count("seed 0") == 3 and not error.exists()
    ours, theirs = (
        Result.load(f"out/runs/trajectories/{name}/seed-0.json")
        for name in ("broken.Broken", "MinGRU")
    )
    assert ours.quality == theirs.quality


def test_a_mixer_may_have_options_or_be_ones_own(folder, compare, monkeypatch):
    only(folder, "trajectories")
    blocks = {"class_path": "ParaGRU", "init_args": {"block_size": 4}}
    change(folder, mixers=["ParaGRU", blocks, "mine.Mine"])
    (folder / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(folder)
    status, out = compare()
    assert status == 0 and "\nParaGRU(block_size=4) " in out and "\nmine.Mine " in out
    first, other, _ = Grid.load("out/grid.json").results(Path("out"))
    assert other.mixer == "ParaGRU(block_size=4)" and first.quality != other.quality
    assert first.settings["mlp_size"] > other.settings["mlp_size"]


MISTAKES = {
    "entry": ("mixers", [{"name": "ParaGRU"}], ["mixers: expected names, or class_path and"]),
    "options": ("mixers", [{"class_path": "ParaGRU", "init_args": None}], ["mixers: expected nam"]),
    "mixer": ("mixers", ["ParaGRU", "Mamba9"], ["unknown class 'Mamba9'; nearest: Mamba"]),
    "twice": ("mixers", ["ParaGRU", "ParaGRU"], ["mixers: expected one or more, all different"]),
    "seed": ("seeds", [-1], ["seeds: expected at least 0, got -1"]),
    "large": ("seeds", [2**32], ["seeds: expected at most 4294967295, got 4294967296; lower it"]),
    "processes": ("processes", 0, ["processes: expected at least 1, got 0"]),
    "size": ("mixers", ["ParaGRU", "Mamba2"], ["Mamba2 on tokens: expected ", "raise mlp_size"]),
    "first": ("mixers", ["Mamba9"], ["unknown class 'Mamba9'; nearest: Mamba"]),
    "key": ("sedes", [1], ["unknown key 'sedes'; nearest: seeds"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name, folder, paratime):
    key, value, expected = MISTAKES[name]
    only(folder, "tokens")
    change(folder, **{key: value})
    refused(paratime("compare", "-c", "compare.yaml"), *expected)


def test_a_folder_is_of_one_comparison(folder, paratime):
    run = ("compare", "-c", "compare.yaml")
    refused(paratime(*run, "--shard", "3/2"), "shard: expected i/n", "got '3/2'")
    refused(paratime("compare", "report", "--out", "out"), "expected a folder with grid.json")
    config = yaml.safe_load((folder / "compare.yaml").read_text())
    domains = {name: DomainConfig(**values) for name, values in config.pop("domains").items()}
    Comparison(**config, domains=domains).grid().save("out/grid.json")
    refused(paratime(*run, "--seeds", "[0, 1]"), "out out: expected the seeds of out/grid.json")
    (folder / "tokens.yaml").write_text((folder / "tokens.yaml").read_text() + "\n")
    refused(paratime(*run), "out out: expected the domains of out/grid.json")


DOMAINS = {
    "another": ("tokens", "series.yaml", "domains.tokens: expected a config of LanguageTask, got"),
    "nowhere": ("tokens", "nowhere.yaml", "config: expected an existing file, got 'nowhere.yaml'"),
    "unknown": ("x", "tokens.yaml", "domains: expected tokens, series, trajectories, got 'x'"),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_has_a_config_of_its_kind(name, folder, paratime):
    domain, config, expected = DOMAINS[name]
    sizes = {"steps": 1, "width": 8, "depth": 1, "mlp_size": 8}
    change(folder, domains={domain: {"config": config, **sizes}})
    refused(paratime("compare", "-c", "compare.yaml"), expected)


def start(*options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "paratime", "compare", "-c", "compare.yaml", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # as on a terminal
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
def test_a_comparison_that_is_ended_goes_on(number, folder):
    assert start("--out", "whole").wait() == 0
    process = start()
    until = time.monotonic() + 120
    while not results(Path("out")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)
    expected = 130 if number == signal.SIGINT else -number
    assert process.wait() == expected
    time.sleep(1)
    finished = results(Path("out"))
    time.sleep(5)
    assert results(Path("out")) == finished and 0 < len(finished) < 6, "nobody goes on alone"
    assert start().wait() == 0
    assert Path("out/results.csv").read_bytes() == Path("whole/results.csv").read_bytes()
    assert results(Path("out")) == results(Path("whole"))


@pytest.mark.slow
def test_the_demo_ends_with_all_mixers_on_all_kinds_of_data(paratime, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    status, out, err = paratime("compare", "-c", QUICK, "--out", tmp_path)
    assert status == 0, err
    found = Grid.load(tmp_path / "grid.json").results(tmp_path)
    worst = {"tokens": 4.0, "series": 0.11, "trajectories": 0.1}
    assert len(found) == 24 and out.splitlines()[-1].startswith("report")
    for result in found:
        assert next(iter(result.quality.values())) <= worst[result.domain]


@pytest.mark.slow
def test_two_comparisons_at_once_share_the_work(folder):
    assert start("--out", "whole").wait() == 0
    both = [start(), start()]
    assert [process.wait() for process in both] == [0, 0]
    assert Path("out/results.csv").read_bytes() == Path("whole/results.csv").read_bytes()
    assert results(Path("out")) == results(Path("whole"))


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
