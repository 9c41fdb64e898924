"""Kernels of cells that nobody has seen, against the loop: all formats, resets and lengths."""

import copy
import pickle
import threading

import pytest
import torch
from codegen.test_operations import ONE_NUMBER, TWO_NUMBERS
from codegen.twin import PlainCell
from torch import nn
from torch.nn.utils import parametrize

from paratime.cells.base import Cell
from paratime.cells.gru import GRUCell
from paratime.cells.mgu import MGUCell
from paratime.codegen.running import path_of
from paratime.layers.recurrent import Recurrent
from paratime.solvers.sequential import Sequential

TOLERANCES = {torch.float32: 2e-4, torch.float64: 1e-10, torch.bfloat16: 5e-2}


def compare(cell, x, dtype, *, reset=None, lengths=None, tolerance=None):
    """Compare outputs, final state and gradients of kernel and loop."""
    assert path_of(cell, cell.drive(x)).key is not None
    found = []
    for solver in (None, Sequential()):
        cell.zero_grad()
        given = x.clone().requires_grad_()
        y, last = Recurrent(cell, solver)(given, reset=reset, lengths=lengths)
        (y.double().square().sum() + last.double().sin().sum()).backward()
        gradients = [p.grad for p in cell.parameters() if p.grad is not None]
        found.append([y, last, given.grad, *gradients])
    for a, b in zip(*found, strict=True):
        scale = b.double().abs().max().clamp(min=1e-3)
        assert (a.double() - b.double()).abs().max() <= (tolerance or TOLERANCES[dtype]) * scale


def everything(cell, u, h):
    """Use all functions at once, each on its own mixture of drive and state."""
    total = torch.zeros_like(h)
    u, v = u.unbind(-2)
    for i, of in enumerate(ONE_NUMBER.values()):
        total = total + cell.a[i] * torch.tanh(of(0.3 * u + 0.2 * h + 0.01 * i))
    for i, of in enumerate(TWO_NUMBERS.values()):
        total = total + cell.b[i] * torch.tanh(of(0.3 * v - 0.1 * h, u + 0.02 * i))
    return torch.tanh(0.1 * total + 0.5 * h)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_all_functions_in_one_kernel(dtype):
    width = 19
    cell = PlainCell(
        everything,
        (width,),
        a=torch.randn(len(ONE_NUMBER), width),
        b=torch.randn(len(TWO_NUMBERS), width),
    )
    x = torch.randn(3, 9, 2, width).to(dtype)
    drive, y = cell.drive(x), []
    assert path_of(cell, drive).key is not None
    if dtype == torch.float64:
        cell.double()
    for solver in (None, Sequential()):
        given = x.clone().requires_grad_()
        out, _ = Recurrent(Flat(cell), solver)(given.flatten(2))
        out.double().square().sum().backward()
        y += [out.double().detach(), given.grad.double()]
    for a, b in ((y[0], y[2]), (y[1], y[3])):
        assert (a - b).abs().max() <= TOLERANCES[dtype] * b.abs().max()


class Flat(Cell):
    """A cell behind a drive that takes flat inputs."""

    def __init__(self, cell):
        super().__init__(cell.hidden_size, tuple(cell.state_shape))
        self.cell = cell

    def drive(self, x):
        return x.unflatten(-1, (2, -1))

    def step(self, u, h):
        return self.cell.step(u, h)


class Leaky(Cell):
    """The cell of the README: a leaky unit with its own time constant."""

    def __init__(self, input_size, hidden_size):
        super().__init__(hidden_size)
        self.linear = nn.Linear(input_size, hidden_size)
        self.tau = nn.Parameter(torch.randn(hidden_size))
        self.weight = nn.Parameter(torch.randn(hidden_size))
        self.sharpness = 1.0

    def drive(self, x):
        return self.linear(x)

    def step(self, u, h):
        gate = torch.sigmoid(self.tau)
        return gate * h + (1 - gate) * torch.tanh(self.sharpness * (u + self.weight * h))


