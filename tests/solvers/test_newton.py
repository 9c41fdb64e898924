import pytest
import torch
from cases import (
    CELLS,
    DTYPES,
    HIDDEN,
    INPUT,
    LENGTHS,
    MORE_CELLS,
    SCALES,
    STABLE,
    inputs,
    resets,
    start,
)
from torch import nn
from torch.autograd import forward_ad

from paratime.cells.base import Cell
from paratime.cells.elman import ElmanCell
from paratime.cells.gru import GRUCell
from paratime.cells.init import NormalInit
from paratime.errors import InputError
from paratime.layers.recurrent import ParaGRU, Recurrent
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential
from paratime.testing import TOLERANCE, compare_solvers, relative_error

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=("float64", "float32"))
by_start = pytest.mark.parametrize("packed", (False, True), ids=("plain", "reset+h0"))


def solve_both(solver, cell, x, h0=None, reset=None):
    with torch.no_grad():
        u = cell.drive(x)
        solution = solver.solve(cell, u, h0, reset)
        truth = Sequential().solve(cell, u, h0, reset)
    return solution, (solution.states - truth.states).abs().max()


@by_dtype
@by_start
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("name", CELLS)
def test_newton_gives_the_result_of_the_loop(name, steps, scale, packed, dtype):
    cell = CELLS[name](scale).to(dtype)
    h0, reset = (start(cell, dtype), resets(steps)) if packed else (None, None)
    solution, error = solve_both(Newton(), cell, inputs(dtype, steps), h0, reset)
    assert error <= TOLERANCE[dtype].value, solution.message


@pytest.mark.parametrize("width", (1, 2, 7, 33))
@pytest.mark.parametrize("scale", SCALES)
def test_odd_widths_differ_from_the_loop_by_no_more_than_its_own_rounding(scale, width):
    cell = GRUCell(INPUT, width, init=NormalInit(scale))
    x = inputs(torch.float32, 500)
    _, error = solve_both(Newton(), cell, x)
    with torch.no_grad():
        loop = Sequential().solve(cell, cell.drive(x), None, None).states
        exact = cell.double()
        truth = Sequential().solve(exact, exact.drive(x.double()), None, None).states
    assert error <= TOLERANCE[x.dtype].value + 2 * (loop - truth).abs().max()


@by_dtype
@by_start
@pytest.mark.parametrize("scale", STABLE)
@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_equal_those_through_the_loop(name, steps, scale, packed, dtype):
    cell = CELLS[name](scale)
    h0, reset = (start(cell, dtype), resets(steps)) if packed else (None, None)
    result = compare_solvers(cell, Newton(), inputs(dtype, steps), h0, reset)
    assert result.passed, result


@pytest.mark.parametrize("chunk", (1, 7, 64, 1000))
@pytest.mark.parametrize("name", MORE_CELLS)
def test_any_chunk_and_cell(name, chunk):
    cell = MORE_CELLS[name](1.0)
    h0, reset = start(cell, torch.float64), resets(100)
    solver = Newton(chunk=chunk, max_iters=30)
    assert compare_solvers(cell, solver, inputs(torch.float64, 100), h0, reset).passed


@pytest.mark.parametrize("name", MORE_CELLS)
def test_gradcheck(name):
    cell = MORE_CELLS[name](1.0, hidden=8).double()
    layer, reset = Recurrent(cell, Newton(chunk=3)), torch.zeros(1, 8, dtype=torch.bool)
    reset[0, 5] = True
    weights = list(cell.parameters())

    def run(x, h0, *weights):
        return layer(x, h0, reset=reset)[0]

    args = (inputs(torch.float64, 8, 1).requires_grad_(), start(cell, torch.float64, 1))
    assert torch.autograd.gradcheck(run, (args[0], args[1].requires_grad_(), *weights))


def test_iterations_at_scale_one():
    for dtype in DTYPES:
        cell = GRUCell(INPUT, 64, init=NormalInit(1.0)).to(dtype)
        solution, _ = solve_both(Newton(chunk=64), cell, inputs(dtype, 2048))
        assert solution.converged and solution.iterations <= 5, solution.message


