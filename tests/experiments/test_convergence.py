"""What ``experiments/convergence`` measures, on problems whose answer is known."""

import math
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
import run
import torch
from charts import FIGURES
from solves import LIMIT, Problem, count, default, lyapunov, slopes
from sweeps import CHUNK, CHUNKS, SCALES, SEEDS, problem
from verdict import BOUNDS, bound, handed_over, markdown, shown, slow, verdict, worst
from zoo import ZOO

from paratime.cells.elman import BlockElmanCell
from paratime.cells.lru import LRUCell
from paratime.solvers.newton import Newton, iterate
from paratime.testing import TOLERANCE

ALLOWED = TOLERANCE[torch.float64].value


def chaotic(steps):
    cell = BlockElmanCell(4, 32, gain=6.0).double().requires_grad_(False)
    return Problem.of(cell, cell.drive(torch.randn(2, steps, 4, dtype=torch.float64)))


def test_the_exponent_of_the_logistic_map_is_log_2():
    x, slope = torch.full((1, 1), 0.3, dtype=torch.float64), []
    for _ in range(10_000):
        slope.append(4 - 8 * x)
        x = 4 * x * (1 - x)
    found = lyapunov(torch.stack(slope, dim=1), block=False)
    assert abs(float(found) - math.log(2)) < 0.01


def test_the_exponent_of_blocks_is_that_of_their_largest_direction():
    blocks = torch.tensor([[0.5, 1.0], [0.0, 0.8]], dtype=torch.float64)
    found = lyapunov(blocks.view(1, 1, 2, 2, 1).expand(3, 500, 2, 2, 4), block=True)
    assert found.shape == (3, 4)
    assert (found - math.log(0.8)).abs().max() < 0.01
    turn = 0.999 * torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    found = lyapunov(turn.view(1, 1, 2, 2, 1).expand(3, 50, 2, 2, 4), block=True)
    assert (found - math.log(0.999)).abs().max() <= ALLOWED


def test_slopes_of_a_contraction():
    cell = LRUCell(4, 32, r_min=0.9, r_max=0.95).double().requires_grad_(False)
    u = cell.drive(torch.randn(2, 100, 4, dtype=torch.float64))
    reset = torch.zeros(2, 100, dtype=torch.bool)
    reset[:, 7] = reset[:, 40] = True
    found = slopes(Problem.of(cell, u, reset), chunk=16)
    assert 0.5 < found["step_norm"] <= 0.95
    assert found["segment_norm"] <= 0.95**16
    assert found["exponent"] <= math.log(0.95) and found["chaotic"] == 0


@pytest.mark.parametrize("chunk", (1, 8, 100, 200))
def test_the_count_is_that_of_newton_without_the_loop(chunk):
    p = problem("GRU", 1.0, steps=100, density=0.05)
    found, solution = count(p, chunk), Newton(chunk=chunk, max_iters=LIMIT)
    solved = solution.solve(p.cell, p.u, None, p.reset)
    assert found["error"] <= ALLOWED and found["segments"] == -(-100 // chunk)
    assert found["iterations"] == max(1, solved.iterations)


def test_chaos_takes_an_iteration_a_segment():
    p = chaotic(256)
    assert slopes(p)["exponent"] > 0 and slopes(p)["chaotic"] > 0
    assert count(p, 16) == {"iterations": 16, "segments": 16, "error": 0.0} | {
        "error_3": pytest.approx(2, abs=0.5)
    }
    assert count(p, 1)["iterations"] == LIMIT + 1
    found = default(p)
    assert found["loop_share"] == pytest.approx(1 - 6 / 16) and found["newton_error"] <= ALLOWED


def test_elmans_channels_that_take_an_iteration_a_segment_have_two_stable_states():
    p = problem("Elman", 1.0)
    h0 = torch.zeros_like(p.truth[:, 0])
    now = [*islice(iterate(p.cell, p.u, h0, None, CHUNK), 12)][-1]
    error = (now.states.flatten(1, 2) - p.truth).abs().amax((0, 1))
    assert (error > ALLOWED).any()
    assert (p.cell.weight_hh.abs()[error > ALLOWED] > 1).all()
    assert slopes(p)["exponent"] < -0.4


def test_single_steps_find_the_basin_that_segments_miss():
    p, wrong = problem("BRC, latched", 3.0), {}
    h0 = torch.zeros_like(p.truth[:, 0])
    for chunk in (1, CHUNK):
        _, second = islice(iterate(p.cell, p.u, h0, None, chunk), 2)
        signs = second.states.flatten(1, 2).sign() != p.truth.sign()
        wrong[chunk] = float(signs.double().mean())
    assert wrong[1] < 1e-4 and 0.4 < wrong[CHUNK] < 0.6
    single, segments = Newton(chunk=1, max_iters=10), Newton(chunk=CHUNK, max_iters=10)
    assert single.solve(p.cell, p.u, None, None).loop_share == 0
    assert segments.solve(p.cell, p.u, None, None).loop_share > 0.6


@pytest.mark.parametrize("steps", (1, 2, 64, 65, 127, 1000, 1024, 1025, 5000))
def test_the_default_chunk_is_newtons(steps):
    p = Problem(None, torch.zeros(1, steps), None, None)
    assert p.default_chunk == 2 ** math.ceil(math.log2(steps) / 2)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((0.9, 0.1, -1.0), 0),
        ((1.1, 0.1, -1.0), 1),
        ((1.1, 1.1, -0.1), 2),
        ((1.1, 1.1, 0.1), 3),
    ],
)
def test_the_verdict_is_the_strongest_bound(measured, expected):
    names = ("step_norm", "segment_norm", "exponent")
    assert bound(pd.Series(measured, index=names)) == BOUNDS[expected]


