"""Large inputs and resets: outputs and gradients are finite, and the same whatever path computes.

A mask hides a value that overflowed, but not its gradient, which is 0 times infinity.
"""

from contextlib import nullcontext

import pytest
import torch
from cases import BASELINES, CELLS, INPUT, MIXERS, WIDTH, resets
from torch import Tensor

from paratime.baselines.mamba2 import Mamba2
from paratime.layers.mixer import Mixer
from paratime.ops.native import library
from paratime.testing import TOLERANCE, relative_error

STEPS = 70
COMPILED = [name for name in BASELINES if not name.startswith("Torch") and "1" not in name]


def run(mixer: Mixer, x: Tensor, reset: Tensor, path: str) -> list[Tensor]:
    """Return outputs, and the gradients of the input and of all parameters."""
    call = torch.compile(mixer, backend="aot_eager") if path == "compiled" else mixer
    forced = library.force_backend(library.REFERENCE) if path == "reference" else nullcontext()
    x = x.clone().requires_grad_()
    with forced:
        y = call(x, reset=reset)[0]
        loss = (y * torch.arange(y.shape[-1]).cos()).mean()  # a norm leaves squares as they are
        return [y, *torch.autograd.grad(loss, [x, *mixer.parameters()])]


def check_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.isfinite().all() and b.isfinite().all()
        assert relative_error(a, b) <= TOLERANCE[torch.float32].gradient


@pytest.mark.parametrize("scale", (10, 1000))
@pytest.mark.parametrize("name", MIXERS)
def test_large_inputs_and_resets_leave_all_finite(name, scale):
    mixer, x = MIXERS[name](), scale * torch.randn(2, STEPS, WIDTH)
    reset = torch.rand(2, STEPS) < 0.05
    check_same(run(mixer, x, reset, "reference"), run(mixer, x, reset, "kernels"))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo
@pytest.mark.parametrize("name", COMPILED)
def test_so_do_they_in_a_compiled_graph(name):
    mixer, x = BASELINES[name](), 100 * torch.randn(2, STEPS, WIDTH)
    reset = torch.rand(2, STEPS) < 0.05
    check_same(run(mixer, x, reset, "compiled"), run(mixer, x, reset, "kernels"))


def test_a_reset_after_strong_decays_leaves_gradients_finite():
    mixer, x = Mamba2(256), 4 * torch.randn(2, 128, 256)
    reset = torch.rand(2, 128) < 0.02
    expected = run(mixer, x, reset, "kernels")
    for path in ("compiled", "reference"):
        check_same(run(mixer, x, reset, path), expected)


@pytest.mark.parametrize("scale", (1, 100, 1e4))
@pytest.mark.parametrize("name", CELLS)
def test_cells_are_finite_for_large_inputs(name, scale):
    cell = CELLS[name](1.0)
    x = (scale * torch.randn(2, 9, INPUT)).requires_grad_()
    h, u = torch.zeros(2, *cell.state_shape), cell.drive(x)
    reset = resets(9)
    for t in range(9):
        h = torch.where(reset[:, t].view(-1, *[1] * (h.dim() - 1)), 0, h)
        _, jac = cell.linearize(u[:, t], h)
        h = cell.step(u[:, t], h)
        assert h.isfinite().all() and jac.isfinite().all()
    leaves = [x, *cell.parameters()]
    for gradient in torch.autograd.grad(h.square().mean(), leaves, allow_unused=True):
        assert gradient is None or gradient.isfinite().all()
