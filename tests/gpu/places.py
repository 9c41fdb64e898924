"""Where tests run, and the cases of the emulation's tests, moved there."""

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from ops.native.test_device import CASES, problem
from ops.test_recurrence import run
from torch import Tensor

from paratime.testing import TOLERANCE, relative_error

Outcome = tuple[list[Tensor], list[Tensor]]
"""y and the final state, and the gradients of u, weight and h0."""


def on(names: str, full: Iterable[Any], emulated: Iterable[Any]) -> pytest.MarkDecorator:
    """Run a test on a CUDA device over all its cases, and over some of them in emulation.

    Args:
        names: What the test calls its parameters, besides ``where``.
        full: Values for these, on a device.
        emulated: Values for these, in emulation.
    """
    rows = [_row("cuda", x, pytest.mark.gpu) for x in full]
    rows += [_row("emulation", x) for x in emulated]
    return pytest.mark.parametrize(f"where, {names}", rows, indirect=["where"])


def everywhere(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test on a CUDA device and in emulation."""
    places = [pytest.param("cuda", marks=pytest.mark.gpu), "emulation"]
    return pytest.mark.parametrize("where", places, indirect=True)(test)


def _row(place: str, values: Any, *marks: pytest.MarkDecorator) -> Any:
    values = values if isinstance(values, tuple) else (values,)
    label = "-".join(str(x).removeprefix("torch.") for x in (place, *values))
    return pytest.param(place, *values, marks=marks, id=label)


def all_of(*values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the product of some tables."""
    return list(product(*values))


def moved(values: Iterable[Tensor | None], where: torch.device) -> list[Tensor | None]:
    """Copy tensors to a device."""
    return [None if x is None else x.to(where) for x in values]


def check(
    case: str, where: torch.device, steps: int, channels: int, dtype: torch.dtype, scale: float
) -> None:
    """Solve a problem of ``test_cuda.problem`` on a device, and hold it against its truth."""
    inputs, cotangents, *truth = problem(case, steps, channels, dtype, scale)
    found = run(CASES[case][0], moved(inputs, where), moved(cotangents, where))
    close(found, (truth[0], truth[1]), dtype)


def close(found: Outcome, truth: Outcome, dtype: torch.dtype) -> None:
    """Hold outputs and gradients against others, in the tolerance of a format."""
    allowed = TOLERANCE[dtype]
    for x, y in zip(found[0], truth[0], strict=True):
        assert x.shape == y.shape
        assert (x.cpu().double() - y.cpu()).abs().max() <= allowed.value
    for x, y in zip(found[1], truth[1], strict=True):
        assert x.shape == y.shape
        assert relative_error(x.cpu().double(), y.cpu().double()) <= allowed.gradient


def same(found: Outcome, expected: Outcome) -> bool:
    """Return whether two outcomes are equal to the bit."""
    return all(map(torch.equal, [*found[0], *found[1]], [*expected[0], *expected[1]]))
