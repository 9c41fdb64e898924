import pytest
import torch
from cases import INPUT, MORE_CELLS
from torch import nn

from paratime.cells.elman import ElmanCell
from paratime.testing import check_cell


class LerpCell(ElmanCell):
    """One whose step mixes precisions in an operation that torch refuses them in."""

    def step(self, u, h):
        return torch.lerp(h, torch.tanh(u), self.weight_hh)

    def linearize(self, u, h):
        return super(ElmanCell, self).linearize(u, h)


@pytest.mark.parametrize("name", MORE_CELLS)
def test_steps_take_parameters_of_half_precision(name):
    cell = MORE_CELLS[name](0.1).bfloat16()
    u = cell.drive(torch.randn(2, INPUT).bfloat16())
    h = cell.step(u.float(), torch.zeros(2, *cell.state_shape))
    assert h.dtype == torch.float32 and h.isfinite().all()


def test_a_step_that_refuses_them_is_found():
    cell = LerpCell(INPUT, 6)
    nn.init.uniform_(cell.weight_hh, 0.1, 0.9)
    with pytest.raises(AssertionError, match=r"parameters in bfloat16 .* cast them by"):
        check_cell(cell, torch.randn(2, 9, INPUT))
