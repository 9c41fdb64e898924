"""The mixers that are compared, all inside the same network."""

import math
from collections.abc import Callable
from functools import partial

from tasks import Task
from torch import Tensor, nn

from paratime import Mixer, ParaGRU, ParaLSTM
from paratime.baselines import Attention, Mamba, Mamba2, Mamba3, MinGRU, TorchGRU
from paratime.cells import NormalInit
from paratime.layers import RMSNorm, SwiGLU

WIDTH = 64
BLOCKS = (1, 2, 4, 8)


def name_of(layer: str, block: int) -> str:
    """Return the name of a layer with so many numbers a block."""
    return layer if block == 1 else f"{layer}-{block}"


def blocks_of(layer: type[ParaGRU] | type[ParaLSTM]) -> dict[str, Callable[[int], Mixer]]:
    """Return a layer of each block size.

    Recurrent weights are drawn from N(0, 1 / K), so that blocks have a spectral radius near one.
    With those of the paper, from N(0, 1 / D), a cell starts almost linear in its state.
    """
    return {
        name_of(layer.__name__, k): partial(layer, block_size=k, init=NormalInit(1 / math.sqrt(k)))
        for k in BLOCKS
    }


MIXERS: dict[str, Callable[[int], Mixer]] = {
    **blocks_of(ParaGRU),
    **blocks_of(ParaLSTM),
    "TorchGRU": TorchGRU,
    "MinGRU": MinGRU,
    "Mamba": Mamba,
    "Mamba2": partial(Mamba2, state_size=32),
    "Mamba3": partial(Mamba3, state_size=32, dt_min=0.5, dt_max=2.0),  # it turns by pi dt at most
    "Attention": Attention,
}

LINEAR = ("Attention", "MinGRU")
"""Mixers whose output is linear in what they keep: a SwiGLU follows them, as in a Transformer."""


class Residual(nn.Module):
    """x + f(norm(x)) for a mixer or any other layer f.

    Unlike in ``paratime.Encoder``, there is no convolution before a mixer, through which it would
    see the last tokens without a state.

    Args:
        width: Width of x.
        layer: f.
    """

    def __init__(self, width: int, layer: nn.Module) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, T, width)."""
        y = self.layer(self.norm(x))
        return x + (y[0] if isinstance(self.layer, Mixer) else y)


class Tracker(nn.Sequential):
    """Embedding -> residual mixers -> norm -> linear map; tokens (B, T) to logits (B, T, classes).

    Args:
        task: What is read and said.
        mixer: A key of ``MIXERS``.
        width: Width of the embedding and of all layers.
        depth: Number of mixers.
    """

    def __init__(self, task: Task, mixer: str, width: int = WIDTH, depth: int = 1) -> None:
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers.append(MIXERS[mixer](width))
            if mixer in LINEAR:
                layers.append(SwiGLU(width, width))
        super().__init__(
            nn.Embedding(task.vocabulary, width),
            *(Residual(width, layer) for layer in layers),
            RMSNorm(width),
            nn.Linear(width, task.classes),
        )
