"""What each further cell computes, against its paper's equations written out."""

import math

import pytest
import torch
from cases import HIDDEN, INPUT, ZOO, inputs

from paratime.cells.brc import BRCCell
from paratime.cells.cfc import CfCCell
from paratime.cells.elman import BlockElmanCell
from paratime.cells.init import ChronoInit, NormalInit
from paratime.cells.lru import LRUCell
from paratime.cells.mgu import MGUCell
from paratime.cells.slstm import SLSTMCell
from paratime.errors import InputError
from paratime.layers.recurrent import Recurrent
from paratime.solvers.newton import Newton
from paratime.testing import TOLERANCE, check_mixer, compare_solvers

ALLOWED = TOLERANCE[torch.float64].value


def drawn(cell):
    """Return a cell in float64, a drive of it, and a state in the unit box."""
    cell = cell.double()
    h = 2 * torch.rand(2, *cell.state_shape, dtype=torch.float64) - 1
    return cell, cell.drive(inputs(torch.float64, 1)[:, 0]), h


@pytest.mark.parametrize("name", ZOO)
def test_every_cell_makes_a_mixer(name):
    check_mixer(lambda: Recurrent(ZOO[name](0.5)), torch.randn(3, 9, INPUT))


def test_mgu_equation():
    cell, u, h = drawn(MGUCell(INPUT, HIDDEN, init=NormalInit(1.0)))
    a_f, a_c = cell.weight_hh
    f = torch.sigmoid(u[:, 0] + a_f * h)
    c = torch.tanh(u[:, 1] + a_c * (f * h))
    assert (cell.step(u, h) - ((1 - f) * h + f * c)).abs().max() <= ALLOWED


def test_brc_equation():
    cell, u, h = drawn(BRCCell(INPUT, HIDDEN, init=NormalInit(1.0)))
    w_a, w_c = cell.weight_hh
    a, c = 1 + torch.tanh(u[:, 0] + w_a * h), torch.sigmoid(u[:, 1] + w_c * h)
    expected = c * h + (1 - c) * torch.tanh(u[:, 2] + a * h)
    assert (cell.step(u, h) - expected).abs().max() <= ALLOWED


def test_brc_keeps_what_it_has_latched():
    """With a = 1.9 and no input, a state goes to the fixed point of its sign, and stays there."""
    cell = BRCCell(1, 1).double().requires_grad_(False)
    cell.weight_hh.zero_()
    drives = torch.zeros(2, 2000, 3, 1, dtype=torch.float64)
    drives[:, :, 0] = math.atanh(0.9)
    drives[:, 0, 2, 0] = torch.tensor([3.0, -3.0])
    solution = Newton().solve(cell, drives, None, None)
    last = solution.states[:, -1, 0]
    assert (torch.tanh(1.9 * last) - last).abs().max() <= ALLOWED
    assert last[0] > 0.9 and last[1] < -0.9


def test_cfc_equation_with_time_steps():
    cell = CfCCell(INPUT, HIDDEN, time_channel=1, init=NormalInit(1.0)).double()
    x = inputs(torch.float64, 1)[:, 0].abs()
    h = 2 * torch.rand(2, HIDDEN, dtype=torch.float64) - 1
    u = cell.projection(x[:, [0, 2, 3]])
    a_f, a_g, a_k = cell.weight_hh
    f, g, k = u[:, 0] + a_f * h, torch.tanh(u[:, 1] + a_g * h), torch.tanh(u[:, 2] + a_k * h)
    s = torch.sigmoid(-f * x[:, 1:2])
    assert (cell.step(cell.drive(x), h) - (s * g + (1 - s) * k)).abs().max() <= ALLOWED


def test_cfc_without_a_channel_steps_by_one():
    timed, plain = CfCCell(INPUT + 1, HIDDEN, time_channel=-1), CfCCell(INPUT, HIDDEN)
    plain.load_state_dict(timed.state_dict())
    x = inputs(torch.float32, 50)
    ones = torch.ones(*x.shape[:2], 1)
    y = Recurrent(timed)(torch.cat([x, ones], dim=-1))[0]
    assert torch.equal(y, Recurrent(plain)(x)[0])
    other = Recurrent(timed)(torch.cat([x, 3 * ones], dim=-1))[0]
    assert (other - y).abs().max() > TOLERANCE[x.dtype].value


def test_cfc_learns_through_its_time_steps():
    x = inputs(torch.float64, 200).abs()
    assert compare_solvers(CfCCell(INPUT, HIDDEN, time_channel=0), Newton(), x, None, None).passed


def test_lru_equation():
    cell, u, h = drawn(LRUCell(INPUT, HIDDEN, r_min=0.5, r_max=0.99, max_phase=1.0))
    decay, phase = cell.log_decay.exp(), cell.log_phase.exp()
    turn = torch.polar(torch.exp(-decay), phase)
    assert turn.abs().min() >= 0.5 and turn.abs().max() <= 0.99 and phase.max() <= 1
    v = torch.complex(*u.unbind(1)) + turn * torch.complex(*h.unbind(1))
    expected = v / (1 + v.abs() ** 2).sqrt()
    stepped = torch.complex(*cell.step(u, h).unbind(1))
    assert (stepped - expected).abs().max() <= ALLOWED


def test_lru_scales_its_drive_so_that_states_of_all_radii_are_alike():
    cell = LRUCell(INPUT, HIDDEN, r_min=0.9, r_max=0.999).double()
    x = inputs(torch.float64, 1)[:, 0]
    scale = (1 - torch.exp(-cell.log_decay.exp()) ** 2).sqrt()
    assert (cell.drive(x) - cell.projection(x) * scale).abs().max() <= ALLOWED


