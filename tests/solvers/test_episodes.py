"""What is not finite stays in its episode, by every solver and for every cell."""

import pytest
import torch
from cases import INPUT, MORE_CELLS
from episodes import alone, check, masks, outcome, search, spoil
from hypothesis import given
from hypothesis import strategies as st

from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential

HIDDEN = 8
SOLVERS = {
    "sequential": Sequential(),
    "newton": Newton(),
    "newton on every step": Newton(chunk=1, max_iters=20),
}


@st.composite
def problems(draw, cell):
    reset = draw(masks((1, 2, 17, 34)))
    torch.manual_seed(draw(st.integers(0, 99)))
    drive = cell.drive(torch.randn(*reset.shape, INPUT).double()).detach()
    h0 = torch.randn(2, *cell.state_shape).double().tanh()
    states = torch.empty(*reset.shape, *cell.state_shape)
    cotangents = [torch.randn_like(x).double() for x in (states, h0)]
    spoil(draw, [drive, h0, *cotangents])
    return [drive], h0, reset, cotangents


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("case", MORE_CELLS)
def test_what_is_not_finite_stays_in_its_episode(case, name):
    torch.manual_seed(0)
    cell = MORE_CELLS[case](1.0, HIDDEN).double()
    weights = [p for n, p in cell.named_parameters() if not n.startswith("projection")]

    def by(solver):
        def run(x, h0, reset):
            states = solver.solve(cell, *x, h0, reset).states
            return states, states[:, -1]

        return run

    @search(8)
    @given(st.data())
    def examples(data):
        problem = *data.draw(problems(cell)), weights
        found = outcome(by(SOLVERS[name]), *problem)
        check(found, outcome(alone(by(Sequential())), *problem), places=True)

    examples()


@pytest.mark.parametrize("case", MORE_CELLS)
def test_what_comes_before_a_reset_takes_no_part_in_what_follows(case):
    cell = MORE_CELLS[case](1.0, HIDDEN).double()
    u = cell.drive(torch.randn(2, 20, INPUT).double()).detach()
    reset = torch.zeros(2, 20, dtype=torch.bool)
    reset[:, 9] = True
    u[0, 4] = torch.nan
    u.requires_grad_()
    for solver in SOLVERS.values():
        states = solver.solve(cell, u, None, reset).states
        (found,) = torch.autograd.grad(states[:, 9:].sum(), u)
        assert found[:, 9:].isfinite().all() and found[:, 9:].abs().sum() > 0
        assert found[1].isfinite().all()
        assert states[:, 9:].isfinite().all()
