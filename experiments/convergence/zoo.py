"""The cells that are compared, each at a scale; what that is, its recipe says."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from paratime import Cell, GRUCell, LSTMCell
from paratime.cells import (
    BlockElmanCell,
    BRCCell,
    CfCCell,
    ElmanCell,
    LRUCell,
    MGUCell,
    NormalInit,
    SLSTMCell,
)


@dataclass(frozen=True)
class Recipe:
    """How a cell is made.

    Attributes:
        kind: Makes it from the widths of input and state, with its own initialisation.
        scaled: The same at a scale.
    """

    kind: Callable[[int, int], Cell]
    scaled: Callable[[int, int, float], Cell]


def gated(kind: Callable[..., Cell]) -> Recipe:
    """Return a recipe that draws recurrent weights from N(0, scale^2)."""
    return Recipe(kind, lambda size, width, scale: kind(size, width, init=NormalInit(scale)))


def elman(size: int, width: int, scale: float) -> Cell:
    """Return Elman's cell with recurrent weights from N(0, scale^2)."""
    cell = ElmanCell(size, width)
    nn.init.normal_(cell.weight_hh, std=scale)
    return cell


def lru(size: int, width: int, scale: float) -> Cell:
    """Return a nonlinear LRU with |lambda| = 1 - 10^(-2 scale): 0.9 at 0.5, 0.99 at 1."""
    radius = 1 - 10 ** (-2 * scale)
    return LRUCell(size, width, r_min=radius, r_max=radius)


@torch.no_grad()
def latched(size: int, width: int, scale: float = 1.0) -> Cell:
    """Return a BRC that keeps its state: a is about 1 + tanh(scale), and inputs are a tenth."""
    cell = BRCCell(size, width)
    cell.projection.bias[0] = scale
    cell.projection.weight[:, 2] /= 10
    return cell


def block_elman(size: int, width: int, scale: float) -> Cell:
    """Return eight coupled numbers a channel with weights from N(0, scale^2 / 8)."""
    return BlockElmanCell(size, width, gain=scale)


ZOO = {
    "LRU, nonlinear": Recipe(LRUCell, lru),
    "MGU": gated(MGUCell),
    "GRU": gated(GRUCell),
    "LSTM": gated(LSTMCell),
    "sLSTM": gated(SLSTMCell),
    "CfC": gated(CfCCell),
    "BRC": gated(BRCCell),
    "BlockElman": Recipe(BlockElmanCell, block_elman),
    "Elman": Recipe(ElmanCell, elman),
    "BRC, latched": Recipe(latched, latched),
}
