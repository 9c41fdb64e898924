"""Tests of the CUDA kernels on a device; what needs no device of its own runs in emulation too."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from paratime.ops.native import device, library, targets

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # products that are deterministic

sys.path.append(str(Path(__file__).parents[1] / "ops"))

NO_DEVICE = "no CUDA device, says torch.cuda.is_available()"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a test on a device print warnings, not fail by them.

    Which warnings drivers, torch's CUDA code and Triton give depends on their versions.
    """
    if item.get_closest_marker("gpu") is not None:
        item.add_marker(pytest.mark.filterwarnings("default"), append=False)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let convolutions compute in float32, as products of matrices do by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def cuda() -> torch.device:
    """Return the current CUDA device, whose kernels are compiled by then."""
    if not torch.cuda.is_available():
        pytest.skip(NO_DEVICE)
    return _with_kernels(torch.device("cuda", torch.cuda.current_device()))


@pytest.fixture
def where(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Return where a test of ``on`` runs: on a CUDA device, or on the CPU in emulation."""
    if request.param == "cuda":
        yield request.getfixturevalue("cuda")
        return
    with library.force_backend(targets.SIMT):
        yield _with_kernels(torch.device("cpu"))
    library.schedule(0, 1)


def _with_kernels(where: torch.device) -> torch.device:
    """Refuse a device where all tests would pass by the loop in torch."""
    for name in ("gru", "lstm"):
        assert device.has_kernel(name, 1, where), (
            "there are no CUDA kernels; paratime's log says why"
        )
    return where