def test_lru_contracts_by_its_radius_wherever_it_is():
    cell = LRUCell(INPUT, HIDDEN, r_min=0.9, r_max=0.999).double()
    u, h = 3 * torch.randn(2, 500, *cell.state_shape, dtype=torch.float64)
    _, jac = cell.linearize(u, h)
    norm = torch.linalg.matrix_norm(jac.movedim(-1, 1), ord=2)
    assert (norm <= torch.exp(-cell.log_decay.exp()) + ALLOWED).all()


@pytest.mark.parametrize("first", (0.0, -torch.inf), ids=("n = 1", "the paper's n = 0"))
def test_slstm_equals_the_stabilised_recurrence_of_the_paper(first):
    cell = SLSTMCell(INPUT, HIDDEN, init=NormalInit(1.0)).double()
    u = cell.drive(4 * inputs(torch.float64, 60))
    c = h = torch.zeros(2, HIDDEN, dtype=torch.float64)
    n = torch.full_like(c, float(first == 0))
    m, state = torch.zeros_like(c), torch.zeros(2, *cell.state_shape, dtype=torch.float64)
    state[:, 1] = first
    for t in range(u.shape[1]):
        i, f, z, o = (u[:, t] + cell.weight_hh * h.unsqueeze(1)).unbind(1)
        log_f = torch.nn.functional.logsigmoid(f)
        m_new = torch.maximum(log_f + m, i)
        i, f, m = torch.exp(i - m_new), torch.exp(log_f + m - m_new), m_new
        c, n = f * c + i * torch.tanh(z), f * n + i
        h = torch.sigmoid(o) * c / n
        state = cell.step(u[:, t], state)
        assert (cell.output(state) - h).abs().max() <= ALLOWED
        assert (state[:, 1] - (n.log() + m)).abs().max() <= ALLOWED


def test_slstm_takes_the_start_of_the_paper_in_parallel():
    cell = SLSTMCell(INPUT, HIDDEN).double()
    h0 = torch.zeros(2, *cell.state_shape, dtype=torch.float64)
    h0[:, 1] = -torch.inf
    y, last = Recurrent(cell, Newton())(inputs(torch.float64, 300), h0)
    assert y.isfinite().all() and last.isfinite().all()
    cell = SLSTMCell(INPUT, HIDDEN)
    assert compare_solvers(cell, Newton(), inputs(torch.float64, 300), h0, None).passed


@pytest.mark.parametrize("size", (-300.0, 300.0))
@pytest.mark.parametrize("gate", range(4), ids=("i", "f", "z", "o"))
def test_slstm_gates_do_not_overflow(gate, size):
    """exp(300) is beyond float32, and so is exp(-300)."""
    cell = SLSTMCell(INPUT, HIDDEN)
    u = cell.drive(inputs(torch.float32, 300)).detach()
    u[:, ::2, gate] = size
    u.requires_grad_()
    states = Newton().solve(cell, u, None, None).states
    (g,) = torch.autograd.grad(cell.output(states).square().sum(), u)
    assert states.isfinite().all() and g.isfinite().all()
    assert cell.output(states).abs().max() <= 1


def test_block_elman_is_a_dense_recurrence_of_its_blocks():
    cell, u, h = drawn(BlockElmanCell(INPUT, HIDDEN, block_size=4, gain=2.0))
    k, channels = cell.state_shape
    dense = torch.zeros(k, channels, k, channels, dtype=torch.float64)
    every = torch.arange(channels)
    dense[:, every, :, every] = cell.weight_hh.detach().permute(2, 0, 1)
    expected = torch.tanh(u.flatten(1) + h.flatten(1) @ dense.reshape(HIDDEN, HIDDEN).T)
    assert (cell.step(u, h).flatten(1) - expected).abs().max() <= ALLOWED
    weight = BlockElmanCell(INPUT, 4096, gain=2.0).weight_hh.detach()
    assert abs(float(weight.std()) * 8**0.5 - 2) < 0.05


@pytest.mark.parametrize(("kind", "sign"), ((MGUCell, -1), (BRCCell, 1), (SLSTMCell, 1)))
def test_timescales_can_be_drawn(kind, sign):
    cell = kind(INPUT, 512, init=ChronoInit(100.0))
    gate = 0 if kind is MGUCell else 1
    timescale = 1 / (1 - torch.sigmoid(sign * cell.projection.bias[gate].detach()))
    assert 2 <= timescale.min() <= 10 and 90 <= timescale.max() <= 100.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LRUCell(INPUT, 7), "hidden_size: expected an even number, got 7"),
        (lambda: LRUCell(INPUT, 8, r_min=0.9, r_max=0.5), "got 0.9 and 0.5"),
        (lambda: LRUCell(INPUT, 8, r_max=1.0), "r_min and r_max: expected 0 <= r_min <= r_max"),
        (lambda: LRUCell(INPUT, 8, r_max=0.0), "got 0.0 and 0.0"),
        (lambda: BlockElmanCell(INPUT, 8, block_size=3), "block_size: expected one of"),
        (lambda: BlockElmanCell(INPUT, 12), "hidden_size: expected a positive multiple of"),
        (lambda: CfCCell(1, 8, time_channel=0), "time_channel: expected a channel of at least 2"),
        (lambda: CfCCell(4, 8, time_channel=4), "from -4 to 3, got 4"),
        (
            lambda: CfCCell(2, 8, time_channel=0).drive(torch.tensor([[-0.5, 1.0]])),
            "time_channel: expected time steps of at least 0, got -0.5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value) and "\n" not in str(error.value)
