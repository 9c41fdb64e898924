"""The model of the CUDA kernels' times: its limits, its units, and what follows from it."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import roofline
import torch
from crossover import crossover, rounded
from kernels import CELLS, FORMATS, TABLE, Code, Codes, Missing, read_codes
from loops import Staging
from machines import MACHINES, assumptions
from model import (
    KERNELS,
    SEQUENTIAL_THREADS,
    Problem,
    backward_scan,
    forward_newton,
    forward_sequential,
    look_back_latency,
    newton_shared,
    scan_shared,
    scan_threads,
)

from paratime.ops.native import build, device, library, targets

NAMES = ("forward_sequential", "backward_sequential", "forward_newton", "scan_tiles")
CODES = Codes(
    {
        (machine.arch, name, cell.code, format.code): Code(64, 60.0, 6.0, 20.0)
        for machine in MACHINES.values()
        for name in NAMES
        for cell in CELLS.values()
        for format in FORMATS.values()
    }
)
H100 = MACHINES["H100"]


def problem(
    channels: int, *, cell: str = "gru1", format: str = "float32", steps: int = 8192, **changes
) -> Problem:
    machine = replace(H100, **changes)
    return Problem(1, steps, channels, CELLS[cell], FORMATS[format], machine, CODES)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("kernel", "units"), [("forward", 4), ("backward", 8)])
def test_with_many_channels_the_time_is_that_of_the_bytes(kernel, units, format):
    p = problem(2**22, format=format, doubles=10**6, mufu=10**6, issue=10**6)
    found = KERNELS[kernel, "sequential"](p)
    assert found.bytes == units * p.elements * FORMATS[format].size
    assert found.bound == "memory"
    assert found.time - H100.launch == pytest.approx(found.bytes / (0.9 * 3.35e12))


def test_the_lstm_moves_its_memory_as_well():
    p = problem(64, cell="lstm2", format="bfloat16")
    assert forward_sequential(p).bytes == p.elements * (8 * 2 + 2 * 4)
    assert backward_scan(p).bytes == p.elements * (16 * 2 + 2 * 4)


def test_with_few_channels_the_time_is_that_of_the_chain_of_steps():
    """Of r, h r, c and h': nine additions or products, two exponentials and two reciprocals."""
    clocks = 9 * 4 + 4 * 20
    found = forward_sequential(problem(32, memory_latency=0))
    assert found.bound == "latency"
    assert found.time - H100.launch == pytest.approx(8192 * clocks / 1.98e9)
    found = forward_sequential(problem(32, memory_latency=4000))
    assert found.latency == pytest.approx(8192 * 1000 / 1.98e9)


def test_the_issue_time_is_that_of_the_busiest_scheduler():
    """528 blocks of two warps are four a multiprocessor, and two warps a scheduler."""
    found = forward_sequential(problem(528 * 64))
    assert found.issue == pytest.approx(2 * 8192 * 60 / 1.98e9)
    assert found.instructions == 528 * 2 * 8192 * 60
    narrow = forward_sequential(problem(528 * 64, mufu=8))
    assert narrow.issue == pytest.approx(2 * 8192 * 6 * 32 / 2 / 1.98e9)


def test_newton_issues_once_an_iteration_and_once_to_write():
    few, many = (forward_newton(problem(4096, iterations=n)) for n in (1, 3))
    assert many.instructions == 2 * few.instructions
    assert many.issue == pytest.approx(2 * few.issue)


@pytest.mark.parametrize("lanes", device.LANES)
def test_rows_that_fill_no_sector_cost_more_of_the_cache(lanes):
    found = forward_newton(problem(4096, format="bfloat16"), lanes)
    whole = found.bytes / (5120 * 0.6 * 1.98e9)
    assert found.cache == pytest.approx(whole * max(1, 16 / lanes))


def with_code(p: Problem, **changes) -> Problem:
    return replace(p, codes=Codes({key: replace(x, **changes) for key, x in CODES.table.items()}))


@pytest.mark.parametrize(
    ("lanes", "forward", "backward"), [(32, 24 * 3 / 8 + 2 * 3 / 32, 24 * 5 / 8), (1, 30, 40)]
)
def test_staging_is_issued_once_a_step(lanes, forward, backward):
    """A copy of 8 numbers takes 24 instructions, one of a number 8, and a prefetch 2."""
    p = problem(4096, format="bfloat16")
    staged = with_code(p, staging=Staging(copy=24, number=8, line=2))
    found = forward_newton(staged, lanes).instructions / forward_newton(p, lanes).instructions
    assert found == pytest.approx(1 + forward / (4 * 60))
    staged = with_code(p, staging=Staging(copy=24, number=8))
    found = backward_scan(staged, lanes).issue / backward_scan(p, lanes).issue
    assert found == pytest.approx(1 + backward / (2 * 60))


def test_channels_that_fill_no_copy_are_staged_one_by_one():
    each = Staging(copy=24, number=8)
    p = with_code(problem(4094, cell="lstm1", format="bfloat16"), staging=each)
    assert p.staging("scan_tiles", 32) == 8 * (3 + 1 + 1 + 1)
    p = with_code(problem(4096, cell="lstm1", format="bfloat16"), staging=each)
    assert p.staging("scan_tiles", 32) == 24 * (5 / 8 + 1 / 4)
    assert p.staging("scan_tiles", 4) == 8 * 5 + 24 / 4


