"""Layers on their fused operators: the path that ``solver=None`` takes on a CPU."""

import copy

import pytest
import torch
from cases import CELLS, INPUT, LENGTHS, STABLE, inputs, resets, start
from torch.utils.data import DataLoader, Dataset

from paratime.cells.gru import GRUCell
from paratime.layers import recurrent
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.ops.native import build, library, targets
from paratime.solvers.sequential import Sequential
from paratime.testing import TOLERANCE, relative_error

FUSED = ("gru1", "gru2", "gru4", "lstm1", "lstm2")
LAYERS = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM}


def gradients(layer, x, h0, reset):
    leaves = [x.clone().requires_grad_(), h0.clone().requires_grad_(), *layer.parameters()]
    y, state = layer(leaves[0], leaves[1], reset=reset)
    weight = torch.arange(y.numel(), dtype=y.dtype).cos().view_as(y)
    return y, state, torch.autograd.grad((y * weight).sum() + state.square().sum(), leaves)


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("scale", STABLE)
@pytest.mark.parametrize("name", FUSED)
def test_the_default_path_is_the_loop(name, scale, steps, dtype):
    cell = CELLS[name](scale, 36).to(dtype)
    x, h0, reset = inputs(dtype, steps), start(cell, dtype), resets(steps)
    assert cell.fused(x.device) is not None
    y, state, found = gradients(Recurrent(cell), x, h0, reset)
    truth, end, expected = gradients(Recurrent(cell, Sequential()), x, h0, reset)
    assert (y - truth).abs().max() <= TOLERANCE[dtype].value
    assert (state - end).abs().max() <= TOLERANCE[dtype].value
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) <= TOLERANCE[dtype].gradient


