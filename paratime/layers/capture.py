"""The layers whose step native code runs as one program, and how each of them is captured.

A layer's type must be exactly one of those here, since a subclass may step otherwise, and no hook
may watch it. All others are stepped as they are, in torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.gru import GRUCell
from paratime.cells.lstm import LSTMCell
from paratime.cells.projection import is_plain
from paratime.layers.block import Block, Gated, SwiGLU
from paratime.layers.conv import CausalConv
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.layers.norm import RMSNorm
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.layers.state import State
from paratime.ops.program import CaptureError, Program


def capture(mixer: Mixer, program: Program, x: Tensor) -> tuple[Tensor, State]:
    """Capture ``mixer.step`` for the inputs in the buffer x (rows, input_size).

    Returns:
        The buffer of the output, and those of the state, zeros, which every run advances.

    Raises:
        CaptureError: It can only be stepped in torch.
    """
    hooked = [m for m in mixer.modules() if m._forward_hooks or m._forward_pre_hooks]
    capture_layer = CAPTURES.get(type(mixer))
    if capture_layer is None or hooked:
        raise CaptureError(f"no program for {type(mixer).__name__}")
    return capture_layer(mixer, program, x)


def _encoder(encoder: Encoder, program: Program, x: Tensor) -> tuple[Tensor, State]:
    states = []
    for block in encoder.blocks:
        assert isinstance(block, Mixer)
        x, state = capture(block, program, x)
        states.append(state)
    return _norm(encoder.norm, program, x), tuple(states)


def _block(block: Block, program: Program, x: Tensor) -> tuple[Tensor, State]:
    if type(block.mixer) is not Gated:
        raise CaptureError(f"no program for {type(block.mixer).__name__}")
    normed = _norm(block.norm, program, x)
    x, state = _gated(block.mixer, program, normed, scale=block.scale, base=x)
    if block.mlp is None:
        return x, state
    _check(block.mlp, SwiGLU)
    hidden = _linear(block.mlp.up, program, _norm(block.norm_mlp, program, x))
    hidden = program.swiglu(hidden)
    return _linear(block.mlp.down, program, hidden, scale=block.mlp_scale, base=x), state


def _gated(gated: Gated, program: Program, x: Tensor, **residual: Tensor) -> tuple[Tensor, State]:
    value, gate = _linear(gated.project_in, program, x).chunk(2, dim=-1)
    _check(gated.conv, CausalConv)
    taps, width = gated.conv.weight.shape
    memory = program.buffer(taps - 1, width)
    value = program.conv(value, gated.conv.weight, gated.conv.bias, memory)
    y, state = capture(gated.mixer, program, value)
    y = _norm(gated.norm, program, y, gate)
    return _linear(gated.project_out, program, y, **residual), (memory, state)


def _recurrent(layer: Recurrent, program: Program, x: Tensor) -> tuple[Tensor, State]:
    cell = layer.cell
    projection = getattr(cell, "projection", None)
    if projection is None or not is_plain(projection) or projection.weight.shape[0] > 1:
        raise CaptureError("a drive that is no plain projection of one head")
    u = program.linear(x, projection.weight.flatten(0, 2), projection.bias.flatten())
    state = program.buffer(*cell.state_shape)
    name, weight = _weights(cell)
    return program.recurrence(name, u, weight, state), state


def _weights(cell: nn.Module) -> tuple[str, Tensor]:
    """Return a cell's operation and the weights that it reads."""
    if type(cell) is GRUCell:
        return f"gru{cell.weight_hh.shape[1]}", cell.weight_hh.flatten(0, 2)
    if type(cell) is LSTMCell:
        weights = cell.weight_hh.flatten(0, 2), cell.peephole.flatten(0, 1)
        return f"lstm{cell.weight_hh.shape[1]}", torch.cat(weights)
    raise CaptureError(f"no program for {type(cell).__name__}")


def _linear(layer: nn.Linear, program: Program, x: Tensor, **residual: Tensor) -> Tensor:
    _check(layer, nn.Linear)
    return program.linear(x, layer.weight, layer.bias, **residual)


def _norm(norm: RMSNorm, program: Program, x: Tensor, gate: Tensor | None = None) -> Tensor:
    _check(norm, RMSNorm)
    eps = torch.finfo(program.dtype).eps if norm.eps is None else norm.eps
    return program.norm(x, norm.weight, gate, eps)


def _check(layer: nn.Module, kind: type[nn.Module]) -> None:
    if type(layer) is not kind:
        raise CaptureError(f"no program for {type(layer).__name__}")


CAPTURES: dict[type[Mixer], Callable[..., tuple[Tensor, Any]]] = {
    Encoder: _encoder,
    Block: _block,
    Recurrent: _recurrent,
    ParaGRU: _recurrent,
    ParaLSTM: _recurrent,
}
