"""Slopes, exponents and saturation against linear recurrences and numerical Jacobians."""

import math

import pytest
import torch
from cases import INPUT, MORE_CELLS
from doctor.models import Linear

from paratime.doctor.dynamics import Saturation, exponents, jacobians, slopes
from paratime.solvers.sequential import run_loop
from paratime.testing import TOLERANCE

CLOSE = {"rtol": TOLERANCE[torch.float64].value, "atol": TOLERANCE[torch.float64].value}
RTOL = TOLERANCE[torch.float64].value
STEPS = 400


def solved(cell, steps, batch=2):
    x = torch.randn(batch, steps, getattr(cell, "input_size", INPUT), dtype=torch.float64)
    u, h0 = cell.drive(x), torch.zeros(batch, *cell.state_shape, dtype=torch.float64)
    return u, h0, run_loop(cell, u, h0, None)


def test_exponents_of_a_diagonal_recurrence_are_logs_of_its_slopes():
    a = torch.tensor([0.5, -0.9, 1.1, 1e-3], dtype=torch.float64)
    cell = Linear(a)
    u, h0, states = solved(cell, 30)
    jac = jacobians(cell, u, h0, states, None)
    torch.testing.assert_close(slopes(jac), a.abs().expand(2, 30, 4), **CLOSE)
    torch.testing.assert_close(exponents(jac), a.abs().log(), **CLOSE)


def test_the_exponent_of_a_block_is_the_log_of_its_spectral_radius():
    """Though its norm is far larger: products of a shear and rotations grow slowly."""
    turn, shear = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    turn[0, 1], turn[1, 0] = -0.8, 0.8
    shear[:] = torch.tensor([[0.9, 5.0], [0.0, 0.7]])
    cell = Linear(torch.stack([turn, shear], dim=-1))
    u, h0, states = solved(cell, STEPS)
    jac = jacobians(cell, u, h0, states, None)
    norms = torch.tensor([0.8, float(torch.linalg.matrix_norm(shear, 2))], dtype=torch.float64)
    torch.testing.assert_close(slopes(jac), norms.expand(2, STEPS, 2), **CLOSE)
    product = torch.linalg.matrix_power(shear, STEPS)
    exact = math.log(float(torch.linalg.matrix_norm(product, 2))) / STEPS
    found = exponents(jac)
    expected = torch.tensor([math.log(0.8), exact], dtype=torch.float64)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert abs(float(found[1]) - math.log(0.9)) < 0.01


@pytest.mark.parametrize("block", (False, True), ids=("diagonal", "block"))
def test_no_product_goes_over_the_beginning_of_an_episode(block):
    torch.manual_seed(0)
    shape = (2, 9, 2, 2, 3) if block else (2, 9, 3)
    jac = torch.randn(shape, dtype=torch.float64)
    reset = torch.zeros(2, 9, dtype=torch.bool)
    reset[:, 0] = reset[1, 4] = True
    blocks = jac if block else jac[:, :, None, None]
    parts = ((0, 1, 9), (1, 1, 4), (1, 5, 9))
    for channel in range(3):
        total = 0.0
        for row, begin, end in parts:
            product = torch.eye(blocks.shape[2], dtype=torch.float64)
            for t in range(begin, end):
                product = blocks[row, t, :, :, channel] @ product
            total += math.log(float(torch.linalg.matrix_norm(product, 2)))
        found = float(exponents(jac, reset)[channel])
        assert found == pytest.approx(total / 15, rel=RTOL)


@pytest.mark.parametrize("name", MORE_CELLS)
def test_slopes_and_exponents_are_those_of_numerical_jacobians(name):
    """Of a whole channel block by automatic differentiation of the loop."""
    torch.manual_seed(0)
    cell = MORE_CELLS[name](1.0, 8).double().requires_grad_(False)
    u, h0, states = solved(cell, 6, batch=1)
    jac = jacobians(cell, u, h0, states, None)
    before = [h0, *states.unbind(1)[:-1]]
    dense = [
        torch.autograd.functional.jacobian(lambda h, t=t: cell.step(u[:, t], h), before[t])
        for t in range(6)
    ]
    shape = cell.state_shape
    for t, whole in enumerate(dense):
        whole = whole.reshape(*shape, *shape)
        for d in range(shape[-1]):
            exact = whole[:, d, :, d] if len(shape) == 2 else whole[d, d].view(1, 1)
            size = float(torch.linalg.matrix_norm(exact, 2))
            assert float(slopes(jac)[0, t, d]) == pytest.approx(size, rel=RTOL)
    product = torch.eye(shape.numel(), dtype=torch.float64)
    for whole in dense:
        product = whole.reshape(shape.numel(), -1) @ product
    blocks = product.reshape(*shape, *shape)
    for d in range(shape[-1]):
        exact = blocks[:, d, :, d] if len(shape) == 2 else blocks[d, d].view(1, 1)
        expected = math.log(float(torch.linalg.matrix_norm(exact, 2))) / 6
        assert float(exponents(jac)[d]) == pytest.approx(expected, rel=RTOL)


def test_saturated_gates_are_counted():
    x = torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0])
    with Saturation() as gates:
        torch.sigmoid(x), torch.tanh(x), torch.relu(x)
    assert (gates.saturated, gates.count, gates.share) == (4, 10, 0.4)
    with Saturation() as none:
        torch.relu(x)
    assert none.share is None
