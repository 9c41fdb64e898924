"""The benchmark of the CUDA kernels, without a GPU: made-up times, and kernels in emulation."""

import math
import re
from itertools import product

import bench
import clock
import contestants
import gate
import measure
import pandas as pd
import pytest
import report
import results
import session
import torch
from crossover import write_thresholds

from paratime.ops.native import device, library, targets
from paratime.testing import TOLERANCE, Tolerance

CPU = torch.device("cpu")
FORMATS = ("float32", "float64", "bfloat16", "float16")


@pytest.fixture
def emulation():
    with library.force_backend(targets.SIMT):
        yield


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Let the package's table be one of its own."""
    path = tmp_path / "thresholds.csv"
    path.write_bytes(device.TABLE.read_bytes())
    monkeypatch.setattr(device, "TABLE", path)
    device.thresholds.cache_clear()
    yield path
    device.thresholds.cache_clear()


def made_up(work) -> list[float]:
    """Run the work, and time it by what is given."""
    work()
    return [3.0, 1.0, 2.0]


def methods(channels=(64, 256, 1024, 4096)) -> pd.DataFrame:
    """Return times that are 5 step after step, and C / 100 in parallel; backward C / 50."""
    rows = [
        {"contestant": cell, "pass": direction, "format": format, "method": method, "D": c}
        | {"T": 2048, "ms": ms, "q1": 0.9 * ms, "q3": 1.1 * ms}
        for cell in ("gru1", "lstm1")
        for direction, rate in (("forward", 100), ("backward", 50))
        for format in FORMATS
        for c in channels
        for method, ms in (("sequential", 5.0), ("parallel", c / rate))
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_without_a_device_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for script in (bench, report):
        with pytest.raises(SystemExit) as stop:
            script.main([])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert re.fullmatch(r"this needs a GPU, and [^\n]* there is none\n", said)


@pytest.mark.parametrize("script", (bench, report))
def test_help_starts_nothing(script, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("it has started"))
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert stop.value.code == 0
    assert "--folder" in capsys.readouterr().out


def test_without_kernels_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(device, "has_kernel", lambda *_: False)
    with pytest.raises(SystemExit) as stop:
        bench.main([])
    assert stop.value.code == 2
    assert re.fullmatch(r"this needs CUDA kernels, and [^\n]*\n", capsys.readouterr().err)


def test_the_gate_opens_for_kernels_that_are_right(emulation):
    rows = list(gate.errors(CPU, (2, 60, 20)))
    assert len(rows) == 2 * 4 * 2
    assert all(0 <= row["value"] < 1 and row["right"] for row in rows)
    assert gate.gate_of(rows) == gate.Gate(frozenset())


@pytest.mark.parametrize("part", ("value", "gradient"))
def test_the_gate_stays_shut_for_others_alone(part, emulation, monkeypatch):
    strict = Tolerance(**{"value": 1.0, "gradient": 1.0, part: 1e-20})
    monkeypatch.setattr(gate, "TOLERANCE", TOLERANCE | {torch.float32: strict})
    found = gate.gate_of(gate.errors(CPU, (2, 60, 20)))
    for need in product(contestants.PARA, contestants.METHODS):
        assert not found.opens([need], "float32")
        assert found.opens([need], "float64")
    assert found.opens([], "float32")


@pytest.mark.parametrize("gaps", ((math.nan, 0.0), (0.0, math.nan)))
def test_the_gate_stays_shut_for_what_is_not_a_number(gaps, emulation, monkeypatch):
    monkeypatch.setattr(gate, "_gaps", lambda *_: gaps)
    assert not any(row["right"] for row in gate.errors(CPU, (2, 10, 8)))


def test_the_gate_stays_shut_for_what_cannot_be_launched(emulation, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("launch failed: out of luck")

    monkeypatch.setattr(gate, "_gaps", fail)
    assert not any(row["right"] for row in gate.errors(CPU, (2, 10, 8)))
    assert "ParaLSTM, parallel, torch.float16: launch failed" in capsys.readouterr().out


@pytest.mark.parametrize("method", contestants.METHODS)
def test_a_method_is_preferred_whatever_the_shape(method):
    for shape in ((1, 8, 3, 4), (64, 8, 3, 4096)):
        with contestants.preferring(method):
            u = torch.empty(shape, device="meta")
            assert device.choose("forward", u).method == method
            assert device.choose("backward", u).method == method


def rows_of(jobs) -> pd.DataFrame:
    return pd.DataFrame([row for job in jobs for row in job.rows(made_up)])


def test_kernels_are_timed_next_to_a_copy(emulation):
    rows = rows_of(measure.kernel_jobs(CPU, measure.DRY))
    assert len(rows) == 2 * 2 * 2 and (rows.copy_ms == 2).all() and (rows.share == 1).all()
    found = rows[(rows.contestant == "gru1") & (rows.format == "float32")].set_index("pass")
    one, weights = 4 * 2 * 6 * 8, 4 * 3 * 8  # bytes of y, and of the weights
    state = 4 * 2 * 8
    said = 12
    assert found.bytes["forward"] == 3 * one + one + weights + 2 * state + said
    assert found.bytes["backward"] == 2 * (3 * one + weights + state) + 2 * one


def test_kernels_are_timed_by_both_methods(emulation):
    rows = rows_of(measure.method_jobs(CPU, measure.DRY))
    keys = ["contestant", "method", "format", "D", "pass"]
    assert len(rows) == len(rows[keys].drop_duplicates()) == 2 * 2 * 2 * 2 * 2
    assert rows[["q1", "ms", "q3"]].values.tolist() == [[1.5, 2.0, 2.5]] * len(rows)


def test_layers_are_timed_in_both_passes(emulation):
    rows = rows_of(measure.layer_jobs(CPU, measure.DRY))
    expected = {"ParaGRU", "ParaLSTM, parallel", "ParaGRU, loop in Python", "torch.nn.LSTM"}
    assert expected < set(rows.contestant)
    assert (rows.groupby(["contestant", "format"]).size() == 2).all()
    wide = results.wide(rows)
    assert list(wide.columns) == ["layer", "1 x 8 x 16 forward", "1 x 8 x 16 both"]
    assert wide.notna().all(axis=None)


def test_a_loop_over_many_steps_is_left_out():
    names = contestants.contestants(contestants.LOOP_STEPS + 1, 16)
    assert "ParaGRU, Newton in torch" in names and "ParaGRU, loop in Python" not in names


def test_every_kernel_that_is_timed_must_be_right():
    """A wrong method of one layer shuts out all that runs on it, and nothing else."""
    shut = gate.Gate(frozenset({("ParaGRU", "parallel", "bfloat16")}))
    left = [x for x in measure.jobs(CPU, measure.DRY) if shut.opens(x.needs, x.format)]
    names = [f"{x.what} {x.name} {x.format}" for x in left]
    wrong = [x for x in names if "bfloat16" in x and ("gru1" in x or "ParaGRU" in x)]
    assert {x.split(" 1 x")[0] for x in wrong} == {
        "layer ParaGRU, sequential",
        "layer ParaGRU, Newton in torch",
        "layer ParaGRU, loop in Python",
    }
    assert "language ParaLSTM, 2 blocks of 8 bfloat16" in names
    assert "kernel gru1 2 x 6 x 8 float32" in names


def job(what="kernel", name="a job", error=None, ours=True, needs=()) -> measure.Job:
    def rows(clock):
        yield {"what": what, "contestant": name, "ms": clock(lambda: None)[0]}
        if error is not None:
            raise error

    return measure.Job(what, name, "float32", rows, needs, ours)


@pytest.fixture
def times(tmp_path) -> results.Table:
    return results.Table(tmp_path / "results.csv", results.TIMES, device="a GPU, 80 GB")


def run(jobs, times, deadline=None, wrong=()) -> list[session.Skipped]:
    opened = gate.Gate(frozenset(wrong))
    return list(session.work_through(jobs, opened, made_up, times, deadline or session.Deadline()))


@pytest.mark.parametrize(
    ("error", "ours", "failed"),
    [
        (RuntimeError("no such kernel"), True, True),
        (RuntimeError("no such kernel"), False, False),
        (torch.OutOfMemoryError("out of memory"), True, False),
        (ImportError("no such package"), True, False),
    ],
)
def test_what_fails_is_named_and_the_rest_goes_on(error, ours, failed, times):
    first, second = job(name="first", error=error, ours=ours), job(name="second")
    (skipped,) = run([first, second], times)
    assert skipped.name == "first, float32" and str(error) in skipped.reason
    assert skipped.failed == failed
    assert list(times.frame().contestant) == ["first", "second"]


def test_what_is_wrong_is_not_timed(times):
    need = ("ParaGRU", "parallel")
    jobs = [job(name="on it", needs=(need,)), job(name="not on it")]
    (skipped,) = run(jobs, times, wrong=[(*need, "float32")])
    assert skipped.failed and skipped.name == "on it, float32"
    assert list(times.frame().contestant) == ["not on it"]


def test_what_does_not_fit_is_named(times):
    """Jobs of 3 seconds, of a stage that is taken to last 4 at first, in 20 seconds."""
    at = [0.0]

    def slow(work) -> list[float]:
        at[0] += 3.0
        return [1.0]

    jobs = [job(name=f"job {i}") for i in range(9)] + [job("language", "a model")]
    before = session.Deadline(20.0, lambda: at[0])
    skipped = list(session.work_through(jobs, gate.Gate(frozenset()), slow, times, before))
    assert [row["contestant"] for row in times.rows] == [f"job {i}" for i in range(6)]
    assert [x.name for x in skipped] == [f"{x.name}, float32" for x in jobs[6:]]
    assert {(x.reason, x.failed) for x in skipped} == {("no time is left", False)}


def test_a_row_is_on_the_disk_as_soon_as_it_is_measured(times):
    for n in range(3):
        found = pd.read_csv(times.path)
        assert len(found) == n and list(found.columns) == list(results.TIMES)
        times.add({"what": "kernel", "ms": 1 / 3})
    assert set(found.device) == {"a GPU, 80 GB"} and set(found.ms) == {0.3333}


def test_crossovers_are_where_made_up_times_meet():
    """At 5 % more than 5, for which the sequential kernel is still preferred."""
    found = results.crossovers(methods())
    assert len(found) == 2 * 2 * len(FORMATS)
    by_direction = found.groupby("direction").channels.unique()
    assert by_direction["forward"] == [480] and by_direction["backward"] == [240]
    beyond = results.crossovers(methods((64, 128)))
    assert (beyond.channels == 129).all()


def test_no_crossover_is_made_of_one_method_or_one_point():
    both = methods()
    assert results.crossovers(both[both.method == "parallel"]).empty
    assert results.crossovers(both[both.D == 64]).empty
    assert results.thresholds(results.crossovers(both.iloc[:0])) == {}


def test_thresholds_are_written_as_the_package_reads_them(table):
    found = results.thresholds(results.crossovers(methods()))
    assert len(found) == 2 * len(FORMATS)
    write_thresholds(found, "measured on a GPU, 80 GB")
    expected = {("forward", x): 480 for x in FORMATS} | {("backward", x): 240 for x in FORMATS}
    assert device.thresholds() == expected
    assert set(pd.read_csv(table).source) == {"measured on a GPU, 80 GB"}


def test_other_thresholds_stay(table):
    before = dict(device.thresholds())
    write_thresholds({("forward", "float32"): 7}, "measured")
    assert device.thresholds() == before | {("forward", "float32"): 7}
    assert list(table.parent.iterdir()) == [table]


def test_a_table_that_cannot_be_written_stays_as_it_was(table, monkeypatch):
    def fail(*_, **__):
        raise OSError("no space left")

    before = table.read_bytes()
    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="no space left"):
        write_thresholds({("forward", "float32"): 7}, "measured")
    assert table.read_bytes() == before
    assert list(table.parent.iterdir()) == [table]


@pytest.mark.parametrize(("each", "runs"), [(1.0, 20), (300.0, 7), (5000.0, 1)])
def test_the_clock_stops_at_its_budget(each, runs, monkeypatch):
    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            pass

        def elapsed_time(self, other):
            return each

    calls = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(clock, "FLUSH", 64)
    times = clock.EventClock(CPU)(lambda: calls.append(1))
    assert times == [each] * runs
    assert len(calls) == runs + (2 if each < 2000 else 1)


@pytest.fixture
def small(monkeypatch, emulation) -> None:
    """Make a run of everything one of seconds, in emulation."""
    monkeypatch.setattr(bench, "find_device", lambda: CPU)
    monkeypatch.setattr(bench, "EventClock", lambda where: made_up)
    monkeypatch.setattr(bench, "SIZES", measure.DRY)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "a made-up GPU")


