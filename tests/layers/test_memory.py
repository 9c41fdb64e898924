"""A state owns its memory: it can be written to, and kept, without a trace in anything else."""

import pytest
import torch
from cases import INPUT, MIXERS, MORE_CELLS, WIDTH

from paratime.layers import recurrent
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.layers.state import clone, leaves
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential
from paratime.testing import TOLERANCE, check_apart

BATCH, STEPS = 3, 9
GRADS = pytest.mark.parametrize("learning", (False, True), ids=("no_grad", "grad"))


def check(mixer, width, dtype=torch.float32, state=None):
    """Check a whole sequence, its first step, no step at all, and the step of a stream."""
    x = torch.randn(BATCH, STEPS, width, dtype=dtype)
    reset, lengths = torch.rand(BATCH, STEPS) < 0.3, torch.tensor([0, 2, STEPS])
    for now, valid in ((x, lengths), (x[:, :1], lengths.clamp(max=1)), (x, lengths * 0)):
        for options in ({}, {"reset": reset[:, : now.shape[1]]}, {"lengths": valid}):
            y, after = mixer(now, state, **options)
            check_apart(after, (y, now, state, *options.values()), "forward")
    for restarts in (None, reset[:, 0]):
        y, after = mixer.step(x[:, 0], state, restarts)
        check_apart(after, (y, x, state, restarts), "step")
    return after


@GRADS
@pytest.mark.parametrize("dtype", (torch.float64, torch.float32, torch.bfloat16), ids=str)
@pytest.mark.parametrize("name", MIXERS)
def test_a_state_shares_no_memory(name, dtype, learning):
    mixer = MIXERS[name]().to(dtype)
    with torch.set_grad_enabled(learning):
        state = check(mixer, WIDTH, dtype)
        check(mixer, WIDTH, dtype, clone(state))


@GRADS
@pytest.mark.parametrize("solver", (None, Newton(), Sequential()), ids=str)
@pytest.mark.parametrize("name", MORE_CELLS)
def test_a_state_of_any_cell_and_solver_shares_no_memory(name, solver, learning):
    layer = Recurrent(MORE_CELLS[name](1.0), solver)
    with torch.set_grad_enabled(learning):
        state = check(layer, INPUT)
        check(layer, INPUT, state=clone(state))


@GRADS
@pytest.mark.parametrize("kind", (ParaGRU, ParaLSTM))
def test_a_state_of_a_pass_in_blocks_shares_no_memory(kind, learning, monkeypatch):
    monkeypatch.setattr(recurrent, "BLOCK", 2 * BATCH * WIDTH)
    monkeypatch.setattr(recurrent, "LEARNED_BLOCK", 2 * BATCH * WIDTH)
    with torch.set_grad_enabled(learning):
        state = check(kind(WIDTH), WIDTH)
        check(kind(WIDTH), WIDTH, state=clone(state))


QUICK = ("ParaGRU", "ParaLSTM2 by Newton", "CausalConv", "MinGRU")
"""Mixers that compile within a second."""


class Held(ParaGRU):
    """A cell whose step returns what it is given, as a user may write it."""

    def __init__(self, width):
        super().__init__(width)
        self.cell.step = lambda u, h: h


def test_a_state_of_a_step_that_changes_nothing_is_not_its_input():
    layer, x = Held(WIDTH), torch.randn(2, WIDTH)
    state = torch.randn(2, WIDTH)
    _, after = layer.step(x, state)
    check_apart(after, (x, state), "step")
    assert torch.equal(after, state)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo, after a break
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in MIXERS]
)
def test_a_state_of_a_compiled_step_shares_no_memory(name):
    step, x = torch.compile(MIXERS[name]().step, backend="aot_eager"), torch.randn(2, WIDTH)
    with torch.no_grad():
        y, state = step(x)
        check_apart(state, (y, x), "step")
        y, after = step(x, state)
        check_apart(after, (y, x, state), "step")


@pytest.mark.parametrize("name", MIXERS)
def test_a_stream_of_which_some_begin_anew(name):
    mixer, x = MIXERS[name]().double(), torch.randn(4, 5, WIDTH, dtype=torch.float64)
    done = torch.tensor([False, True, False, True])
    with torch.no_grad():
        y, state = mixer(x)
        kept = y.clone()
        for part in leaves(state):
            part[done] = 0
        assert torch.equal(y, kept)
        first, _ = mixer(x[done])
        again, _ = mixer(x, state)
    assert (again[done] - first).abs().max() <= TOLERANCE[x.dtype].value
