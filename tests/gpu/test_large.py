"""Long sequences, and tensors of more elements than 32 bits can count."""

import pytest
import torch
from gpu.places import moved, on
from ops.native.test_device import CASES
from ops.test_recurrence import run
from torch import Tensor

from paratime.ops.native import device, library
from paratime.testing import TOLERANCE, relative_error

METHODS = (device.SEQUENTIAL, device.PARALLEL)
LARGE = (2, 65536, 5632)
"""B, T and C, so that u (B, T, 3, C) has more than 2^31 elements; in bfloat16 they are 4.4 GB."""

NEEDED = 16e9
"""Bytes for those, the outputs, the gradients of both, and the workspaces."""


@on(
    "case, method, steps",
    [(case, method, 65536) for case in CASES for method in METHODS],
    [("gru1", "parallel", 3000), ("lstm1", "sequential", 3000)],
)
def test_long_sequences(where, case, method, steps):
    """The truth is that of the kernels for the CPU, in float64."""
    op, k = CASES[case]
    rows, weights = (k, 3 * k * k) if case.startswith("gru") else (2 * k, 3 * k * k + 2 * k)
    values = [torch.randn(2, steps, 3 * k, 3), torch.randn(weights, 3) / k]
    values += [torch.zeros(2, rows, 3), torch.rand(2, steps) < 1e-3, None]
    cotangents = [torch.randn(2, steps, k, 3).double(), torch.randn(2, rows, 3).double()]
    with library.force_backend(library.backends()[0]):
        truth = run(op, [x.double() for x in values[:3]] + values[3:], cotangents)
    with device.force_choice(device.Choice(method, 8)):
        found = run(op, moved(values, where), moved(cotangents, where))
    allowed = TOLERANCE[torch.float32]
    for x, y in zip(found[0], truth[0], strict=True):
        assert (x.cpu() - y).abs().max() <= allowed.value
    for x, y in zip(found[1], truth[1], strict=True):
        assert relative_error(x.cpu().double(), y) <= allowed.gradient


@on(
    "method, size",
    [(method, LARGE) for method in METHODS],
    [(method, (2, 300, 96)) for method in METHODS],
)
def test_what_lies_beyond_32_bits(where, method, size):
    """The last channels of the last sequence are what they are by themselves, to the bit."""
    if where.type == "cuda" and torch.cuda.mem_get_info(where)[0] < NEEDED:
        pytest.skip(f"less than {NEEDED / 1e9:.0f} GB of CUDA memory are free")
    batch, steps, channels = size
    u, g = (
        torch.randn(batch, steps, rows, channels, dtype=torch.bfloat16, device=where)
        for rows in (3, 1)
    )
    weight, h0 = (torch.randn(n, channels, device=where).tanh() for n in (3, batch))
    assert where.type == "cpu" or u.numel() > 2**31
    with device.force_choice(device.Choice(method)):
        whole = _both(u, weight, h0.unsqueeze(1), g)
        last = [x[-1:, ..., -32:].contiguous() for x in (u, h0.unsqueeze(1), g)]
        alone = _both(last[0], weight[:, -32:].contiguous(), *last[1:])
    for x, y in zip(whole, alone, strict=True):
        assert torch.equal(x[-1:, ..., -32:], y)


def _both(u: Tensor, weight: Tensor, h0: Tensor, g: Tensor) -> list[Tensor]:
    """Return y, and the gradients of u and h0, with no copies of either."""
    op = CASES["gru1"][0]
    y, memory, _, _ = op.forward(u, weight, h0, None, None)
    d_u, _, d_h0 = op.backward(g, None, y, memory, u, weight, h0, None, None)
    return [y, d_u, d_h0]
