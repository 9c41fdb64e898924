"""Compiled, a baseline says the same; torch's layers alone break the graph, as they always do."""

import pytest
import torch
from cases import BASELINES, WIDTH

from paratime.testing import TOLERANCE, relative_error

LONG = ("Mamba2", "Mamba3")
"""Compiled in a minute each."""


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # dynamo, behind a break
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith(LONG) else [])
        for name in BASELINES
        if name != "Attention to 1"
    ],
)
def test_compile(name):
    mixer, reset = BASELINES[name](), torch.rand(3, 20) < 0.1
    whole = not name.startswith("Torch")
    compiled = torch.compile(mixer, fullgraph=whole, backend="aot_eager")
    lengths, x = torch.tensor([7, 0, 20]), torch.randn(3, 20, WIDTH)
    for steps in (20, 13):
        args = {"reset": reset[:, :steps], "lengths": lengths.clamp(max=steps)}
        runs = [run(x[:, :steps], **args)[0] for run in (compiled, mixer)]
        assert (runs[0] - runs[1]).abs().max() <= TOLERANCE[x.dtype].value
        gradients = [torch.autograd.grad(y.square().sum(), [*mixer.parameters()]) for y in runs]
        for a, b in zip(*gradients, strict=True):
            assert relative_error(a, b) <= TOLERANCE[x.dtype].gradient
