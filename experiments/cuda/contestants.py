"""What is timed against each other: our layers by every path, torch's, and peers' if installed."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
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
        layer: The layer, on the device and in the format of x.
        method: By which method its kernels run, if that is not left to the default.
        ours: Whether it must run; what others cannot do is no error.
    """

    layer: nn.Module
    method: str | None = None
    ours: bool = True

    def prepared(self) -> AbstractContextManager[None]:
        """Return the context in which its passes must run."""
        return nullcontext() if self.method is None else preferring(self.method)

    def passes(self, x: Tensor) -> dict[str, Work]:
        """Return the passes that are timed: inference, and forward and backward."""
        leaf = x.clone().requires_grad_()

        def forward() -> None:
            with torch.no_grad():
                self.layer(x)

        def both() -> None:
            leaf.grad = None
            self.layer.zero_grad()
            y = self.layer(leaf)
            y = y[0] if isinstance(y, tuple) else y
            y.backward(torch.ones((), dtype=y.dtype, device=y.device).expand_as(y))

        return {"forward": forward, "both": both}


def contestants(
    shape: tuple[int, int, int], where: torch.device, dtype: torch.dtype
) -> dict[str, Contestant]:
    """Return what runs at B x T x D."""
    _, steps, width = shape
    found = {"projection alone": Contestant(nn.Linear(width, 3 * width))}
    for name, layer in PARA.items():
        own = layer(width)
        found[name] = Contestant(own)
        found |= {f"{name}, {method}": Contestant(own, method) for method in METHODS}
        found[f"{name}, Newton in torch"] = Contestant(Recurrent(own.cell, Newton()))
        if steps <= LOOP_STEPS:
            found[f"{name}, loop in Python"] = Contestant(Recurrent(own.cell, Sequential()))
    others = {name: layer(width, width, batch_first=True) for name, layer in TORCH.items()}
    others |= peers(width)
    found |= {name: Contestant(layer, ours=False) for name, layer in others.items()}
    for contestant in found.values():
        contestant.layer.to(where, dtype)
    return found


def peers(width: int) -> dict[str, nn.Module]:
    """Return the layers of mamba-ssm and pararnn-torch, where these are installed."""
    found: dict[str, nn.Module] = {}
    if find_spec("mamba_ssm") is not None:
        from mamba_ssm import Mamba, Mamba2

        found |= {"mamba-ssm Mamba": Mamba(width), "mamba-ssm Mamba2": Mamba2(width)}
    if find_spec("pararnn") is not None:
        import pararnn

        for name, cell in (("ParaGRU", pararnn.ParaGRU), ("ParaLSTM", pararnn.ParaLSTM)):
            layer = pararnn.ParaRNN(cell(width, width), solver="newton")
            found[f"pararnn-torch {name}"] = layer
    return found
