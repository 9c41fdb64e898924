"""The mixers that are compared, all inside the same network."""

from collections.abc import Callable
from functools import partial

from tasks import Task
from torch import Tensor, nn

from paratime import Encoder, Mixer, ParaGRU, ParaLSTM
from paratime.baselines.attention import Attention
from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.baselines.mamba3 import Mamba3
from paratime.baselines.mingru import MinGRU
from paratime.baselines.rnn import TorchGRU
from paratime.cells.init import NormalInit

WIDTH = 64
BLOCKS = (1, 2, 4, 8)
INIT = NormalInit(1.0)
"""Recurrent weights of order one: with those of the paper, of order 1 / sqrt(D), a cell starts
almost linear in its state, and must first learn that the state matters."""


def name_of(layer: str, block: int) -> str:
    """Return the name of a layer with so many numbers a block."""
    return layer if block == 1 else f"{layer}-{block}"


MIXERS: dict[str, Callable[[int], Mixer]] = {
    **{name_of("ParaGRU", k): partial(ParaGRU, block_size=k, init=INIT) for k in BLOCKS},
    **{name_of("ParaLSTM", k): partial(ParaLSTM, block_size=k, init=INIT) for k in BLOCKS},
    "TorchGRU": TorchGRU,
    "MinGRU": MinGRU,
    "Mamba": Mamba,
    "Mamba2": partial(Mamba2, state_size=32),
    "Mamba3": partial(Mamba3, state_size=32),
    "Attention": Attention,
}


class Tracker(nn.Module):
    """Embedding -> encoder -> linear map to the classes of a task.

    Blocks have no SwiGLU, but for those of attention, which has no other nonlinearity.

    Args:
        task: What is read and said.
        mixer: A key of ``MIXERS``.
        width: Width of embedding and blocks.
        depth: Number of blocks.
    """

    def __init__(self, task: Task, mixer: str, width: int = WIDTH, depth: int = 1) -> None:
        super().__init__()
        mlp_size = width if mixer == "Attention" else 0
        self.embedding = nn.Embedding(task.vocabulary, width)
        self.encoder = Encoder(width, depth, MIXERS[mixer], mlp_size=mlp_size)
        self.head = nn.Linear(width, task.classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, T) to logits (B, T, classes)."""
        encoded, _ = self.encoder(self.embedding(tokens))
        logits: Tensor = self.head(encoded)
        return logits
