"""Steps that nobody wrote: random expressions of all supported functions, against torch."""

import pytest
import torch
from codegen.test_operations import ONE_NUMBER, TWO_NUMBERS
from codegen.twin import PlainCell, check
from hypothesis import given, settings
from hypothesis import strategies as st

LEAVES = ("u", "v", "h", "g", "a", "b")
SMOOTH = sorted(set(ONE_NUMBER) - {"sign", "in place", "tan", "exp2", "exp", "expm1"})

steps = st.recursive(
    st.sampled_from(LEAVES),
    lambda parts: st.one_of(
        st.tuples(st.sampled_from(SMOOTH), parts),
        st.tuples(st.sampled_from(sorted(TWO_NUMBERS)), parts, parts),
    ),
    max_leaves=8,
)


def value(tree, leaves):
    """Return the value of a tree of operations; values stay where functions do not explode."""
    if isinstance(tree, str):
        return leaves[tree]
    name, *parts = tree
    of = ONE_NUMBER[name] if len(parts) == 1 else TWO_NUMBERS[name]
    return torch.clamp(of(*(value(part, leaves) for part in parts)), -3, 3)


def agree(tree, rows, seed):
    torch.manual_seed(seed)
    mixing = torch.randn(rows, rows, 3)

    def step(cell, u, h):
        u, v = u.unbind(-3)
        mixed = torch.einsum("ijd,...jd->...id", cell.mixing, h)
        a, b = cell.a.expand_as(h), cell.b.exp().expand_as(h)
        leaves = {"u": u, "v": v, "h": h, "g": mixed, "a": a, "b": b}
        return value(tree, leaves) + 0.1 * h + 0 * u

    cell = PlainCell(step, (rows, 3), mixing=mixing, a=torch.randn(3), b=torch.randn(rows, 3))
    check(cell, torch.randn(2, 2, rows, 3), torch.randn(2, rows, 3), tolerance=1e-7)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(steps, st.sampled_from((1, 2, 4)), st.integers(0, 2**16))
def test_random_steps(tree, rows, seed):
    agree(tree, rows, seed)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000, derandomize=True)
@given(steps, st.sampled_from((1, 2, 4, 8)), st.integers(0, 2**16))
def test_many_random_steps(tree, rows, seed):
    agree(tree, rows, seed)
