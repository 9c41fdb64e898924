"""What is not finite stays in its episode, by every operator and every kernel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from episodes import alone, check, masks, outcome, search, spoil
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from paratime.ops.conv import causal_conv
from paratime.ops.native import device, library, targets
from paratime.ops.recurrence import Recurrence, gru, lstm
from paratime.ops.scan import scan
from paratime.ops.selective import selective_scan

CHANNELS = 5
LENGTHS = (1, 2, 17, 34, 70)


@dataclass(frozen=True)
class Case:
    """An operator.

    Attributes:
        sequences: Shapes of a step of its inputs.
        state: Shape of a state.
        weights: Shapes of its weights.
        run: From weights, sequences, the state before and ``reset`` to y and the last state.
    """

    sequences: tuple[tuple[int, ...], ...]
    state: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...]
    run: Callable[..., tuple[Tensor, Tensor]]


def _scan_of(k: int, reverse: bool = False) -> Case:
    size = (k,) * (k > 1)

    def run(
        weights: Sequence[Tensor], x: Sequence[Tensor], h0: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor]:
        a, b = x
        a = torch.where(reset.view(*reset.shape, *[1] * (a.dim() - 2)), 0, a / k)
        h = scan(a.flip(1), b.flip(1), h0, reverse=True).flip(1) if reverse else scan(a, b, h0)
        return h, h[:, -1]

    return Case(((*size, *size, CHANNELS), (*size, CHANNELS)), (*size, CHANNELS), (), run)


def _recurrence(op: Recurrence, k: int) -> Case:
    rows, count = (k, 3 * k * k) if op is gru else (2 * k, 3 * k * k + 2 * k)

    def run(
        weights: Sequence[Tensor], x: Sequence[Tensor], h0: Tensor, reset: Tensor
    ) -> tuple[Tensor, Tensor]:
        return op(*x, *weights, h0, reset, None)[:2]

    return Case(((3 * k, CHANNELS),), (rows, CHANNELS), ((count, CHANNELS),), run)


def _selective(
    weights: Sequence[Tensor], x: Sequence[Tensor], h0: Tensor, reset: Tensor
) -> tuple[Tensor, Tensor]:
    (value, dt, b, c, gate), (a, skip) = x, weights
    return selective_scan(value, dt * dt, -a * a, b, c, skip, gate, h0, reset)


def _conv(
    weights: Sequence[Tensor], x: Sequence[Tensor], h0: Tensor, reset: Tensor
) -> tuple[Tensor, Tensor]:
    return causal_conv(*x, *weights, h0, reset)


WIDE, STATES = (CHANNELS,), (3,)
CASES = {
    **{f"scan{k}": _scan_of(k) for k in (1, 2, 4)},
    "scan2 in reverse": _scan_of(2, reverse=True),
    **{f"gru{k}": _recurrence(gru, k) for k in (1, 2, 4, 8)},
    **{f"lstm{k}": _recurrence(lstm, k) for k in (1, 2, 4, 8)},
    "selective": Case(
        (WIDE, WIDE, STATES, STATES, WIDE), (3, CHANNELS), ((3, CHANNELS), WIDE), _selective
    ),
    "conv": Case((WIDE,), (3, CHANNELS), ((4, CHANNELS), WIDE), _conv),
}
CHOICES = {
    "sequential": device.Choice("sequential"),
    "32 lanes": device.Choice("parallel", 32, 64),
    "4 lanes": device.Choice("parallel", 4, 32),
    "1 lane": device.Choice("parallel", 1, 32),
}
EMULATED = [name for name in CASES if name not in ("selective", "conv", "gru8", "lstm8", "lstm4")]


@st.composite
def problems(draw: st.DrawFn, case: Case) -> tuple:
    """Draw inputs, state, weights, resets and cotangents, some of them not finite."""
    reset = draw(masks(LENGTHS))
    torch.manual_seed(draw(st.integers(0, 99)))
    dtype = draw(st.sampled_from((torch.float32, torch.float64)))
    shape = tuple(reset.shape)
    sequences = [torch.randn(*shape, *x, dtype=dtype) for x in case.sequences]
    weights = [torch.randn(x, dtype=dtype).div(2).requires_grad_() for x in case.weights]
    h0 = torch.randn(2, *case.state, dtype=dtype).tanh()
    outputs = case.run(weights, sequences, h0, reset)
    cotangents = [torch.randn_like(x) for x in outputs]
    spoil(draw, [*sequences, h0, *cotangents])
    return sequences, h0, reset, cotangents, weights


def _check(case: Case, problem: tuple) -> None:
    weights = problem[-1]

    def run(x: Sequence[Tensor], start: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return case.run(weights, x, start, mask)

    found = outcome(run, *problem)
    check(found, outcome(alone(run), *problem), places=True)
    with library.force_backend(library.REFERENCE):
        check(found, outcome(alone(run), *problem), places=False)


def _check_examples(case, most):
    @search(most)
    @given(st.data())
    def examples(data):
        _check(case, data.draw(problems(case)))

    examples()


@pytest.mark.parametrize("path", [x for x in library.backends() if x != targets.SIMT])
@pytest.mark.parametrize("case", CASES)
def test_what_is_not_finite_stays_in_its_episode(case, path):
    with library.force_backend(path):
        _check_examples(CASES[case], 12)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("case", EMULATED)
def test_what_is_not_finite_stays_in_its_episode_on_a_device(case, choice):
    with library.force_backend(targets.SIMT), device.force_choice(CHOICES[choice]):
        _check_examples(CASES[case], 4)
