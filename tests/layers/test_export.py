"""A sequence as a program of torch.export: any batch and any T after it, or one clear refusal."""

import pytest
import torch
from cases import HIDDEN, INPUT, MIXERS, WIDTH, SpinCell
from torch import Tensor, nn
from torch.export import Dim, export

from paratime.errors import InputError
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import Recurrent
from paratime.layers.state import leaves
from paratime.ops.ssd import CHUNK
from paratime.solvers.newton import Newton
from paratime.solvers.sequential import Sequential
from paratime.testing import TOLERANCE

REFUSED = ("TorchGRU", "TorchLSTM", "Elman", "ParaGRU by Newton", "ParaLSTM2 by Newton")
"""torch unrolls its own layers over time, and values decide how long a solver iterates."""


class Sequences(nn.Module):
    """A mixer whose arguments are all positional, for ``dynamic_shapes``."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(
        self, x: Tensor, reset: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        y, state = self.mixer(x, reset=reset, lengths=lengths)
        return y, *leaves(state)


def given(batch: int, steps: int, masks: bool) -> tuple[Tensor, ...]:
    x = torch.randn(batch, steps, WIDTH)
    if not masks:
        return (x,)
    return x, torch.rand(batch, steps) < 0.1, torch.randint(0, steps + 1, (batch,))


def program(mixer: Mixer, masks: bool, strict: bool = False) -> tuple[nn.Module, nn.Module]:
    """Return a mixer, and its program for any B and T."""
    module, open_axes = Sequences(mixer), {0: Dim("B", min=2), 1: Dim("T", min=2)}
    shapes = (open_axes, open_axes, {0: open_axes[0]}) if masks else (open_axes,)
    with torch.no_grad():
        found = export(module, given(3, 20, masks), dynamic_shapes=shapes, strict=strict)
    return module, found.module()


def check_other_sizes(module: nn.Module, exported: nn.Module, masks: bool) -> None:
    for sizes in ((2, 2), (3, CHUNK), (2, CHUNK + 1), (5, 3 * CHUNK - 1)):
        inputs = given(*sizes, masks)
        with torch.no_grad():
            pairs = zip(exported(*inputs), module(*inputs), strict=True)
        for found, expected in pairs:
            assert found.shape == expected.shape
            allowed = TOLERANCE[torch.float32].value * (1 + expected.abs())
            assert ((found - expected).abs() <= allowed).all()


@pytest.mark.parametrize("masks", (False, True))
@pytest.mark.parametrize("name", [name for name in MIXERS if name not in REFUSED])
def test_a_program_holds_for_other_sizes(name, masks):
    check_other_sizes(*program(MIXERS[name](), masks), masks)


@pytest.mark.parametrize("name", ("Mamba2", "Mamba3 of rank 3", "Attention to 5"))
def test_so_does_one_that_is_traced_from_bytecode(name):
    check_other_sizes(*program(MIXERS[name](), True, strict=True), True)


def test_gradients_pass_through_a_program(backend):
    module, exported = program(MIXERS["Mamba2"](), True)
    inputs = given(2, CHUNK + 1, True)
    found, expected = (
        torch.autograd.grad(run(*inputs)[0].square().sum(), list(run.parameters()))
        for run in (exported, module)
    )
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= TOLERANCE[torch.float32].gradient * b.abs().max()


@pytest.mark.parametrize("name", REFUSED)
def test_a_program_that_cannot_be_is_refused(name):
    with pytest.raises(InputError, match=r"torch\.export of .*: expected .*; export step"):
        program(MIXERS[name](), False)


def test_a_loop_is_unrolled_over_fixed_steps():
    x = torch.randn(2, 5, INPUT)
    layer = Recurrent(SpinCell(INPUT, HIDDEN), Sequential())
    y = export(layer, (x,)).module()(x)[0]
    assert (y - layer(x)[0]).abs().max() <= TOLERANCE[torch.float32].value
    with pytest.raises(InputError, match="got Newton and a fixed T"):
        export(Recurrent(layer.cell, Newton()), (x,))
