"""What is timed against each other: our layers by every path, torch's, and peers' if installed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from unittest import mock

import torch
from clock import Work
from torch import Tensor, nn

from paratime import Newton, ParaGRU, ParaLSTM, Recurrent, Sequential
from paratime.ops.native import device

PARA: dict[str, type[Recurrent]] = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM}
TORCH: dict[str, type[nn.RNNBase]] = {"torch.nn.GRU": nn.GRU, "torch.nn.LSTM": nn.LSTM}
METHODS = (device.SEQUENTIAL, device.PARALLEL)
LOOP_STEPS = 8192
"""A loop in Python over more steps than this is not timed; its time is linear in them anyway."""


@contextmanager
def preferring(method: str) -> Iterator[None]:
    """Let every problem run by one method, with the lanes and threads that it gets by default."""
    limit = 0 if method == device.SEQUENTIAL else 2**62
    table = dict.fromkeys(device.thresholds(), limit)
    with mock.patch.object(device, "thresholds", lambda: table):
        yield


@dataclass(frozen=True)
class Contestant:
    """A layer from x (B, T, D) to an output, or to one and more.

    Attributes:
        build: Makes the layer.
        kernels: Which of ``PARA`` has the kernels that it runs on, if it does.
        method: By which method they run, if that is not left to the default.
        ours: Whether it must run; what others cannot do is no error.
    """

    build: Callable[[], nn.Module]
    kernels: str | None = None
    method: str | None = None
    ours: bool = True

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """Layers and methods whose kernels must be right."""
        if self.kernels is None:
            return ()
        return tuple((self.kernels, x) for x in (METHODS if self.method is None else [self.method]))

    def prepared(self) -> AbstractContextManager[None]:
        """Return the context in which its passes must run."""
        return nullcontext() if self.method is None else preferring(self.method)

    def passes(self, x: Tensor) -> dict[str, Work]:
        """Return the passes that are timed: inference, and forward and backward."""
        torch.manual_seed(0)
        layer, leaf = self.build().to(x.device, x.dtype), x.clone().requires_grad_()

        def forward() -> None:
            with torch.no_grad():
                layer(x)

        def both() -> None:
            leaf.grad = None
            layer.zero_grad()
            y = layer(leaf)
            y = y[0] if isinstance(y, tuple) else y
            y.backward(torch.ones((), dtype=y.dtype, device=y.device).expand_as(y))

        return {"forward": forward, "both": both}


def contestants(steps: int, width: int) -> dict[str, Contestant]:
    """Return what runs at B x T x D; what is slow comes last."""
    found = {"projection alone": Contestant(partial(nn.Linear, width, 3 * width))}
    for name, layer in PARA.items():
        found[name] = Contestant(partial(layer, width), name)
        for method in METHODS:
            found[f"{name}, {method}"] = Contestant(partial(layer, width), name, method)
    others = {n: partial(layer, width, width, batch_first=True) for n, layer in TORCH.items()}
    found |= {n: Contestant(x, ours=False) for n, x in (others | peers(width)).items()}
    for name, layer in PARA.items():
        found[f"{name}, Newton in torch"] = Contestant(partial(layer, width, solver=Newton()))
        if steps <= LOOP_STEPS:
            loop = partial(layer, width, solver=Sequential())
            found[f"{name}, loop in Python"] = Contestant(loop)
    return found


def peers(width: int) -> dict[str, Callable[[], nn.Module]]:
    """Return what makes layers of mamba-ssm and pararnn-torch, where these are installed."""
    found: dict[str, Callable[[], nn.Module]] = {}
    if find_spec("mamba_ssm") is not None:
        found |= {f"mamba-ssm {x}": partial(_mamba, x, width) for x in ("Mamba", "Mamba2")}
    if find_spec("pararnn") is not None:
        found |= {f"pararnn-torch {x}": partial(_pararnn, x, width) for x in PARA}
    return found


def _mamba(name: str, width: int) -> nn.Module:
    import mamba_ssm

    layer: nn.Module = getattr(mamba_ssm, name)(width)
    return layer


def _pararnn(name: str, width: int) -> nn.Module:
    import pararnn

    layer: nn.Module = pararnn.ParaRNN(getattr(pararnn, name)(width, width), solver="newton")
    return layer
