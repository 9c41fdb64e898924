"""Layers on a device against the same layers on the CPU."""

import copy

import pytest
import torch
from cases import inputs, resets
from gpu.places import all_of, everywhere, on
from torch import Tensor, nn

from paratime import Encoder, ParaGRU, ParaLSTM, Sequential
from paratime.ops.native import device, library
from paratime.testing import TOLERANCE, relative_error

LAYERS = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM}
BLOCKS = {"ParaGRU": (1, 2, 4, 8), "ParaLSTM": (1, 2, 4)}
KINDS = [(name, k) for name, blocks in BLOCKS.items() for k in blocks]
METHODS = (device.SEQUENTIAL, device.PARALLEL)


def both(layer: nn.Module, x: Tensor, **options: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Run a layer forward and backward; return outputs and gradients, on the CPU."""
    leaves = [x.clone().requires_grad_(), *layer.parameters()]
    y, state = layer(leaves[0], **options)
    weight = torch.arange(y.numel(), dtype=torch.float64).cos().view_as(y).to(y)
    gradients = torch.autograd.grad((y * weight).sum() + state.square().sum(), leaves)
    return [y.detach().cpu(), state.detach().cpu()], [g.cpu() for g in gradients]


def on_the_cpu(layer: nn.Module, x: Tensor, **options: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Run the same by the loop in torch, in float64."""
    with library.force_backend(library.REFERENCE):
        return both(copy.deepcopy(layer).double(), x.double(), **options)


def hold(found: list[Tensor], truth: list[Tensor], gradients: bool, dtype: torch.dtype) -> None:
    allowed = TOLERANCE[dtype]
    for x, y in zip(found, truth, strict=True):
        if gradients:
            assert relative_error(x.double(), y) <= allowed.gradient
        else:
            assert (x.double() - y).abs().max() <= allowed.value


@on(
    "kind, dtype, method",
    all_of(KINDS, (torch.float64, torch.float32), METHODS),
    [(("ParaGRU", 1), torch.float32, "parallel"), (("ParaLSTM", 2), torch.float64, "sequential")],
)
def test_a_layer_gives_what_it_gives_on_the_cpu(where, kind, dtype, method):
    name, k = kind
    layer = LAYERS[name](4, 64, block_size=k).to(dtype)
    x, reset, lengths = inputs(dtype, 200, batch=3), resets(200, 3), torch.tensor([200, 0, 131])
    truth = on_the_cpu(layer, x, reset=reset, lengths=lengths)
    options = {"reset": reset.to(where), "lengths": lengths.to(where)}
    with device.force_choice(device.Choice(method, 8, 64)):
        found = both(layer.to(where), x.to(where), **options)
    hold(found[0], truth[0], False, dtype)
    hold(found[1], truth[1], True, dtype)


@on("name", LAYERS, ["ParaGRU"])
def test_a_state_is_handed_over(where, name):
    layer, x = LAYERS[name](4, 32).to(where), inputs(torch.float32, 150).to(where)
    whole, end = layer(x)
    first, state = layer(x[:, :77])
    second, again = layer(x[:, 77:], state)
    for found, expected in ((torch.cat([first, second], 1), whole), (again, end)):
        assert (found - expected).abs().max() <= TOLERANCE[torch.float32].value


@on("name", LAYERS, ["ParaLSTM"])
def test_steps_give_what_a_sequence_gives(where, name):
    layer, x = LAYERS[name](4, 32).to(where), inputs(torch.float32, 40).to(where)
    whole, _ = layer(x)
    outputs, state = [], None
    for t in range(40):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert (torch.stack(outputs, 1) - whole).abs().max() <= TOLERANCE[torch.float32].value


@on("name, method", all_of(LAYERS, METHODS), [("ParaGRU", "parallel")])
def test_autocast_computes_in_bfloat16_with_an_exact_state(where, name, method):
    layer, x = LAYERS[name](4, 64), inputs(torch.float32, 200)
    truth = on_the_cpu(layer, x)
    with (
        device.force_choice(device.Choice(method, 8, 64)),
        torch.autocast(where.type, dtype=torch.bfloat16),
    ):
        found = both(layer.to(where), x.to(where))
    (y, state), gradients = found
    assert y.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert all(g.dtype == torch.float32 for g in gradients)
    hold(found[0], truth[0], False, torch.bfloat16)
    hold(gradients, truth[1], True, torch.bfloat16)


@on("name, compiler", all_of(LAYERS, ("inductor",)), [("ParaGRU", "aot_eager")])
@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_compile_without_a_graph_break(where, name, compiler):
    if where.type == "cuda":
        pytest.importorskip("triton")
    layer, x = LAYERS[name](4, 16).to(where), inputs(torch.float32, 60).to(where)
    compiled = torch.compile(layer, fullgraph=True, backend=compiler)
    expected, found = both(layer, x), both(compiled, x)
    for a, b in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        assert relative_error(a, b) <= TOLERANCE[torch.float32].gradient


@everywhere
def test_the_solution_says_how_it_was_found(where):
    layer, x = ParaGRU(4, 16).to(where), inputs(torch.float32, 200).to(where)
    with device.force_choice(device.Choice(device.PARALLEL, 8, 64)):
        layer(x)
        assert layer.solution.iterations >= 1 and layer.solution.converged
        assert layer.solution.defect <= device.TOLERANCE
    with device.force_choice(device.Choice(device.SEQUENTIAL)):
        layer(x)
        assert layer.solution.iterations == 0


@everywhere
def test_a_model_learns_as_it_does_on_the_cpu(where):
    """Three steps of plain gradient descent on two blocks give the same losses."""
    model = Encoder(8, 2, ParaGRU, mlp_size=16)
    x, target = torch.randn(3, 90, 8), torch.randn(3, 90, 8)
    with library.force_backend(library.REFERENCE):
        expected = _descend(copy.deepcopy(model), x, target)
    with device.force_choice(device.Choice(device.PARALLEL, 8)):
        found = _descend(model.to(where), x.to(where), target.to(where))
    for a, b in zip(found, expected, strict=True):
        assert abs(a - b) <= TOLERANCE[torch.float32].gradient * b


def _descend(model: nn.Module, x: Tensor, target: Tensor) -> list[float]:
    losses = []
    for _ in range(3):
        loss = (model(x)[0] - target).square().mean()
        losses.append(loss.item())
        weights = list(model.parameters())
        with torch.no_grad():
            for p, g in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                p -= 0.1 * g
    return losses


@on("name", LAYERS, [])
def test_the_loop_and_newton_in_torch_run_there_as_well(where, name):
    layer, x = LAYERS[name](4, 32).to(where), inputs(torch.float32, 60).to(where)
    expected, _ = layer(x)
    layer.solver = Sequential()
    assert (layer(x)[0] - expected).abs().max() <= TOLERANCE[torch.float32].value
    with library.force_backend(library.REFERENCE):
        layer.solver = None
        assert (layer(x)[0] - expected).abs().max() <= TOLERANCE[torch.float32].value