def test_loads_under_way_at_once_are_waited_for_once():
    """The states of the LSTM are two numbers a channel, and its maps six."""
    chain, latency = 32 * 2 * 4, H100.cache_latency
    for loads, ahead, waits in ((6, 6, 32), (18, 18, 11), (18, 9, 22), (18, 10, 22)):
        p = with_code(problem(32, cell="lstm1"), loads=loads, ahead=ahead)
        assert look_back_latency(p) == (2 + waits) * latency + chain


@pytest.mark.parametrize("kernel", KERNELS, ids=" ".join)
@pytest.mark.parametrize("cell", CELLS)
def test_more_work_never_takes_less_time(cell, kernel):
    times = [KERNELS[kernel](problem(512, cell=cell, steps=n)).time for n in range(64, 9000, 64)]
    assert times == sorted(times)
    sizes = [32 * n for n in range(1, 200)]
    if kernel == ("forward", "parallel"):  # its lanes change with the channels
        times = [forward_newton(problem(n, cell=cell), 8).time for n in sizes]
    else:
        times = [KERNELS[kernel](problem(n, cell=cell)).time for n in sizes]
    assert times == sorted(times)


@pytest.mark.parametrize("kernel", KERNELS, ids=" ".join)
def test_each_limit_scales_with_its_rate(kernel):
    slow = KERNELS[kernel](problem(4096))
    bandwidth = KERNELS[kernel](problem(4096, bandwidth=2 * H100.bandwidth))
    assert bandwidth.memory == pytest.approx(slow.memory / 2)
    assert bandwidth.issue == slow.issue
    clock = KERNELS[kernel](problem(4096, clock=2 * H100.clock))
    for name in ("cache", "issue", "latency"):
        assert getattr(clock, name) == pytest.approx(getattr(slow, name) / 2)
    assert clock.memory == slow.memory
    launched = KERNELS[kernel](problem(4096, launch=1.0))
    assert launched.time == pytest.approx(slow.time - H100.launch + 1)


def test_curves_cross_where_they_meet():
    channels = [2.0**i for i in range(4, 15)]
    constant, rising = [5.0] * len(channels), [x / 100 for x in channels]
    assert crossover(channels, constant, rising) == pytest.approx(500)
    assert crossover(channels, constant, rising, margin=0.25) == pytest.approx(400)
    assert crossover(channels, rising, constant) == math.inf
    assert crossover(channels, constant, [9.0] * len(channels)) == channels[0]
    assert crossover(channels, constant, constant) == channels[0]
    assert crossover([1, 2, 3, 4], [2, 1, 2, 1], [1, 2, 1, 2]) == pytest.approx(math.sqrt(12))
    assert rounded(8749.0, 1e6) == 8700
    assert rounded(math.inf, 4096) == 4097


@pytest.mark.parametrize("direction", ("forward", "backward"))
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("machine", MACHINES)
def test_the_kernels_take_the_same_time_at_the_crossover(machine, format, direction):
    where = roofline.meeting(machine, "gru1", format, direction)
    sequential, parallel = (
        roofline.curve(machine, "gru1", format, (direction, method))
        for method in ("sequential", "parallel")
    )
    assert roofline.GRID[0] < where < roofline.GRID[-1]
    near = 1 - 1e-9  # for a crossing at a point of the curves
    curves = list(zip(roofline.GRID, sequential, parallel, strict=True))
    assert all(x <= y for n, x, y in curves if n >= near * where)
    last = max(n for n, _, _ in curves if n < near * where)
    assert all(x > y for n, x, y in curves if n in (last, roofline.GRID[0]))


@pytest.mark.parametrize("direction", ("forward", "backward"))
@pytest.mark.parametrize("format", FORMATS)
def test_the_crossover_does_not_depend_on_the_steps(format, direction):
    expected = roofline.meeting("H100", "gru1", format, direction)
    for steps in (512, 65536):
        found = roofline.meeting("H100", "gru1", format, direction, steps)
        assert found == pytest.approx(expected, rel=0.05)


def test_the_package_chooses_by_this_model_until_someone_measures():
    """To a tenth, as another compiler makes other code; ``roofline.py --thresholds`` mends it."""
    table = pd.read_csv(device.TABLE)
    expected = roofline.thresholds()
    for row in table[table.source == roofline.SOURCE].itertuples():
        assert row.channels == pytest.approx(expected[row.direction, row.format], rel=0.1)
    measured = table[table.source != roofline.SOURCE]
    assert measured.source.str.startswith("measured on ").all()


