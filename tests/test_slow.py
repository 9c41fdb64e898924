"""What takes minutes: the demo's promise, the experiments, and agreement over many seeds."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from cases import CELLS, DTYPES, SCALES, inputs, resets, start

from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential
from paratime.testing import TOLERANCE

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def test_the_demo_reaches_its_bits_per_byte(paratime, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    torch.use_deterministic_algorithms(False)
    status, out, err = paratime("fit", "-c", ROOT / "configs/language/quickstart.yaml")
    assert status == 0, err
    assert float(re.search(r"^val/bits_per_byte +([\d.]+)$", out, re.MULTILINE)[1]) <= 2.3
    assert "--- a sample" in out and Path(re.search(r"checkpoint +(\S+)", out)[1]).is_file()


@pytest.mark.parametrize("name", ("convergence", "speed"))
def test_an_experiment_runs(name, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / name / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    module.main()
    assert (tmp_path / "results.csv").stat().st_size > 100 and capsys.readouterr().out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", CELLS)
def test_newton_gives_the_result_of_the_loop_whatever_the_seed(name, scale, dtype):
    for seed in range(10):
        torch.manual_seed(seed)
        cell = CELLS[name](scale).to(dtype)
        h0, reset = start(cell, dtype), resets(500)
        with torch.no_grad():
            u = cell.drive(inputs(dtype, 500))
            solution = Newton().solve(cell, u, h0, reset)
            truth = Sequential().solve(cell, u, h0, reset).states
        error = (solution.states - truth).abs().max()
        assert error <= TOLERANCE[dtype].value, (seed, solution.message)
