"""Layers without values (meta tensors), copies that hold no device, and half precision on a CPU."""

import io
import pickle

import pytest
import torch
from cases import INPUT, MIXERS, MORE_CELLS, WIDTH, inputs
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.layers.state import leaves
from paratime.ops.native import library
from paratime.ops.recurrence import Recurrence
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential
from paratime.testing import TOLERANCE

SOLVERS = {"default": None, "Newton": Newton(), "chunks of 4": Newton(4), "loop": Sequential()}


@pytest.mark.parametrize("masked", (False, True), ids=("plain", "masked"))
@pytest.mark.parametrize("steps", (1, 5, 200))
@pytest.mark.parametrize("name", MIXERS)
def test_meta_tensors_have_the_shapes_of_others(name, steps, masked):
    mixer, x = MIXERS[name](), torch.randn(2, steps, WIDTH)
    masks = (torch.zeros(2, steps, dtype=torch.bool), torch.full((2,), steps))
    reset, lengths = masks if masked else (None, None)
    y, state = mixer(x, reset=reset, lengths=lengths)
    mixer, x, reset, lengths = (
        v if v is None else v.to("meta") for v in (mixer, x, reset, lengths)
    )
    found, after = mixer(x, reset=reset, lengths=lengths)
    pairs = list(zip([y, *leaves(state)], [found, *leaves(after)], strict=True))
    assert all(b.is_meta and a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    found.sum().backward()
    assert all(p.grad is not None for p in mixer.parameters() if p.requires_grad)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", MORE_CELLS)
def test_meta_tensors_pass_every_solver(name, solver):
    layer = Recurrent(MORE_CELLS[name](1.0), SOLVERS[solver]).to("meta")
    y, state = layer(torch.empty(2, 70, INPUT, device="meta"))
    y.sum().backward()
    layer.step(torch.empty(2, INPUT, device="meta"), state)
    assert y.shape[:2] == (2, 70) and layer.solution.message


@pytest.mark.parametrize("name", ("ParaGRU", "ParaLSTM", "Mamba", "Mamba2", "MinGRU", "Attention"))
def test_lengths_without_values_are_not_looked_at(name):
    with FakeTensorMode(allow_non_fake_inputs=True):
        y, _ = MIXERS[name]()(torch.randn(2, 9, WIDTH), lengths=torch.full((2,), 3))
    assert y.shape == (2, 9, WIDTH)


@pytest.mark.parametrize("name", MIXERS)
def test_no_copy_holds_what_the_last_pass_left_on_its_device(name):
    """A pickled tensor cannot be read where its device is missing."""
    mixer = MIXERS[name]()
    mixer(torch.randn(2, 10, WIDTH))
    held = {id(tensor) for tensor in mixer.state_dict(keep_vars=True).values()}
    assert {id(x) for x in tensors_in(mixer)} == held


def tensors_in(value: object) -> list[Tensor]:
    """Find all tensors that a pickle of a value would hold."""
    found: list[Tensor] = []

    class Finder(pickle.Pickler):
        def persistent_id(self, x: object) -> int | None:
            found.extend([x] if isinstance(x, Tensor) else [])
            return id(x) if isinstance(x, Tensor) else None

    Finder(io.BytesIO()).dump(value)
    return found


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16), ids=str)
@pytest.mark.parametrize("kind", (ParaGRU, ParaLSTM))
def test_half_precision_runs_a_kernel(kind, dtype):
    """The loop in torch would take a hundred times as long, and is told from a fused pass."""
    layer, x = kind(INPUT, 16).to(dtype), inputs(dtype, 50)
    y, state = layer(x.requires_grad_())
    y.sum().backward()
    exact, end = layer.double()(x.detach().double())
    assert y.dtype == dtype and state.dtype == torch.float32
    assert (y.double() - exact).abs().max() <= 10 * torch.finfo(dtype).eps
    assert (state.double() - end).abs().max() <= TOLERANCE[dtype].value
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", library.FORMATS, ids=str)
def test_a_layer_reports_a_loop_in_torch(dtype, monkeypatch):
    layer, x = ParaGRU(INPUT, 16).to(dtype), inputs(dtype, 50)
    fused = layer(x)[0]
    assert (layer.solution.message, layer.solution.loop_share) == ("one fused pass over time", 0)
    assert layer.telemetry().tolist() == [0, 0, 0]
    monkeypatch.setattr(Recurrence, "_kernels", lambda self, device: self._missing)
    monkeypatch.setattr(Recurrence, "_missing", Missing(), raising=False)
    assert (layer(x)[0] - fused).abs().max() <= TOLERANCE[dtype].value
    assert "no kernel" in layer.solution.message and layer.solution.loop_share == 1
    assert layer.telemetry().tolist() == [0, 0, 1]


class Missing:
    """Kernels for no format at all."""

    def forward(self, *arguments: object) -> bool:
        return False