def test_an_iteration_a_segment_is_marked():
    assert [shown(8), shown(8, 32), shown(32, 32), shown(LIMIT + 1, 128)] == [
        "8",
        "8",
        "32 = S",
        f">{LIMIT}",
    ]


def test_the_worst_of_the_seeds_is_taken_column_by_column():
    table = pd.DataFrame(
        {
            "seed": [0, 0, 1, 1],
            "cell": ["b", "a", "b", "a"],
            "scale": [1.0, 1.0, 1.0, 1.0],
            "iterations": [3, 7, 4, 5],
            "exponent": [-0.1, -0.5, -0.2, 0.5],
        }
    )
    found = worst(table)
    assert found.cell.tolist() == ["b", "a"] and "seed" not in found
    assert found.iterations.tolist() == [4, 7] and found.exponent.tolist() == [-0.1, 0.5]
    assert worst(found) is found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scale_is_a_larger_spectral_radius_for_elman_than_for_its_blocks(seed):
    single = problem("Elman", 1.0, 1, seed=seed).cell.weight_hh.abs().max()
    blocks = problem("BlockElman", 1.0, 1, seed=seed).cell.weight_hh.movedim(-1, 0)
    assert 1.8 < single < 3.1
    assert 1.1 < torch.linalg.eigvals(blocks).abs().max() < 1.5


def test_failures_are_told_by_their_first_scale():
    runs = pd.DataFrame(
        [
            {
                "scale": scale,
                "chunk": chunk,
                "iterations": iterations,
                "segments": 1024 // chunk,
                "loop_share": share,
            }
            for scale, chunk, iterations, share in (
                (1.0, 1, 9, 0.9),
                (1.0, CHUNK, 4, 0.0),
                (2.0, 1, LIMIT + 1, 0.9),
                (2.0, CHUNK, 7, 0.25),
                (3.0, CHUNK, 32, 0.8),
            )
        ]
    )
    assert slow(runs) == "scale 2"
    assert handed_over(runs) == "scale 2: would take 7, 25% of steps"
    assert handed_over(runs[runs.scale == 3]) == "scale 3: would take 32 = S, 80% of steps"
    tame = runs[runs.scale == 1]
    assert slow(tame) == handed_over(tame) == "never"


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    seen, broken = [], [True]

    def measure(cell, scale):
        if scale == 2 and broken:
            raise KeyboardInterrupt
        seen.append((cell, scale))
        yield from ({"cell": cell, "scale": scale, "value": i} for i in range(2))

    monkeypatch.setattr(run, "HERE", tmp_path)
    points = [("a", 0.1), ("a", 2.0), ("b, c", 0.1)]
    monkeypatch.setattr(run, "PARTS", {"one": (measure, points), "two": (measure, points[:1])})
    monkeypatch.setattr(run, "report", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        run.main([])
    broken.clear()
    run.main([])
    assert seen == [*points, points[0]]
    run.main(["--part", "two"])
    assert seen[4:] == [points[0]]
    table = pd.read_csv(tmp_path / "one.csv")
    assert table.value.tolist() == [0, 1] * 3 and table.scale.tolist()[::2] == [0.1, 2.0, 0.1]
    assert not [*tmp_path.glob(".*.paratime-*")]


@pytest.fixture
def tables():
    return run.results()


def test_every_seed_of_the_sweep_of_scales_is_there():
    for part, rows in (("scale", len(CHUNKS)), ("slopes", 1)):
        found = pd.read_csv(run.HERE / f"{part}.csv").groupby(["seed", "cell", "scale"]).size()
        assert len(found) == len(SEEDS) * len(ZOO) * len(SCALES) and (found == rows).all()


def test_the_readme_has_the_verdict_of_the_results(tables):
    assert markdown(verdict(tables)) in (run.HERE / "README.md").read_text()


def test_newton_gives_the_loop_in_all_results(tables):
    errors = [table.newton_error.max() for table in tables.values() if "newton_error" in table]
    assert len(errors) == 6 and max(errors) <= ALLOWED


@pytest.mark.parametrize("name", FIGURES)
def test_the_figures_are_drawn_from_the_results(name, tables, tmp_path):
    FIGURES[name](tables).savefig(tmp_path / "figure.png", dpi=40)
    assert (run.HERE / f"{name}.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("part", ("reset", "trajectories"))
def test_a_part_runs(part, tmp_path):
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(run.HERE)!r}); import sweeps\n"
        "sweeps.SEEDS = (0,); import run\n"
        f"run.HERE = pathlib.Path({str(tmp_path)!r}); run.main(['--part', {part!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    rows, kept = (pd.read_csv(Path(at) / f"{part}.csv") for at in (tmp_path, run.HERE))
    assert len(rows) == len(kept[kept.seed == 0] if "seed" in kept else kept)
