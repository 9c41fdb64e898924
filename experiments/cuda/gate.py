"""Find out which kernels are right, and may be timed: both methods on a device, against the CPU.

python experiments/cuda/gate.py     # prints the errors; this is what initcheck is run on
"""

import copy
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NoReturn

import checkout  # noqa: F401
import pandas as pd
import torch
from contestants import METHODS, PARA, preferring
from torch import Tensor, nn

from paratime.ops.native import device, library
from paratime.testing import TOLERANCE, relative_error

SHAPE = (3, 700, 96)
Found = tuple[list[Tensor], list[Tensor]]
"""Outputs and final state, and gradients."""

FORMATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Gate:
    """What may be timed: kernels that were found right.

    Attributes:
        wrong: Layers, methods and formats whose kernels are not.
    """

    wrong: frozenset[tuple[str, str, str]]

    def opens(self, needs: Iterable[tuple[str, str]], format: str) -> bool:
        """Return whether some layers' kernels, by method, are right in a format."""
        return not self.wrong & {(*need, format) for need in needs}


def find_device() -> torch.device:
    """Return the CUDA device; without one, or without kernels for it, say so in one line."""
    if not torch.cuda.is_available():
        refuse("this needs a GPU, and torch.cuda.is_available() says there is none")
    where = torch.device("cuda", torch.cuda.current_device())
    if not device.has_kernel("gru", 1, where):
        refuse("this needs CUDA kernels, and there are none for this GPU; see above")
    return where


def refuse(reason: str) -> NoReturn:
    """Print one line, and end with status 2: there is nothing to measure on."""
    print(reason, file=sys.stderr)
    raise SystemExit(2)


def gate_of(rows: Iterable[dict[str, object]]) -> Gate:
    """Return the gate that the rows of ``errors`` leave."""
    names = ("layer", "method", "format")
    wrong = [tuple(str(row[name]) for name in names) for row in rows if not row["right"]]
    return Gate(frozenset(wrong))  # type: ignore[arg-type]


def errors(where: torch.device, shape: tuple[int, int, int] = SHAPE) -> Iterator[dict[str, object]]:
    """Yield the errors of all layers, methods and formats, and whether they are within tolerance.

    Outputs, final states and all gradients are compared with those of the loop in torch on the
    CPU, in float64, from the same rounded inputs and weights.
    """
    for name, dtype in product(PARA, FORMATS):
        torch.manual_seed(0)
        own, x = PARA[name](shape[-1]).to(dtype), torch.randn(shape).to(dtype)
        reset = torch.rand(shape[:2]) < 0.01
        with library.force_backend(library.REFERENCE):
            truth = _run(copy.deepcopy(own).double(), x.double(), reset)
        for method in METHODS:
            value, gradient = _attempt(own, x, reset, where, method, truth)
            allowed = TOLERANCE[dtype]
            right = value <= allowed.value and gradient <= allowed.gradient
            start = {"layer": name, "method": method, "format": library.FORMATS[dtype]}
            yield start | {"value": value, "gradient": gradient, "right": right}


def _attempt(
    layer: nn.Module, x: Tensor, reset: Tensor, where: torch.device, method: str, truth: Found
) -> tuple[float, float]:
    """Return the errors of a method; what cannot be launched is as wrong as can be."""
    try:
        with preferring(method):
            found = _run(copy.deepcopy(layer).to(where), x.to(where), reset.to(where))
        return _gaps(found, truth)
    except RuntimeError as error:
        print(f"{type(layer).__name__}, {method}, {x.dtype}: {error}")
        return math.nan, math.nan


def _run(layer: nn.Module, x: Tensor, reset: Tensor) -> Found:
    leaves = [x.requires_grad_(), *layer.parameters()]
    y, state = layer(x, reset=reset)
    weight = torch.arange(y.numel(), dtype=torch.float64).cos().view_as(y).to(y)
    gradients = torch.autograd.grad((y * weight).sum() + state.sum().to(y.dtype), leaves)
    return [y.detach(), state.detach()], list(gradients)


def _gaps(found: Found, truth: Found) -> tuple[float, float]:
    """Return the largest absolute error of a value, and the largest relative one of a gradient."""
    values = [
        float((x.cpu().double() - y).abs().max()) for x, y in zip(found[0], truth[0], strict=True)
    ]
    gradients = [
        relative_error(x.cpu().double(), y) for x, y in zip(found[1], truth[1], strict=True)
    ]
    return tuple(
        max(x, key=lambda e: math.inf if math.isnan(e) else e) for x in (values, gradients)
    )


if __name__ == "__main__":
    found = pd.DataFrame(errors(find_device()))
    print(found.to_string(index=False))
    raise SystemExit(0 if found.right.all() else 1)
