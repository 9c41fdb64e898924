import pytest
import torch
from cases import HIDDEN, INPUT, MORE_CELLS, inputs

from paratime.cells.base import Cell
from paratime.cells.gru import GRUCell
from paratime.cells.init import ChronoInit, NormalInit, PaperInit, UniformInit
from paratime.cells.lstm import LSTMCell
from paratime.cells.projection import Projection
from paratime.errors import InputError
from paratime.testing import TOLERANCE, check_cell


@pytest.mark.parametrize("name", MORE_CELLS)
def test_every_cell_keeps_its_promises(name):
    check_cell(MORE_CELLS[name](1.0), inputs(torch.float64, 17))


@pytest.mark.parametrize("name", MORE_CELLS)
def test_jacobian_equals_forward_mode(name):
    cell = MORE_CELLS[name](1.0).double()
    u = cell.drive(inputs(torch.float64, 1, batch=1))[0, 0]
    h = torch.rand(cell.state_shape, dtype=torch.float64) - 0.5
    columns = [
        torch.func.jvp(lambda h: cell.step(u, h), (h,), (basis.view_as(h),))[1].detach()
        for basis in torch.eye(h.numel(), dtype=h.dtype)
    ]
    dense = torch.stack(columns, dim=-1).view(*h.shape, *h.shape)
    _, jac = cell.linearize(u, h)
    channels = cell.state_shape[-1]
    every = torch.arange(channels)
    if len(cell.state_shape) == 1:
        assert torch.allclose(dense.diagonal(), jac)
        dense[every, every] = 0
    else:
        assert torch.allclose(dense[:, every, :, every].permute(1, 2, 0), jac)
        dense[:, every, :, every] = 0
    assert not dense.any(), "channels read each other"


def test_gru_equation():
    cell = GRUCell(INPUT, HIDDEN).double()
    x, h = inputs(torch.float64, 1)[:, 0], torch.rand(2, HIDDEN, dtype=torch.float64)
    u = cell.drive(x)
    a_z, a_r, a_c = cell.weight_hh[:, 0, 0]
    z, r = torch.sigmoid(u[:, 0] + a_z * h), torch.sigmoid(u[:, 1] + a_r * h)
    c = torch.tanh(u[:, 2] + a_c * (h * r))
    error = (cell.step(u, h) - ((1 - z) * h + z * c)).abs().max()
    assert error <= TOLERANCE[torch.float64].value


def test_lstm_equation():
    cell = LSTMCell(INPUT, HIDDEN).double()
    u = cell.drive(inputs(torch.float64, 1)[:, 0])
    state = torch.rand(2, 2, HIDDEN, dtype=torch.float64)
    c, h = state.unbind(1)
    a_f, a_g, a_o = cell.weight_hh[:, 0, 0]
    p_f, p_o = cell.peephole[:, 0]
    f, g = torch.sigmoid(u[:, 0] + a_f * h + p_f * c), torch.tanh(u[:, 1] + a_g * h)
    c_new = f * c + (1 - f) * g
    o = torch.sigmoid(u[:, 2] + a_o * h + p_o * c_new)
    expected = torch.stack([c_new, o * torch.tanh(c_new)], dim=1)
    error = (cell.step(u, state) - expected).abs().max()
    assert error <= TOLERANCE[torch.float64].value
    assert torch.equal(cell.output(state), h)


def test_blocks_mix_only_their_own_numbers():
    """With K = 4 the recurrence equals one with the dense block-diagonal matrix."""
    cell = GRUCell(INPUT, HIDDEN, block_size=4).double()
    k, channels = cell.state_shape
    dense = torch.zeros(3, k, channels, k, channels, dtype=torch.float64)
    every = torch.arange(channels)
    dense[:, :, every, :, every] = cell.weight_hh.detach().permute(3, 0, 1, 2)
    a_z, a_r, a_c = dense.reshape(3, HIDDEN, HIDDEN)
    u = cell.drive(inputs(torch.float64, 1)[:, 0])
    h = torch.rand(2, HIDDEN, dtype=torch.float64)
    z, r = torch.sigmoid(u[:, 0] + h @ a_z.T), torch.sigmoid(u[:, 1] + h @ a_r.T)
    c = torch.tanh(u[:, 2] + (h * r) @ a_c.T)
    stepped = cell.step(u, h.view(2, k, channels)).flatten(1)
    error = (stepped - ((1 - z) * h + z * c)).abs().max()
    assert error <= TOLERANCE[torch.float64].value


def test_heads_are_a_block_diagonal_projection():
    layer = Projection(6, 2, 4, heads=2)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(5, 6)
    for gate in range(2):
        dense = torch.block_diag(*layer.weight[:, gate])
        assert torch.allclose(layer(x)[:, gate], x @ dense.T + layer.bias[gate], atol=1e-6)


@pytest.mark.parametrize("cell", (GRUCell, LSTMCell))
def test_chrono_init_keeps_the_state_for_its_timescales(cell):
    made = cell(INPUT, 512, init=ChronoInit(100.0))
    bias = made.projection.bias[0].detach()
    keep = torch.sigmoid(-bias if cell is GRUCell else bias)
    timescale = 1 / (1 - keep)
    assert 2 <= timescale.min() <= 10 and 90 <= timescale.max() <= 100.1


def test_initialisations_have_their_scales():
    paper = GRUCell(64, 400, init=PaperInit()).requires_grad_(False)
    assert abs(float(paper.weight_hh.std()) * 20 - 1) < 0.1
    assert float(paper.projection.weight.abs().max()) <= (3 / 64) ** 0.5
    assert abs(GRUCell(64, 400, init=NormalInit(2.0)).weight_hh.std().item() / 2 - 1) < 0.1
    assert GRUCell(64, 400, init=UniformInit()).weight_hh.abs().max() <= 0.05


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: GRUCell(INPUT, 8, block_size=3),
            "block_size: expected one of (1, 2, 4, 8), got 3",
        ),
        (lambda: GRUCell(INPUT, 6, block_size=4), "hidden_size: expected a positive multiple of"),
        (lambda: LSTMCell(INPUT, 9, heads=3), "heads: expected a divisor of input_size = 4, got 3"),
        (lambda: _Wide(65), "at most 64 units a channel, got (65, 1)"),
    ],
)
def test_sizes_that_do_not_fit(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)


class _Wide(Cell):
    def __init__(self, size):
        super().__init__(size, (size, 1))

    def drive(self, x):
        return x

    def step(self, u, h):
        return u + h
