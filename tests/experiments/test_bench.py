"""The benchmark of the CUDA kernels, without a GPU: made-up times, and kernels in emulation."""

import math

import bench
import clock
import contestants
import gate
import pandas as pd
import pytest
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


def kernels(channels=(64, 256, 1024, 4096)) -> pd.DataFrame:
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


def test_without_a_device_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^this needs a GPU, and [^\n]* there is none$"):
        bench.main([])


def test_help_starts_nothing(monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_device", lambda: pytest.fail("the benchmark has started"))
    with pytest.raises(SystemExit) as stop:
        bench.main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "--folder" in said and "--no-thresholds" in said


def test_without_kernels_it_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(device, "has_kernel", lambda *_: False)
    with pytest.raises(SystemExit, match=r"^this needs CUDA kernels, and [^\n]*$"):
        bench.main([])


def test_the_gate_opens_for_kernels_that_are_right(emulation):
    rows = gate.errors(CPU, (2, 60, 20))
    assert len(rows) == 2 * 4 * 2
    assert all(0 <= row["value"] < 1 for row in rows)


@pytest.mark.parametrize("part", ("value", "gradient"))
def test_the_gate_stays_shut_for_others(part, emulation, monkeypatch):
    strict = Tolerance(**{"value": 1.0, "gradient": 1.0, part: 1e-20})
    monkeypatch.setattr(gate, "TOLERANCE", TOLERANCE | {torch.float32: strict})
    with pytest.raises(SystemExit, match=r"^nothing is timed, because this is wrong: .*float32"):
        gate.errors(CPU, (2, 60, 20))


def test_the_gate_stays_shut_for_what_is_not_a_number(emulation, monkeypatch):
    monkeypatch.setattr(gate, "_gaps", lambda *_: (math.nan, 0.0))
    with pytest.raises(SystemExit, match="nothing is timed"):
        gate.errors(CPU, (2, 10, 8))


@pytest.mark.parametrize("method", contestants.METHODS)
def test_a_method_is_preferred_whatever_the_shape(method):
    for shape in ((1, 8, 3, 4), (64, 8, 3, 4096)):
        with contestants.preferring(method):
            u = torch.empty(shape, device="meta")
            assert device.choose("forward", u).method == method
            assert device.choose("backward", u).method == method


def test_kernels_are_timed_by_both_methods(emulation):
    rows = pd.DataFrame(bench.sweep(CPU, made_up, (64, 128), 20, ("float32", "bfloat16")))
    keys = ["contestant", "method", "format", "D", "pass"]
    assert len(rows) == len(rows[keys].drop_duplicates()) == 2 * 2 * 2 * 2 * 2
    assert rows[["q1", "ms", "q3"]].values.tolist() == [[1.5, 2.0, 2.5]] * len(rows)


def test_layers_are_timed_in_both_passes(emulation):
    rows = pd.DataFrame(bench.compete(CPU, made_up, ((2, 9, 16),)))
    expected = {"ParaGRU", "ParaLSTM, parallel", "ParaGRU, loop in Python", "torch.nn.LSTM"}
    assert expected < set(rows.contestant)
    assert (rows.groupby(["contestant", "format"]).size() == 2).all()
    wide = bench.wide(rows)
    assert list(wide.columns[2:]) == ["2 x 9 x 16 forward", "2 x 9 x 16 both"]
    assert wide.notna().all(axis=None)


def test_a_loop_over_many_steps_is_left_out():
    shape = (1, contestants.LOOP_STEPS + 1, 16)
    names = contestants.contestants(shape, CPU, torch.float32)
    assert "ParaGRU, Newton in torch" in names and "ParaGRU, loop in Python" not in names


def test_only_ours_must_run(capsys):
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("no such kernel")

    class Large(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("out of memory")

    x = torch.randn(1, 5, 4)
    other = contestants.Contestant(Broken(), ours=False)
    assert bench.time_layer("a peer", other, x, made_up) == []
    assert "a peer, forward at 1 x 5 x 4, torch.float32 is not timed" in capsys.readouterr().out
    assert bench.time_layer("ours", contestants.Contestant(Large()), x, made_up) == []
    with pytest.raises(RuntimeError, match="no such kernel"):
        bench.time_layer("ours", contestants.Contestant(Broken()), x, made_up)


def test_crossovers_are_where_made_up_times_meet():
    """At 5 % more than 5, for which the sequential kernel is still preferred."""
    found = bench.crossovers(kernels())
    assert len(found) == 2 * 2 * len(FORMATS)
    by_direction = found.groupby("direction").channels.unique()
    assert by_direction["forward"] == [480] and by_direction["backward"] == [240]
    beyond = bench.crossovers(kernels((64, 128)))
    assert (beyond.channels == 129).all()


def test_thresholds_are_written_as_the_package_reads_them(table):
    found = bench.thresholds(bench.crossovers(kernels()))
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
    monkeypatch.setattr(bench, "errors", lambda where: gate.errors(where, (1, 20, 8)))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "a made-up GPU")
    others = bench.sweep.__defaults__[2:]
    monkeypatch.setattr(bench.sweep, "__defaults__", ((64, 128), 8, *others))
    monkeypatch.setattr(bench.compete, "__defaults__", (((1, 8, 16), (2, 8, 16)),))


def test_the_whole_run(small, table, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(bench, "HERE", folder)
    bench.main([])
    results = pd.read_csv(folder / "results.csv")
    assert set(results.what) == {"kernel", "layer"}
    assert set(results.device) == {"a made-up GPU"}
    assert (folder / "bench.png").stat().st_size > 10_000
    assert len(pd.read_csv(folder / "accuracy.csv")) == 16
    assert set(device.thresholds().values()) == {64}  # equal times: the sequential kernel
    assert set(pd.read_csv(table).source) == {"measured on a made-up GPU"}
    assert "2 x 8 x 16 forward" in capsys.readouterr().out


def test_a_run_that_changes_nothing_here(small, table, tmp_path, monkeypatch):
    here, folder, before = tmp_path / "here", tmp_path / "a" / "b", table.read_bytes()
    monkeypatch.setattr(bench, "HERE", here)
    monkeypatch.setattr(bench, "draw", lambda kernels, layers, path: path.touch())
    bench.main(["--folder", str(folder), "--no-thresholds"])
    assert {x.name for x in folder.iterdir()} == {"accuracy.csv", "results.csv", "bench.png"}
    assert table.read_bytes() == before and not here.exists()