def test_the_whole_run(small, table, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "results"
    monkeypatch.setattr(bench, "HERE", folder)
    with pytest.raises(SystemExit) as stop:
        bench.main([])
    assert stop.value.code == 0
    rows = pd.read_csv(folder / "results.csv")
    assert set(rows.what) == {"kernel", "layer", "method", "language"}
    assert set(rows.device) == {"a made-up GPU"}
    assert (folder / "bench.png").stat().st_size > 10_000
    assert len(pd.read_csv(folder / "accuracy.csv")) == 16
    assert device.thresholds()["forward", "float32"] == 64  # equal times: the sequential kernel
    assert "measured on a made-up GPU" in set(pd.read_csv(table).source)
    assert "1 x 8 x 16 forward" in capsys.readouterr().out


def test_a_run_that_changes_nothing_here(small, table, tmp_path, monkeypatch):
    here, folder, before = tmp_path / "here", tmp_path / "a" / "b", table.read_bytes()
    monkeypatch.setattr(bench, "HERE", here)
    monkeypatch.setattr(bench, "jobs", lambda where, sizes: [job()])
    monkeypatch.setattr(bench, "draw", lambda times, path: path.touch())
    with pytest.raises(SystemExit):
        bench.main(["--folder", str(folder), "--no-thresholds"])
    assert {x.name for x in folder.iterdir()} == {"accuracy.csv", "results.csv", "bench.png"}
    assert table.read_bytes() == before and not here.exists()