def test_a_solve_that_does_not_pay_is_finished_by_the_loop():
    cell = GRUCell(INPUT, 64, init=NormalInit(3.0)).double()
    solution, error = solve_both(Newton(), cell, inputs(torch.float64, 2048))
    assert error <= TOLERANCE[torch.float64].value
    assert not solution.converged
    assert solution.iterations == 6 and 0 < solution.loop_share <= 1 - 6 / 32
    assert "try a larger chunk" in solution.message


def test_as_many_iterations_as_segments_are_exact():
    cell = GRUCell(INPUT, 64, init=NormalInit(3.0)).double()
    solver = Newton(chunk=32, tol=0.0, max_iters=8)
    solution, error = solve_both(solver, cell, inputs(torch.float64, 256))
    assert solution.converged and solution.loop_share == 0 and error == 0


class _Doubling(Cell):
    """A linear cell whose slopes overflow float32."""

    def __init__(self):
        super().__init__(INPUT)

    def drive(self, x):
        return x

    def step(self, u, h):
        return torch.where(h.abs() > 1e30, torch.zeros_like(h), u + 1e6 * h)


def test_non_finite_slopes_are_survived():
    solution, error = solve_both(Newton(chunk=8), _Doubling(), inputs(torch.float32, 64))
    assert torch.isfinite(solution.states).all() and error == 0


class _Map(Cell):
    """A map without bound that Newton's predictions leave for infinity."""

    def __init__(self, function):
        super().__init__(HIDDEN)
        self.function = function
        self.projection = nn.Linear(INPUT, HIDDEN)

    def drive(self, x):
        return self.projection(x)

    def step(self, u, h):
        return self.function(u, h)


MAPS = {
    "logistic": lambda u, h: 3.7 * h * (1 - h) + 0 * u,
    "logistic, stable": lambda u, h: 2.5 * h * (1 - h) + 0 * u,
    "ricker": lambda u, h: (1 + u.abs()) * torch.exp(-h),
    "cubic": lambda u, h: u - 0.2 * h**3,
    "power": lambda u, h: torch.relu(h) ** 4 / 2 + u,
    "divergent": lambda u, h: u + 0.5 * h * h,
    "identity": lambda u, h: h,
    "no state": lambda u, h: u,
    "sign": lambda u, h: torch.sign(h + u),
    "rounded": lambda u, h: torch.round(h + u),
}