@pytest.mark.parametrize("block", (1, 100, 512, 4096))
@pytest.mark.parametrize("layer", LAYERS)
def test_blocks_of_time_change_nothing(layer, block, monkeypatch):
    """They only keep the drives small: inference never makes those of the whole sequence."""
    net, x = LAYERS[layer](INPUT, 16), inputs(torch.float32, 60, batch=3)
    reset, lengths = resets(60, 3), torch.tensor([60, 0, 31], dtype=torch.int32)
    largest, drive = [], type(net.cell).drive
    watched = lambda self, x: largest.append(x.shape[1]) or drive(self, x)  # noqa: E731
    monkeypatch.setattr(type(net.cell), "drive", watched)
    whole, end = net(x, reset=reset, lengths=lengths)
    monkeypatch.setattr(recurrent, "BLOCK", block)
    monkeypatch.setattr(recurrent, "LEARNED_BLOCK", block)
    weights = list(net.parameters())
    expected = torch.autograd.grad(whole.square().sum() + end.sum(), weights)
    for learning in (False, True):
        with torch.set_grad_enabled(learning):
            y, state = net(x, reset=reset, lengths=lengths)
        assert (y - whole).abs().max() <= TOLERANCE[y.dtype].value
        assert (state - end).abs().max() <= TOLERANCE[y.dtype].value
    found = torch.autograd.grad(y.square().sum() + state.sum(), weights)
    for a, b in zip(found, expected, strict=True):
        assert relative_error(a, b) <= TOLERANCE[y.dtype].gradient
    assert largest[0] == 60 and max(largest[1:]) <= max(1, block // (3 * 16))


def test_a_cell_that_steps_otherwise_is_not_fused():
    class Slow(GRUCell):
        def step(self, u, h):
            return 0.5 * (h + super().step(u, h))

        def linearize(self, u, h):
            state, jac = super().linearize(u, h)
            return 0.5 * (h + state), 0.5 * (1 + jac)

    cell, x = Slow(INPUT, 8), inputs(torch.float32, 30)
    y, _ = Recurrent(cell)(x)
    assert (y - Recurrent(cell, Sequential())(x)[0]).abs().max() <= TOLERANCE[x.dtype].value
    assert (y - Recurrent(_plain(cell))(x)[0]).abs().max() > 0.01


class Gates(GRUCell):
    def _gates(self, u, h):
        z, r, c = super()._gates(u, h)
        return z, r, c * 0


def test_a_cell_with_other_gates_is_not_fused():
    cell, x = Gates(INPUT, 8), inputs(torch.float32, 30)
    assert cell.fused(x.device) is None and not Recurrent(cell)(x)[0].any()
    mended = GRUCell(INPUT, 8)
    mended.step = lambda u, h: h * 0
    assert mended.fused(x.device) is None


class Summed(GRUCell):
    """Its drive reads all steps so far."""

    def drive(self, x):
        return super().drive(x.cumsum(-2))


def test_a_drive_that_reads_other_steps_runs_in_one_piece(monkeypatch):
    layer, x = Recurrent(Summed(INPUT, 8)), inputs(torch.float32, 60)
    whole = layer(x)[0]
    monkeypatch.setattr(recurrent, "BLOCK", 64)
    monkeypatch.setattr(recurrent, "LEARNED_BLOCK", 64)
    assert torch.equal(layer(x)[0], whole)
    with torch.no_grad():
        assert torch.equal(layer(x)[0], whole)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_of_half_precision_are_not_summed_over_blocks(layer, monkeypatch):
    net, x = LAYERS[layer](16, 16).bfloat16(), torch.randn(2, 1000, 16).bfloat16()
    weights = list(net.parameters())
    expected = torch.autograd.grad(net(x)[0].sum(), weights)
    monkeypatch.setattr(recurrent, "LEARNED_BLOCK", 32)
    assert all(map(torch.equal, torch.autograd.grad(net(x)[0].sum(), weights), expected))


def _plain(cell):
    plain = GRUCell(INPUT, 8)
    plain.load_state_dict(cell.state_dict())
    return plain


@pytest.mark.parametrize("layer", LAYERS)
def test_half_precision_in_and_out_with_an_exact_state(layer):
    net, x = LAYERS[layer](INPUT, 33), inputs(torch.float32, 200)
    exact, end = net(x)
    half = copy.deepcopy(net).bfloat16()
    y, state = half(x.bfloat16())
    assert y.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert (y.float() - exact).abs().max() <= TOLERANCE[torch.bfloat16].value
    assert (state - end).abs().max() <= TOLERANCE[torch.bfloat16].value
    with torch.autocast("cpu", dtype=torch.float16):
        y, state = net(x)
    assert y.dtype == torch.float16 and state.dtype == torch.float32
    assert (y.float() - exact).abs().max() <= TOLERANCE[torch.bfloat16].value


@pytest.mark.parametrize("layer", LAYERS)
def test_compile_without_a_graph_break(layer):
    net, x, reset = LAYERS[layer](INPUT, 8), inputs(torch.float32, 20), resets(20)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    lengths = torch.tensor([7, 0])
    for steps in range(20, 8, -1):  # more lengths than dynamo would compile one by one
        y, state = net(x[:, :steps], reset=reset[:, :steps], lengths=lengths)
        again, end = compiled(x[:, :steps], reset=reset[:, :steps], lengths=lengths)
        assert torch.equal(again, y) and torch.equal(end, state)
        for a, b in zip(
            torch.autograd.grad(again.square().sum(), list(net.parameters())),
            torch.autograd.grad(y.square().sum(), list(net.parameters())),
            strict=True,
        ):
            assert relative_error(a, b) <= TOLERANCE[torch.float32].gradient


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_compile_by_inductor(layer):
    net, x = LAYERS[layer](INPUT, 8), inputs(torch.float32, 20)
    y = torch.compile(net, fullgraph=True)(x)[0]
    assert (y - net(x)[0]).abs().max() <= TOLERANCE[torch.float32].value


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")  # a report
@pytest.mark.parametrize("strict", (False, True), ids=("loose", "strict"))
@pytest.mark.parametrize("layer", LAYERS)
def test_export_for_any_length(layer, strict, tmp_path):
    net, x = LAYERS[layer](INPUT, 8).eval(), inputs(torch.float32, 20)
    steps = torch.export.Dim("steps", min=2, max=4096)
    with torch.no_grad():
        program = torch.export.export(net, (x,), dynamic_shapes=({1: steps},), strict=strict)
        torch.export.save(program, tmp_path / "layer.pt2")
        loaded = torch.export.load(tmp_path / "layer.pt2").module()
        longer = inputs(torch.float32, 33)
        assert torch.equal(loaded(longer)[0], net(longer)[0])


class Encoded(Dataset):
    """Items computed by a layer, in the process of a worker."""

    def __init__(self, layer, x):
        self.layer, self.x = layer, x

    def __len__(self):
        return len(self.x)

    @torch.no_grad()
    def __getitem__(self, i):
        return self.layer(self.x[i : i + 1])[0][0]


def test_workers_that_are_forked_after_a_run():
    layer, x = ParaGRU(INPUT, 160), inputs(torch.float32, 300, batch=4)
    expected = layer(x)[0]
    loader = DataLoader(
        Encoded(layer, x), num_workers=2, timeout=60, multiprocessing_context="fork"
    )
    for y, truth in zip(loader, expected, strict=True):
        assert (y[0] - truth).abs().max() <= TOLERANCE[torch.float32].value


@pytest.mark.parametrize("name", FUSED)
def test_the_reference_can_be_forced(name):
    cell, x = CELLS[name](1.0, 12), inputs(torch.float32, 50)
    y = Recurrent(cell)(x)[0]
    with library.force_backend("reference"):
        assert cell.fused(x.device) is None
        layer = Recurrent(cell)
        assert (layer(x)[0] - y).abs().max() <= TOLERANCE[torch.float32].value
    assert layer.solution.iterations > 0


@pytest.fixture
def without_compiler(monkeypatch):
    def forget():
        for known in (library._load, library._symbol, library._of_cpu):
            known.cache_clear()
        library._reasons.clear()

    monkeypatch.setattr(targets, "compiler", lambda: None)
    forget()
    yield
    forget()


def test_without_a_compiler_it_works_and_says_why_once(without_compiler, caplog):
    layer, x = ParaGRU(INPUT, 7), inputs(torch.float32, 50)
    for _ in range(2):
        expected = Recurrent(layer.cell, Sequential())(x)[0]
        assert (layer(x)[0] - expected).abs().max() <= TOLERANCE[torch.float32].value
    (record,) = caplog.records
    assert "no C++ compiler on PATH; install" in record.getMessage()
    assert build.status(targets.cpu("baseline")).startswith("missing: no C++ compiler")
