"""The tables that property tests run over."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from paratime.baselines.attention import Attention
from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.baselines.mamba3 import Mamba3
from paratime.baselines.mingru import MinGRU, MinLSTM
from paratime.baselines.rnn import TorchGRU, TorchLSTM
from paratime.cells.base import Cell
from paratime.cells.brc import BRCCell
from paratime.cells.cfc import CfCCell
from paratime.cells.elman import BlockElmanCell, ElmanCell
from paratime.cells.gru import GRUCell
from paratime.cells.init import NormalInit
from paratime.cells.lru import LRUCell
from paratime.cells.lstm import LSTMCell
from paratime.cells.mgu import MGUCell
from paratime.cells.slstm import SLSTMCell
from paratime.layers.block import Block
from paratime.layers.conv import CausalConv
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU, ParaLSTM, Recurrent
from paratime.layers.stacked import Stacked
from paratime.solvers.newton import Newton

INPUT = 4
HIDDEN = 32
"""Whole vectors: torch's CPU kernels round the rest of a row differently, by the tensor's shape,
and a chaotic channel amplifies the last bit."""
LENGTHS = (1, 2, 63, 500, pytest.param(2048, marks=pytest.mark.slow))
SCALES = (0.1, 1.0, 2.0, 3.0)
STABLE = (0.1, 1.0)
DTYPES = (torch.float64, torch.float32)


class SpinCell(Cell):
    """A cell as a user would write it: each channel is a point in the plane that is turned."""

    bound = 1.0

    def __init__(self, input_size: int, hidden_size: int, scale: float = 1.0) -> None:
        super().__init__(hidden_size, (2, hidden_size // 2))
        self.projection = nn.Linear(input_size, hidden_size)
        self.angle = nn.Parameter(torch.rand(hidden_size // 2))
        self.gain = nn.Parameter(scale * torch.randn(hidden_size // 2))

    def drive(self, x: Tensor) -> Tensor:
        return self.projection(x).unflatten(-1, self.state_shape)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        sin, cos = self.angle.sin(), self.angle.cos()
        p, q = h.unbind(-2)
        turned = torch.stack([cos * p - sin * q, sin * p + cos * q], dim=-2)
        return torch.tanh(u + self.gain * turned)


class DenseCell(Cell):
    """Every number reads every other: one channel of K = hidden_size numbers."""

    bound = 1.0

    def __init__(self, input_size: int, hidden_size: int, scale: float = 1.0) -> None:
        super().__init__(hidden_size, (hidden_size, 1))
        self.projection = nn.Linear(input_size, hidden_size)
        weight = torch.randn(hidden_size, hidden_size) / hidden_size**0.5
        self.weight_hh = nn.Parameter(scale * weight)

    def drive(self, x: Tensor) -> Tensor:
        return self.projection(x).unsqueeze(-1)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(u + self.weight_hh.to(h.dtype) @ h)


def _elman(scale: float, hidden: int = HIDDEN) -> Cell:
    cell = ElmanCell(INPUT, hidden)
    nn.init.normal_(cell.weight_hh, std=scale)
    return cell


def _spin(scale: float, hidden: int = HIDDEN) -> Cell:
    return SpinCell(INPUT, hidden, scale)


def _dense(scale: float, hidden: int = HIDDEN) -> Cell:
    return DenseCell(INPUT, hidden, scale)


def _lru(scale: float, hidden: int = HIDDEN) -> Cell:
    return LRUCell(INPUT, hidden, r_max=1 - 10 ** (-2 * scale))


def _block_elman(scale: float, hidden: int = HIDDEN) -> Cell:
    return BlockElmanCell(INPUT, hidden, block_size=4, gain=scale)


def _gated(kind: Callable[..., Cell], **options: int) -> Callable[..., Cell]:
    def build(scale: float, hidden: int = HIDDEN) -> Cell:
        return kind(INPUT, hidden, init=NormalInit(scale), **options)

    return build


ZOO: dict[str, Callable[..., Cell]] = {
    "mgu": _gated(MGUCell),
    "cfc": _gated(CfCCell),
    "slstm": _gated(SLSTMCell),
    "lru": _lru,
    "brc": _gated(BRCCell),
    "block_elman": _block_elman,
}
CELLS = {
    "gru1": _gated(GRUCell, block_size=1),
    "gru2": _gated(GRUCell, block_size=2),
    "gru4": _gated(GRUCell, block_size=4),
    "lstm1": _gated(LSTMCell, block_size=1),
    "lstm2": _gated(LSTMCell, block_size=2),
    "elman": _elman,
    "spin": _spin,
    **ZOO,
}
"""Cells by the scale of their recurrent weights and their width."""

MORE_CELLS = CELLS | {
    "gru8": _gated(GRUCell, block_size=8),
    "lstm4": _gated(LSTMCell, block_size=4),
    "lstm8": _gated(LSTMCell, block_size=8),
    "gru_heads": _gated(GRUCell, heads=2),
    "dense": _dense,
}


class ElmanMixer(Recurrent):
    """A mixer as a user would name it in a config."""

    def __init__(self, width: int) -> None:
        super().__init__(ElmanCell(width, width))


WIDTH = 8
BASELINES: dict[str, Callable[[], Mixer]] = {
    "TorchGRU": lambda: TorchGRU(WIDTH),
    "TorchLSTM": lambda: TorchLSTM(WIDTH),
    "Mamba": lambda: Mamba(WIDTH, state_size=4),
    "Mamba2": lambda: Mamba2(WIDTH, state_size=6, head_size=4, groups=2),
    "Mamba3": lambda: Mamba3(WIDTH, state_size=8, head_size=4),
    "Mamba3 of rank 3": lambda: Mamba3(WIDTH, state_size=8, head_size=8, rank=3),
    "MinGRU": lambda: MinGRU(WIDTH, heads=2),
    "MinLSTM": lambda: MinLSTM(WIDTH),
    "Attention": lambda: Attention(WIDTH, heads=2),
    "Attention to 1": lambda: Attention(WIDTH, window=1),
    "Attention to 5": lambda: Attention(WIDTH, window=5),
}
MIXERS: dict[str, Callable[[], Mixer]] = {
    "ParaGRU": lambda: ParaGRU(WIDTH),
    "ParaGRU4": lambda: ParaGRU(WIDTH, block_size=4, heads=2),
    "ParaLSTM": lambda: ParaLSTM(WIDTH),
    "ParaGRU by Newton": lambda: ParaGRU(WIDTH, solver=Newton()),
    "ParaLSTM2 by Newton": lambda: ParaLSTM(WIDTH, block_size=2, solver=Newton()),
    "Elman": lambda: ElmanMixer(WIDTH),
    "CausalConv": lambda: CausalConv(WIDTH),
    "Block": lambda: Block(WIDTH, ParaLSTM),
    "Encoder": lambda: Encoder(WIDTH, 2, ParaGRU, mlp_size=16),
    "Stacked": lambda: Stacked(ParaLSTM, WIDTH, num_layers=2),
    **BASELINES,
}


def inputs(dtype: torch.dtype, steps: int, batch: int = 2) -> Tensor:
    """Draw inputs (B, T, INPUT) from N(0, 1)."""
    return torch.randn(batch, steps, INPUT, dtype=torch.float64).to(dtype)


def resets(steps: int, batch: int = 2) -> Tensor:
    """Draw restarts (B, T), one step in fifty."""
    return torch.rand(batch, steps) < 0.02


def start(cell: Cell, dtype: torch.dtype, batch: int = 2) -> Tensor:
    """Draw a state (B, *state_shape) inside the unit box."""
    return torch.randn(batch, *cell.state_shape, dtype=torch.float64).tanh().to(dtype)
