"""Values that are not finite, in some steps of sequences with resets, and what is right there.

The right result is that of every episode, the steps from one reset to the next, run alone: outputs,
states and gradients, so that what is not finite stays in its episode.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor

from paratime.testing import TOLERANCE

Run = Callable[..., tuple[Tensor, Tensor]]
"""From sequences, each (B, T, ...), the state before them and ``reset`` to y and the last state."""

VALUES = (torch.nan, torch.inf, -torch.inf)
SEARCH = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


def search(examples: int) -> settings:
    """Return how many examples hypothesis tries, the same in every run."""
    return settings(max_examples=examples, **SEARCH)


@st.composite
def masks(draw: st.DrawFn, lengths: Sequence[int]) -> Tensor:
    """Draw restarts (2, T): at the first step, next to each other, at borders, or nowhere."""
    steps = draw(st.sampled_from(lengths))
    borders = [t for t in (0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, steps - 1) if t < steps]
    where = st.one_of(st.sampled_from(borders), st.integers(0, steps - 1))
    reset = torch.zeros(2, steps, dtype=torch.bool)
    for row in reset:
        row[draw(st.lists(where, max_size=5))] = True
    return reset


def spoil(draw: st.DrawFn, tensors: Sequence[Tensor], most: int = 3) -> None:
    """Put values that are not finite somewhere into some tensors, in place."""
    for _ in range(draw(st.integers(1, most))):
        x = draw(st.sampled_from([x for x in tensors if x.numel()])).view(-1)
        x[draw(st.integers(0, x.numel() - 1))] = draw(st.sampled_from(VALUES))


def alone(run: Run) -> Run:
    """Return a function that runs every episode of every sequence by itself."""

    def episodes(sequences: Sequence[Tensor], h0: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        found = [_of_row(run, sequences, h0, reset, i) for i in range(len(reset))]
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))

    return episodes


def _of_row(
    run: Run, sequences: Sequence[Tensor], h0: Tensor, reset: Tensor, i: int
) -> tuple[Tensor, Tensor]:
    steps = reset.shape[1]
    cuts = [0, *(t for t in range(1, steps) if reset[i, t]), steps]
    state, outputs = h0[i : i + 1], []
    for begin, end in pairwise(cuts):
        if reset[i, begin]:
            state = torch.zeros_like(state)
        now = [x[i : i + 1, begin:end] for x in sequences]
        y, state = run(now, state, reset[i : i + 1, begin:end])
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


def outcome(
    run: Run,
    sequences: Sequence[Tensor],
    h0: Tensor,
    reset: Tensor,
    cotangents: Sequence[Tensor],
    weights: Sequence[Tensor] = (),
) -> list[Tensor]:
    """Return y, the last state, and the gradients of sequences, h0 and weights."""
    leaves = [x.detach().clone().requires_grad_() for x in (*sequences, h0)]
    y, final = run(leaves[:-1], leaves[-1], reset)
    found = torch.autograd.grad(
        (y, final), [*leaves, *weights], list(cotangents), allow_unused=True, materialize_grads=True
    )
    return [y.detach(), final.detach(), *found]


def check(found: Sequence[Tensor], truth: Sequence[Tensor], *, places: bool) -> None:
    """Hold results against others where these are finite.

    Args:
        found: y, the last state, and gradients.
        truth: The same of another path.
        places: Whether values must be not finite in the same places, too. Paths differ inside a
            spoilt episode: 0 times infinity is no number, and some never multiply by that 0.
    """
    for i, (x, y) in enumerate(zip(found, truth, strict=True)):
        assert x.shape == y.shape
        finite = y.isfinite()
        assert not places or torch.equal(x.isfinite(), finite), f"result {i}"
        allowed = TOLERANCE[x.dtype].value if i < 2 else TOLERANCE[x.dtype].gradient
        size = 1 + y[finite].abs().amax() if finite.any() else 1
        assert (x - y)[finite].abs().le(allowed * size).all(), f"result {i}"
