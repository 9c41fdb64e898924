"""The step of a stack of layers as one native call, against the step in torch."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from paratime.baselines.mamba2 import Mamba2
from paratime.layers.capture import capture
from paratime.layers.encoder import Encoder
from paratime.layers.norm import RMSNorm
from paratime.layers.recurrent import ParaGRU, ParaLSTM
from paratime.ops.native import library
from paratime.ops.program import FORMATS, PANEL, CaptureError, Program
from paratime.testing import TOLERANCE

ENCODERS = {
    "gru1": partial(Encoder, 20, 2),
    "gru2": partial(Encoder, 32, 1, partial(ParaGRU, block_size=2)),
    "gru4": partial(Encoder, 72, 2, partial(ParaGRU, block_size=4)),
    "gru8": partial(Encoder, 64, 1, partial(ParaGRU, block_size=8)),
    "lstm1": partial(Encoder, 72, 2, ParaLSTM),
    "lstm2": partial(Encoder, 20, 1, partial(ParaLSTM, block_size=2)),
    "lstm4": partial(Encoder, 64, 1, partial(ParaLSTM, block_size=4)),
    "lstm8": partial(Encoder, 32, 1, partial(ParaLSTM, block_size=8)),
    "narrow convolution": partial(Encoder, 20, 2, kernel_size=2),
    "no feed-forward layer": partial(Encoder, 20, 2, mlp_size=0),
    "coarse norms": partial(Encoder, 20, 2, mlp_size=48, eps=1e-2),
}


def leaves(state):
    return [state] if torch.is_tensor(state) else [x for part in state for x in leaves(part)]


def recorded(encoder, rows, dtype):
    program = Program(rows, dtype)
    x = program.buffer(encoder.width)
    return program, x, *capture(encoder, program, x)


def random(encoder):
    """Move the parameters that are ones and zeros at first."""
    for p in encoder.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return encoder


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("name", ENCODERS)
def test_a_program_steps_like_the_layers(name, dtype, capability):
    encoder = random(ENCODERS[name]().to(dtype))
    program, buffer, y, states = recorded(encoder, 3, dtype)
    state = None
    with torch.inference_mode():
        for x in torch.randn(40, 3, encoder.width, dtype=dtype):
            buffer.copy_(x)
            program.run()
            expected, state = encoder.step(x, state)
            assert (y - expected).abs().max() <= TOLERANCE[dtype].value
    for one, other in zip(leaves(states), leaves(state), strict=True):
        assert one.shape == other.shape and (one - other).abs().max() <= TOLERANCE[dtype].value


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_neither_other_rows_nor_threads_change_a_bit(dtype):
    encoder = random(Encoder(72, 2, ParaLSTM).to(dtype))
    steps = torch.randn(5, 11, 72, dtype=dtype)

    def run(rows, threads=1):
        program, buffer, y, _ = recorded(encoder, len(rows), dtype)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        found = []
        for x in steps:
            buffer.copy_(x[rows])
            program.run()
            found.append(y.clone())
        torch.set_num_threads(before)
        return torch.stack(found)

    whole = run(list(range(11)))
    assert torch.equal(whole, run(list(range(11)), threads=2))
    for row in range(11):
        assert torch.equal(whole[:, row], run([row])[:, 0])


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("outputs", (1, PANEL - 1, PANEL, 2 * PANEL + 3))
def test_linear_maps_of_any_size(outputs, dtype, capability):
    for rows, inputs in ((1, 1), (4, 7), (9, 33)):
        program = Program(rows, dtype)
        x, base = torch.randn(2, rows, max(inputs, outputs), dtype=dtype)
        x, base = x[:, :inputs].contiguous(), base[:, :outputs].contiguous()
        weight, bias = torch.randn(outputs, inputs, dtype=dtype), torch.randn(outputs, dtype=dtype)
        scale = torch.randn(outputs, dtype=dtype)
        plain, biased = program.linear(x, weight), program.linear(x, weight, bias)
        whole = program.linear(x, weight, bias, scale=scale, base=base)
        program.run()
        for found, expected in (
            (plain, functional.linear(x, weight)),
            (biased, functional.linear(x, weight, bias)),
            (whole, base + scale * functional.linear(x, weight, bias)),
        ):
            scaled = TOLERANCE[dtype].value * (1 + expected.abs().max())
            assert (found - expected).abs().max() <= scaled


class OtherNorm(RMSNorm):
    """It may do anything."""


def watched(encoder):
    encoder.blocks[0].mixer.conv.register_forward_hook(lambda *_: None)


def of_another_norm(encoder):
    encoder.blocks[0].norm = OtherNorm(encoder.width)


def parametrized(encoder):
    nn.utils.parametrizations.weight_norm(encoder.blocks[0].mixer.project_in)


@pytest.mark.parametrize("change", (watched, of_another_norm, parametrized))
def test_a_changed_layer_is_stepped_in_torch(change):
    encoder = Encoder(16, 1)
    recorded(copy.deepcopy(encoder), 1, torch.float32)
    change(encoder)
    with pytest.raises(CaptureError):
        recorded(encoder, 1, torch.float32)


@pytest.mark.parametrize(
    "mixer", (partial(Mamba2, head_size=4), partial(ParaGRU, heads=2)), ids=("Mamba2", "heads")
)
def test_other_mixers_are_stepped_in_torch(mixer):
    with pytest.raises(CaptureError):
        recorded(Encoder(16, 1, mixer), 1, torch.float32)


def test_other_precisions_and_machines_are_stepped_in_torch():
    encoder = Encoder(16, 1)
    with pytest.raises(CaptureError):
        recorded(encoder, 1, torch.float64)  # not that of the weights
    with pytest.raises(CaptureError):
        Program(1, torch.bfloat16)
    with library.force_backend(library.REFERENCE), pytest.raises(CaptureError):
        Program(1, torch.float32)