def test_what_the_one_table_costs():
    """Little where it was made, as times come in steps, and what a crossing elsewhere says."""
    table = roofline.losses().set_index(["machine", "cell"])
    assert table.loc["H100", "gru1"].max() <= 1.15
    threshold = roofline.rounded(roofline.GRID[40], roofline.GRID[-1])
    times = {
        method: np.array(roofline.curve("A100", "lstm1", "float32", ("forward", method)))
        for method in ("sequential", "parallel")
    }
    worst = max(
        times["sequential" if n >= threshold else "parallel"][i] / min(x[i] for x in times.values())
        for i, n in enumerate(roofline.GRID)
    )
    assert roofline._loss("A100", "lstm1", "float32", "forward", threshold) == worst


@pytest.mark.parametrize("cell", ("gru1", "lstm1"))
@pytest.mark.parametrize("shape", [(1, 100), (1, 512), (4, 500), (1, 1100), (2, 4096)])
def test_the_lanes_that_the_package_chooses_are_near_the_best(shape, cell):
    batch, channels = shape
    p = Problem(batch, 4096, channels, CELLS[cell], FORMATS["float32"], H100, Codes(read_codes()))
    chosen = device.lanes_of(batch, channels, H100.multiprocessors)
    times = {lanes: forward_newton(p, lanes).time for lanes in device.LANES}
    assert times[chosen] <= 1.4 * min(times.values())


@pytest.mark.parametrize("k", device.SEGMENT)
def test_segments_are_those_of_the_kernel(k):
    assert device.SEGMENT[k] == CELLS[f"gru{k}"].newton_segment


@pytest.mark.parametrize("lanes", device.LANES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_tiles_of_the_scan_are_those_of_the_kernel(cell, format, lanes):
    with library.force_backend(targets.SIMT):
        tile = library.device_function(f"{cell}_tile_{format}", torch.device("cpu"))
    if (cell, format) == ("gru4", "float64"):
        assert tile is None
        return
    p = problem(512, cell=cell, format=format)
    steps = library.query(tile, lanes.bit_length() - 1)
    assert steps == scan_threads(p) // lanes * p.cell.scan_segment


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("sequential.h", "constexpr int kSequentialThreads = 64;"),
        ("sequential.h", "constexpr int kAhead = bytes <= 12 ? 4 : bytes <= 24 ? 2 : 1;"),
        ("newton.h", "chunk = Cell::drives <= 3 ? 16 : Cell::drives <= 6 ? 8 : 4;"),
        ("adjoint.h", "chunk = P::drives <= 3 ? 8 : 4;"),
        ("look_back.h", "constexpr int kGroup = kWarp;"),
        ("tile.h", "constexpr int wide = 16 / sizeof(T);"),
        ("look_back.h", "LookBackTile(n).bytes > 80 * 1024) n /= 2;"),
    ],
)
def test_the_constants_are_those_of_the_kernels(file, line):
    """Where this fails, ``kernels.py`` or ``model.py`` has to follow, and roofline.csv is old."""
    assert line in (build.sources() / "cuda" / file).read_text()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("cell", CELLS)
def test_blocks_and_bytes_are_those_of_the_machine_code(cell, format):
    """``static.csv`` has the launch by default; a flag for a reset comes with the bytes."""
    if (cell, format) == ("gru4", "float64"):
        return  # reads its weights at every step, from the cache, and has no parallel kernels
    p = problem(512, cell=cell, format=format)
    table = pd.read_csv(TABLE).set_index(["arch", "kernel", "cell", "drive"]).sort_index()
    of = {x: table.loc["sm_90"].loc[x].loc[p.cell.code] for x in NAMES}
    sequential = of["forward_sequential"].loc[p.format.code]
    memory = p.cell.memory * p.format.state
    assert 0 <= sequential["bytes/step"] - p.forward_bytes <= 1 + memory
    assert sequential.threads == SEQUENTIAL_THREADS
    newton, scan = (of[x].loc[p.format.code] for x in ("forward_newton", "scan_tiles"))
    assert newton.shared == newton_shared(p, newton.threads, 32)
    assert scan.threads == scan_threads(p) and scan.shared == scan_shared(p, scan.threads)


def test_a_kernel_that_is_missing_is_an_error_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(Missing, match=r"no forward_newton of Gru<1>, float for sm_90; run "):
        Codes({}).of("forward_newton", H100, CELLS["gru1"], FORMATS["float32"])
    with pytest.raises(Missing, match=r"static.csv is missing; run "):
        read_codes(tmp_path / "static.csv")
    monkeypatch.setattr(roofline, "codes", lambda: Codes({}))
    with pytest.raises(SystemExit, match=r"^static.csv has no [^\n]*$"):
        roofline.main([])


def test_every_assumption_has_a_source():
    table = assumptions()
    assert table.source.str.len().min() > 10
    assert table[list(MACHINES)].notna().all(axis=None)


def test_the_script_writes_a_table_and_a_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(roofline, "HERE", tmp_path)
    roofline.main([])
    table = pd.read_csv(tmp_path / "roofline.csv")
    times = table[["memory us", "cache us", "issue us", "latency us"]].max(axis=1)
    assert ((table["time us"] - times - 3).abs() <= 1e-3 * table["time us"] + 1e-3).all()
    assert (tmp_path / "roofline.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "over those of the better method" in printed
    assert "mufu latency" in printed and "64 x 2048 x 1024" in printed
