"""``paratime cell``: a user's cell, from its class to its kernel."""

import pytest

MINE = """
import torch
from torch import nn
from paratime import Cell


class Leaky(Cell):
    def __init__(self, input_size, hidden_size, rate=0.5):
        super().__init__(hidden_size)
        self.projection = nn.Linear(input_size, hidden_size)
        self.tau = nn.Parameter(torch.zeros(hidden_size))
        self.rate = rate

    def drive(self, x):
        return self.projection(x)

    def step(self, u, h):
        gate = self.rate * torch.sigmoid(self.tau)
        return h + gate * (torch.tanh(u + h) - h)


class Sorts(Leaky):
    def step(self, u, h):
        return torch.stack([u, h]).sort(0).values[0]


class Sized(Cell):
    def __init__(self, width):
        super().__init__(width)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "leaky_cells.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    monkeypatch.delitem(__import__("sys").modules, "leaky_cells", raising=False)


def test_show_prints_the_kernel_with_the_users_lines(mine, paratime):
    status, out, err = paratime("cell", "show", "leaky_cells:Leaky")
    assert status == 0, err
    assert "static constexpr int drives = 1, state = 1, memory = 0, weights = 1;" in out
    assert "// leaky_cells.py:19: return h + gate * (torch.tanh(u + h) - h)" in out
    assert "next[0] = h[0] + w(0) * (paratime::tanh(u(0) + h[0]) - h[0]);" in out


def test_check_compares_and_counts(mine, paratime):
    status, out, err = paratime("cell", "check", "leaky_cells:Leaky", "--out", "newton.png")
    assert status == 0, err
    facts = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("path"))
    assert facts["path"] == "a kernel of its own"
    assert "5 a step and channel" in out
    assert (
        "once a call          leaky_cells.py:18: gate = self.rate * torch.sigmoid(self.tau)" in out
    )
    assert out.count(" ok\n") == 2 and "its own kernel against the loop" in out
    assert "Newton's method, by the scale of the weights" in out
    assert (mine / "newton.png").stat().st_size > 0


def test_options_of_the_cell(paratime):
    status, out, err = paratime("cell", "show", "GRUCell", "--options.block_size", 4)
    assert status == 0 and "state = 4" in out, err


MISTAKES = {
    ("show", "leaky_cells:Sorts"): [
        "leaky_cells.py:24: return torch.stack([u, h]).sort(0)",
        "aten.sort",
    ],
    ("show", "leaky_cells:Sized"): ["expected a class that derives from paratime.Cell"],
    ("show", "leaky_cells:nothing"): ["expected MODULE:CLASS", "got leaky_cells:nothing"],
    ("check", "nothing:Cell"): ["No module named 'nothing'"],
    ("check", "ParaGRU"): ["expected MODULE:CLASS, or a cell of paratime.cells, got ParaGRU"],
    ("show", "leaky_cells:Leaky", "--options.rat", 1): ["expected the arguments", "got rat"],
    ("show",): ["required"],
}


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: " ".join(map(str, words)))
def test_a_mistake_is_one_line(words, mine, paratime):
    status, _, err = paratime("cell", *words)
    assert status == 2 and len(err.strip().splitlines()) == 1, err
    assert all(part in err for part in MISTAKES[words])


def test_what_has_no_kernel_is_checked_on_the_torch_solver(mine, paratime):
    status, out, err = paratime("cell", "check", "leaky_cells:Sorts")
    assert status == 0, err
    assert (
        "there is no kernel: leaky_cells.py:24" in out
        and "path                 the torch solver" in out
    )
