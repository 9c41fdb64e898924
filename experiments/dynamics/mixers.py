"""The models that are compared: one encoder around each mixer, all with as many parameters."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from paratime import Encoder, Mixer, ParaGRU, ParaLSTM
from paratime.baselines import Attention, Mamba, Mamba2, Mamba3, MinGRU, TorchGRU
from paratime.compare import size_for

WIDTH, DEPTH, MLP = 32, 2, 96
"""Of the encoder around ParaGRU, whose number of parameters all others have, too."""

WINDOW = 64
"""Steps of a training window, and so those that attention reads."""


class Nothing(Mixer):
    """No mixing of time at all, so that the convolution of four steps is all that remembers.

    Args:
        width: Width of input and output.
    """

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(
        self,
        x: Tensor,
        h0: None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Return x (B, T, width)."""
        return x, None

    def step(
        self, x: Tensor, state: None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Return x (B, width)."""
        return x, None


MIXERS: dict[str, Callable[[int], Mixer]] = {
    "ParaGRU": ParaGRU,
    "ParaGRU-8": partial(ParaGRU, block_size=8),
    "ParaLSTM": ParaLSTM,
    "MinGRU": MinGRU,
    "Mamba": Mamba,
    "Mamba2": partial(Mamba2, state_size=32),
    "Mamba3": partial(Mamba3, state_size=32),
    "Convolution": Nothing,
    "TorchGRU": TorchGRU,
    "Attention": partial(Attention, window=WINDOW),
}


def encoder_of(mixer: str) -> Encoder:
    """Build the encoder around a mixer, its feed-forward layers as wide as parameters are left."""
    wanted = parameters(Encoder(WIDTH, DEPTH, ParaGRU, mlp_size=MLP))
    build = partial(Encoder, WIDTH, DEPTH, MIXERS[mixer])
    return build(mlp_size=size_for(wanted, lambda size: parameters(build(mlp_size=size))))


def parameters(module: nn.Module) -> int:
    """Return how many parameters a module has."""
    return sum(p.numel() for p in module.parameters())
