"""Refuse to time kernels that are wrong: both methods on a device, against the CPU.

python experiments/cuda/gate.py     # prints the errors; this is what initcheck is run on
"""

import copy
from collections.abc import Iterator

import pandas as pd
import torch
from contestants import METHODS, PARA, preferring
from torch import Tensor, nn

from paratime.ops.native import device, library
from paratime.testing import TOLERANCE, relative_error

SHAPE = (3, 700, 96)
FORMATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def find_device() -> torch.device:
    """Return the CUDA device; without one, or without kernels for it, say so in one line."""
    if not torch.cuda.is_available():
        raise SystemExit("this needs a GPU, and torch.cuda.is_available() says there is none")
    where = torch.device("cuda", torch.cuda.current_device())
    if not device.has_kernel("gru", 1, where):
        raise SystemExit("this needs CUDA kernels, and there are none for this GPU; see above")
    return where


def errors(where: torch.device, shape: tuple[int, int, int] = SHAPE) -> list[dict[str, object]]:
    """Return the errors of all layers, methods and formats.

    Outputs, final states and all gradients are compared with those of the loop in torch on the
    CPU, in float64, from the same rounded inputs and weights.

    Raises:
        SystemExit: One is beyond its tolerance.
    """
    rows = []
    for row in _measure(where, shape):
        allowed = TOLERANCE[getattr(torch, str(row["format"]))]
        wrong = not (row["value"] <= allowed.value and row["gradient"] <= allowed.gradient)
        if wrong:
            raise SystemExit(f"nothing is timed, because this is wrong: {row}; at most {allowed}")
        rows.append(row)
    return rows


def _measure(where: torch.device, shape: tuple[int, int, int]) -> Iterator[dict[str, object]]:
    for name, layer in PARA.items():
        for dtype in FORMATS:
            torch.manual_seed(0)
            own, x = layer(shape[-1]).to(dtype), torch.randn(shape).to(dtype)
            reset = torch.rand(shape[:2]) < 0.01
            with library.force_backend(library.REFERENCE):
                truth = _run(copy.deepcopy(own).double(), x.double(), reset)
            own.to(where)
            for method in METHODS:
                with preferring(method):
                    found = _run(own, x.to(where), reset.to(where))
                value, gradient = _gaps(found, truth)
                format = library.FORMATS[dtype]
                yield {
                    "layer": name,
                    "method": method,
                    "format": format,
                    "value": value,
                    "gradient": gradient,
                }


def _run(layer: nn.Module, x: Tensor, reset: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    leaves = [x.requires_grad_(), *layer.parameters()]
    y, state = layer(x, reset=reset)
    weight = torch.arange(y.numel(), dtype=torch.float64).cos().view_as(y).to(y)
    gradients = torch.autograd.grad((y * weight).sum() + state.sum().to(y.dtype), leaves)
    return [y.detach(), state.detach()], list(gradients)


def _gaps(
    found: tuple[list[Tensor], list[Tensor]], truth: tuple[list[Tensor], list[Tensor]]
) -> tuple[float, float]:
    """Return the largest absolute error of a value, and the largest relative one of a gradient."""
    values = [
        float((x.cpu().double() - y).abs().max()) for x, y in zip(found[0], truth[0], strict=True)
    ]
    gradients = [
        relative_error(x.cpu().double(), y) for x, y in zip(found[1], truth[1], strict=True)
    ]
    return max(values), max(gradients)


if __name__ == "__main__":
    print(pd.DataFrame(errors(find_device())).to_string(index=False))