@by_dtype
@pytest.mark.parametrize("solver", (Newton(), Newton(chunk=1), Newton(max_iters=20)), ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_maps_that_predictions_leave_for_infinity(name, solver, dtype):
    cell, x = _Map(MAPS[name]).to(dtype), inputs(dtype, 300)
    h0 = torch.rand(2, HIDDEN, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        u = cell.drive(x)
        states = solver.solve(cell, u, h0, None).states
        truth = Sequential().solve(cell, u, h0, None).states
    allowed = TOLERANCE[dtype].value
    assert torch.allclose(states, truth, rtol=allowed, atol=allowed, equal_nan=True)


@pytest.mark.parametrize("steps", (400, 4000))
def test_gradients_before_an_overflow_of_later_slopes(steps):
    """Slopes of chaotic channels overflow; a loss on early outputs must not notice."""
    layer = ParaGRU(INPUT, HIDDEN, init=NormalInit(6.0)).double()
    loop = Recurrent(layer.cell, Sequential())
    x = torch.zeros(2, steps, INPUT, dtype=torch.float64, requires_grad=True)
    gradients = [
        torch.autograd.grad(each(x)[0][:, :5].sum(), [x, *layer.parameters()])
        for each in (layer, loop)
    ]
    for gradient, truth in zip(*gradients, strict=True):
        assert relative_error(gradient, truth) <= TOLERANCE[x.dtype].gradient


def test_a_start_outside_the_bound_is_not_clamped():
    cell = CELLS["gru1"](1.0).double()
    h0 = 3 * torch.ones(2, HIDDEN, dtype=torch.float64)
    _, error = solve_both(Newton(), cell, inputs(torch.float64, 200), h0)
    assert error <= TOLERANCE[torch.float64].value


def test_a_wrong_bound_costs_iterations_but_not_the_result():
    cell = CELLS["gru1"](1.0).double()
    cell.bound = 0.01
    solution, error = solve_both(Newton(), cell, inputs(torch.float64, 200))
    assert error <= TOLERANCE[torch.float64].value and solution.iterations > 2


@pytest.mark.parametrize("where", (0, 70, 199))
@pytest.mark.parametrize("name", ("gru1", "elman", "spin"))
def test_nan_in_the_input_is_nan_in_the_output_from_there_on(name, where):
    cell, x = CELLS[name](1.0).double(), inputs(torch.float64, 200)
    x[0, where] = torch.nan
    reset = torch.zeros(2, 200, dtype=torch.bool)
    reset[0, 150] = True
    with torch.no_grad():
        states = Newton().solve(cell, cell.drive(x), None, reset).states
    broken = states[0].flatten(1).isnan().all(-1)
    assert broken.nonzero().flatten().tolist() == list(range(where, 150 if where < 150 else 200))
    assert torch.isfinite(states[1]).all()


class _Coupled(ElmanCell):
    def step(self, u, h):
        return torch.tanh(u + h.roll(1, -1))


class _LateCoupled(ElmanCell):
    def step(self, u, h):
        return torch.tanh(u + 0.3 * (u - self.projection.bias) * h.roll(1, -1))


class _BatchReader(ElmanCell):
    def step(self, u, h):
        return torch.tanh(u + h - 0.3 * h.mean(0, keepdim=True))


class _Misshapen(ElmanCell):
    def step(self, u, h):
        return torch.tanh(u + h).unsqueeze(-1)


class _Wide(ElmanCell):
    def output(self, h):
        return torch.cat([h, h], dim=-1)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (_Coupled, "got a Jacobian that couples them"),
        (_LateCoupled, "got a Jacobian that couples them"),
        (_BatchReader, "got a Jacobian that couples them"),
        (_Misshapen, f"expected a state ({HIDDEN},)"),
        (_Wide, f"_Wide.output: expected {HIDDEN} values, got {2 * HIDDEN}"),
    ],
)
def test_a_cell_that_is_not_what_it_says_is_refused(cell, message):
    x = inputs(torch.float32, 20)
    x[:, 0] = 0
    with pytest.raises(InputError) as error:
        Recurrent(cell(INPUT, HIDDEN))(x)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("loss", (torch.sum, lambda y: y.square().sum()), ids=("sum", "square"))
def test_second_derivatives_are_refused(loss):
    layer, x = Recurrent(CELLS["gru1"](1.0).double()), inputs(torch.float64, 20).requires_grad_()
    (g,) = torch.autograd.grad(loss(layer(x)[0]), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="use solver=Sequential"):
        g.square().sum().backward()


def test_forward_mode_is_refused():
    layer, x = Recurrent(CELLS["gru1"](1.0)), inputs(torch.float32, 20)
    with forward_ad.dual_level(), torch.no_grad(), pytest.raises(NotImplementedError):
        layer(forward_ad.make_dual(x, torch.ones_like(x)))


@pytest.mark.parametrize("name", MORE_CELLS)
def test_autocast_leaves_state_and_adjoint_exact(name):
    cell = MORE_CELLS[name](1.0)
    drive, gradients = cell.drive(inputs(torch.float32, 100)).detach(), []
    for solver in (Newton(), Sequential()):
        u = drive.clone().requires_grad_()
        states = solver.solve(cell, u, None, None).states
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=solver == Newton()):
            gradients.append(torch.autograd.grad(states.square().sum(), u)[0])
    assert relative_error(*gradients) <= TOLERANCE[torch.float32].gradient


@pytest.mark.parametrize(
    "options", ({"chunk": 0}, {"max_iters": 0}, {"tol": -1.0}, {"tol": float("nan")}), ids=str
)
def test_options_out_of_range(options):
    with pytest.raises(InputError, match="leave it out for the default"):
        Newton(**options)


def test_an_empty_batch():
    layer = Recurrent(CELLS["lstm1"](1.0))
    y, state = layer(torch.zeros(0, 50, INPUT))
    assert y.shape == (0, 50, HIDDEN) and state.shape == (0, 2, HIDDEN)
