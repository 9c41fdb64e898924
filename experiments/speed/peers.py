"""Our baselines beside public implementations of them with the same weights, where installed."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from paratime import Mamba, Mamba2, Mamba3, MinGRU

ERROR = 1e-4
Contestant = Callable[[Tensor], Tensor]


def baselines(width: int) -> dict[str, nn.Module]:
    """Return our own, and those of others."""
    own: dict[str, nn.Module] = {
        layer.__name__: layer(width) for layer in (MinGRU, Mamba, Mamba2, Mamba3)
    }
    return own | _transformers(own["Mamba2"], width) | _mambapy(own["Mamba"], width)


def check(layers: dict[str, nn.Module], width: int) -> None:
    """Refuse to time others that do not compute the same."""
    x = torch.randn(1, 300, width)
    for name, layer in layers.items():
        own = layers[name.split()[-1]]
        with torch.no_grad():
            error = float((output(layer(x)) - output(own(x))).abs().max())
        if error > ERROR:
            raise SystemExit(f"not timed: {name} differs from ours by {error:.1e}")


def output(y: Tensor | tuple[Tensor, object]) -> Tensor:
    """Return what a layer computes, without its state."""
    return y[0] if isinstance(y, tuple) else y


def _transformers(own: nn.Module, width: int) -> dict[str, nn.Module]:
    if find_spec("transformers") is None:
        return {}
    from transformers import Mamba2Config
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    assert isinstance(own, Mamba2)
    config = Mamba2Config(
        hidden_size=width, num_heads=own.sizes[2], head_dim=own.head_size, n_groups=own.groups
    )
    theirs = Mamba2Mixer(config, 0)
    theirs.load_state_dict(own.state_dict())
    return {"transformers Mamba2": theirs}


def _mambapy(own: nn.Module, width: int) -> dict[str, nn.Module]:
    if find_spec("mambapy") is None:
        return {}
    from mambapy.mamba import MambaBlock, MambaConfig

    theirs = MambaBlock(MambaConfig(d_model=width, n_layers=1))
    theirs.load_state_dict(own.state_dict())
    return {"mambapy Mamba": theirs}