class Norms(Leaky):
    """An output that is no row of the state."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.state_shape = torch.Size((2, hidden_size))
        self.linear = nn.Linear(input_size, 2 * hidden_size)

    def drive(self, x):
        return self.linear(x).unflatten(-1, (2, -1))

    def step(self, u, h):
        return torch.tanh(u + self.weight * h.flip(-2))

    def output(self, h):
        return h.norm(dim=-2) * self.tau


@pytest.mark.parametrize("kind", [Leaky, Norms])
@pytest.mark.parametrize("masked", [False, True])
def test_cells_of_users(kind, masked):
    cell, x = kind(4, 21), torch.randn(3, 17, 4)
    reset = torch.rand(3, 17) < 0.2 if masked else None
    lengths = torch.tensor([17, 0, 5]) if masked else None
    compare(cell, x, torch.float32, reset=reset, lengths=lengths)


def test_parametrized_and_tied_weights():
    cell = Leaky(4, 6)
    parametrize.register_parametrization(cell, "weight", nn.Tanh())
    compare(cell, torch.randn(2, 7, 4), torch.float32)
    cell = Leaky(4, 6)
    cell.weight = cell.tau
    compare(cell, torch.randn(2, 7, 4), torch.float32)


def test_half_precision_parameters_are_computed_in_float32():
    cell = Leaky(4, 6).bfloat16()
    compare(cell, torch.randn(2, 7, 4).bfloat16(), torch.bfloat16)


def test_what_a_step_reads_may_change():
    cell, x = Leaky(4, 6), torch.randn(2, 7, 4)
    compare(cell, x, torch.float32)
    cell.sharpness = 2.0
    compare(cell, x, torch.float32)
    with torch.no_grad():
        cell.weight.mul_(-0.5)
    compare(cell, x, torch.float32)
    cell.weight = nn.Parameter(torch.randn(6))
    compare(cell, x, torch.float32)


def test_closures_and_edited_steps_may_change():
    scale = 1.0

    def step(cell, u, h):
        return torch.tanh(scale * u + cell.a * h)

    class Edited(PlainCell):
        def step(self, u, h):
            return torch.tanh(scale * u + self.a * h)

    cell, x = Edited(step, a=torch.randn(3)), torch.randn(2, 5, 3)
    compare(cell, x, torch.float32)
    scale = 3.0
    compare(cell, x, torch.float32)
    Edited.step = lambda self, u, h: torch.sigmoid(u - self.a * h)
    compare(cell, x, torch.float32)


def test_a_subclass_that_steps_otherwise_has_its_own_kernel():
    class Damped(GRUCell):
        def step(self, u, h):
            return 0.5 * super().step(u, h)

    class Raised(MGUCell):
        def step(self, u, h):
            return super().step(u, h) + 0.1

    for kind in (Damped, Raised):
        compare(kind(4, 6), torch.randn(2, 7, 4), torch.float32)


def test_copies_and_pickles_have_kernels_too():
    layer, x = Recurrent(Leaky(4, 6)), torch.randn(2, 7, 4)
    y, _ = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(x)[0], y, rtol=0, atol=0)
        assert path_of(other.cell, other.cell.drive(x)).key is not None


def test_a_cell_may_refuse():
    class Plain(Leaky):
        fused = False

    cell, x = Plain(4, 6), torch.randn(2, 40, 4)
    layer = Recurrent(cell)
    y, _ = layer(x)
    assert layer.solution.iterations > 0
    torch.testing.assert_close(y, Recurrent(cell, Sequential())(x)[0])


def test_the_first_run_may_be_in_inference_mode():
    class Inferred(Leaky):
        pass

    layer, x = Recurrent(Inferred(4, 6)), torch.randn(2, 40, 4)
    with torch.inference_mode():
        y, _ = layer(x)
    assert layer.solution.iterations == 0
    layer(x)[0].sum().backward()
    torch.testing.assert_close(y, layer(x)[0])


def test_autocast_changes_no_kernel():
    class Mixing(Cell):
        def __init__(self):
            super().__init__(6, (2, 3))
            self.a = nn.Parameter(torch.randn(2, 2, 3))

        def drive(self, x):
            return x.unflatten(-1, (2, 3))

        def step(self, u, h):
            return torch.tanh(u + torch.einsum("ijd,...jd->...id", self.a, h))

    cell, x = Mixing(), torch.randn(2, 9, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = Recurrent(cell)(x)
    assert path_of(cell, cell.drive(x)).key is not None
    torch.testing.assert_close(y, Recurrent(cell, Sequential())(x)[0])


def test_threads_find_one_kernel():
    class Threaded(Leaky):
        def step(self, u, h):
            return super().step(u, h) * 0.75

    layer, x, found = Recurrent(Threaded(4, 6)), torch.randn(2, 7, 4), []
    threads = [threading.Thread(target=lambda: found.append(layer(x)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(torch.equal(y, found[0]) for y in found)


def test_empty_batches_and_times():
    layer = Recurrent(Leaky(4, 6))
    for shape in ((0, 5, 4), (2, 1, 4)):
        y, last = layer(torch.randn(shape))
        assert y.shape == (*shape[:2], 6) and last.shape == (shape[0], 6)


def test_gradients_of_gradients_are_refused():
    layer, x = Recurrent(Leaky(4, 6)), torch.randn(2, 5, 4, requires_grad=True)
    (g,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="Sequential"):
        g.sum().backward()


def test_whatever_a_step_reads_may_change():
    class Reads(Cell):
        gain = 0.5

        def __init__(self):
            super().__init__(4)
            self.act, self._rate, self.factors = nn.Tanh(), 0.5, [torch.zeros(2000)]
            self.register_buffer("m", torch.rand(4))
            self.register_parameter("bias", None)
            self.c = self.d = nn.Parameter(torch.randn(4))

        def drive(self, x):
            return x

        def step(self, u, h):
            y = self.act(u + self._rate * self.m * h + self.gain * self.c * h - self.d * h)
            y = y + self.factors[0][700] * h
            return y if self.bias is None else y + self.bias

    cell, x = Reads(), torch.randn(2, 7, 4)

    def change(name, value):
        setattr(cell, name, value)
        compare(cell, x, torch.float32)

    compare(cell, x, torch.float32)
    change("act", nn.Sigmoid())
    change("_rate", 0.9)
    change("m", torch.tensor(0.5))
    change("m", torch.rand(4))
    change("bias", nn.Parameter(torch.randn(4)))
    change("d", nn.Parameter(torch.randn(4)))
    change("factors", [torch.full((2000,), 0.3)])
    Reads.gain = -0.9
    compare(cell, x, torch.float32)


def test_settings_that_change_at_every_call_leave_the_kernel(caplog):
    class Counts(Leaky):
        def drive(self, x):
            self.calls = getattr(self, "calls", 0) + 1
            return super().drive(x)

    layer, x = Recurrent(Counts(4, 6)), torch.randn(2, 7, 4)
    expected = Recurrent(layer.cell, Sequential())(x)[0]
    for _ in range(40):
        torch.testing.assert_close(layer(x)[0], expected)
    assert caplog.text.count("changes again and again") == 1
