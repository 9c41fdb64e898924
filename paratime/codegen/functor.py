"""One channel of a step: what it reads, its next state, its slopes and its gradients."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from paratime.cells.base import Cell
from paratime.codegen.derivatives import gradient
from paratime.codegen.elements import Elements
from paratime.codegen.expressions import Expression, Terms, in_order
from paratime.codegen.hoisting import Hoisted, hoist
from paratime.codegen.tracing import Trace, trace
from paratime.errors import InputError

LARGEST_STATE = 16
MOST_EXPRESSIONS = 20_000
DEEPEST = 5_000
"""Calls within each other; a step of some two hundred operations in a row needs a thousand."""

SEQUENCES = 2
"""In a trace: more than one, so that a step which mixes them is noticed."""


@dataclass(frozen=True)
class Rows:
    """Where a kernel's rows (rows, C) are among the numbers of a tensor.

    Attributes:
        rows: How many there are.
        places: The place of every number, int64 (rows, C); None where the tensor is (rows, C).
    """

    rows: int
    places: Tensor | None = None

    def of(self, x: Tensor, leading: int = 0) -> Tensor:
        """Return the rows of a tensor with some leading axes."""
        if self.places is None:
            return x.reshape(*x.shape[:leading], self.rows, -1)
        return x.flatten(leading)[..., self.places.to(x.device)]


@dataclass(frozen=True)
class Functor:
    """A step of one channel.

    Attributes:
        symbols: Whose number a symbol is, and which: ``"u"``, ``"w"``, ``"h"`` or ``"lam"``, and
            the row; by the symbol's identity.
        next: The state after a step.
        slopes: Its derivatives for the state before, row by row.
        of_drive: Gradients of <lam, next> for the drive.
        of_state: For the state.
        of_weights: For the weights.
    """

    symbols: dict[int, tuple[str, int]]
    next: list[Expression]
    slopes: list[Expression]
    of_drive: list[Expression]
    of_state: list[Expression]
    of_weights: list[Expression]


@dataclass(frozen=True)
class KernelPlan:
    """How a cell's step runs in a kernel.

    Attributes:
        functor: The step of a channel.
        drive: Where its drives are in those of the cell.
        hoisted: What is computed of parameters, once a call.
        weights: Where the kernel's weights are in that, tensor by tensor.
        memory: The first rows of a state, which are no output; None where the output is none of
            the state's last rows, and the cell reads it from whole states.
    """

    functor: Functor
    drive: Rows
    hoisted: Hoisted
    weights: list[Rows]
    memory: int | None


def plan_of(cell: Cell, u: Tensor) -> KernelPlan:
    """Return how the step of a cell runs in a kernel, for drives like u (B, T, *any).

    Raises:
        InputError: The step mixes channels, or does what no kernel is made for.
    """
    drive = torch.zeros(SEQUENCES, *u.shape[2:], dtype=u.dtype, device=u.device)
    h = torch.zeros(SEQUENCES, *cell.state_shape, dtype=u.dtype, device=u.device)
    channels = cell.state_shape[-1]
    state = prod(cell.state_shape[:-1])
    if state > LARGEST_STATE:
        raise InputError(
            "state_shape",
            expected=f"at most {LARGEST_STATE} numbers a channel",
            got=str(state),
            remedy="use smaller blocks, or let the torch solver run it",
        )
    traced = trace(cell.step, drive, h.clone().requires_grad_(), h.shape)
    hoisted = hoist(cell, traced)
    names = {x.number: f"w{i}" for i, x in enumerate(hoisted.weights)}
    names |= {traced.inputs[0].number: "u", traced.inputs[1].number: "h"}
    elements = Elements(traced, names)
    with _deep_recursion():
        reads = _Reads(_of_channels(elements, traced, state, channels), channels)
    sizes = {f"w{i}": prod(x.shape) for i, x in enumerate(hoisted.weights)}
    reads.check_state(state)
    layouts = {name: reads.layout(name, n) for name, n in sizes.items()}
    layouts["u"] = reads.layout("u", prod(drive.shape[1:]))
    functor = _differentiated(elements.terms, reads, layouts, state)
    weights = [layouts[name] for name in sizes]
    return KernelPlan(functor, layouts["u"], hoisted, weights, _memory(cell, h, state))


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let one number ask for another, as often as a long step does."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


class _Reads:
    """What the first channel reads, and where other channels read the same."""

    def __init__(self, roots: list[list[Expression]], channels: int) -> None:
        self.roots, self.channels = roots[0], channels
        for others in roots[1:]:
            _check_alike(roots[0], others)
        lists = [[x for x in in_order(r) if x.kind == "symbol"] for r in roots]
        self.found: dict[str, list[tuple[Expression, list[int]]]] = {}
        for same in zip(*lists, strict=True):
            places = [x.value[1] for x in same if isinstance(x.value, tuple)]
            assert isinstance(same[0].value, tuple)
            self.found.setdefault(same[0].value[0], []).append((same[0], places))

    def layout(self, name: str, numel: int) -> Rows:
        """Return where the rows of a tensor are."""
        read = [places for _, places in self.found.get(name, [])]
        if any(place >= numel for places in read for place in places):
            raise InputError(
                "step",
                expected="sequences that are computed alone",
                got="one that reads another",
                remedy="leave the first axis alone",
            )
        if numel % self.channels == 0 and all(map(self._is_row, read)):
            return Rows(numel // self.channels)
        steps = torch.arange(self.channels)
        rows = [places[0] + steps * _stride(places) for places in read]
        return Rows(len(rows), torch.stack(rows) if rows else steps.new_zeros(0, self.channels))

    def rows(self, name: str, layout: Rows) -> dict[int, Expression]:
        """Return what is read of a tensor, by row."""
        read = self.found.get(name, [])
        if layout.places is not None:
            return {row: x for row, (x, _) in enumerate(read)}
        return {places[0] // self.channels: x for x, places in read}

    def check_state(self, state: int) -> None:
        """Refuse channels that read the state of others."""
        for _, places in self.found.get("h", []):
            if not (places[0] < state * self.channels and self._is_row(places)):
                raise InputError(
                    "step",
                    expected="channels that are computed alone",
                    got="one that reads the state of another",
                    remedy="mix channels in drive, or couple them in a state (K, D)",
                )

    def _is_row(self, places: list[int]) -> bool:
        whole = places[0] % self.channels == 0
        return whole and (len(places) == 1 or _stride(places) == 1)


def _stride(places: list[int]) -> int:
    return places[1] - places[0] if len(places) > 1 else 0


def _of_channels(
    elements: Elements, traced: Trace, state: int, channels: int
) -> list[list[Expression]]:
    """Return the next state of the first, the second and the last channel."""
    result = traced.result
    chosen = sorted({0, min(1, channels - 1), channels - 1})
    return [[elements.flat(result, k * channels + c) for k in range(state)] for c in chosen]


def _check_alike(roots: list[Expression], others: list[Expression]) -> None:
    """Refuse channels that are not computed alike."""
    for x, y in zip(in_order(roots), in_order(others), strict=False):
        same = x.kind == y.kind and (x.kind != "constant" or repr(x.value) == repr(y.value))
        if not same or len(x.operands) != len(y.operands):
            raise InputError(
                x.line or y.line or "step",
                expected="the same computation in every channel",
                got=f"{_spelled(x)} in one and {_spelled(y)} in another",
                remedy="keep what differs by channel in a parameter or buffer",
            )


def _spelled(x: Expression) -> str:
    return str(x.value) if x.kind == "constant" else x.kind


def _differentiated(terms: Terms, reads: _Reads, layouts: dict[str, Rows], state: int) -> Functor:
    """Return a channel's next state with all its derivatives."""
    h = [terms.symbol("h", k * reads.channels) for k in range(state)]
    lam = [terms.symbol("lam", k) for k in range(state)]
    u = [terms.symbol("no drive", row) for row in range(layouts["u"].rows)]
    for row, x in reads.rows("u", layouts["u"]).items():
        u[row] = x
    w: list[Expression] = []
    for name in (name for name in layouts if name != "u"):
        rows = reads.rows(name, layouts[name])
        w += [rows.get(r, terms.symbol(f"no {name}", r)) for r in range(layouts[name].rows)]
    tensors = {"u": u, "w": w, "h": h, "lam": lam}
    symbols = {id(x): (name, i) for name, rows in tensors.items() for i, x in enumerate(rows)}
    found = gradient(terms, reads.roots, lam, [*u, *h, *w])
    _check_size(found)
    slopes = []
    for row in range(state):
        unit = [terms.constant(row == k) for k in range(state)]
        slopes += gradient(terms, reads.roots, unit, h)
    of_u, of_h, of_w = found[: len(u)], found[len(u) : len(u) + state], found[len(u) + state :]
    return Functor(symbols, reads.roots, slopes, of_u, of_h, of_w)


def _check_size(roots: list[Expression]) -> None:
    count = sum(1 for _ in in_order(roots))
    if count > MOST_EXPRESSIONS:
        raise InputError(
            "step",
            expected=f"at most {MOST_EXPRESSIONS} operations a channel",
            got=str(count),
            remedy="use smaller blocks, or let the torch solver run it",
        )


def _memory(cell: Cell, h: Tensor, state: int) -> int | None:
    """Return how many rows of a state come before those of the output; None if it is no rows."""
    channels = h.shape[-1]
    rows = cell.hidden_size // channels
    shape = torch.Size((SEQUENCES, cell.hidden_size))
    traced = trace(lambda u, x: cell.output(x), h, h.clone().requires_grad_(), shape)
    names = {number: f"o{number}" for number in traced.outer}
    elements = Elements(traced, names | {traced.inputs[1].number: "h"})
    first = (state - rows) * channels
    for place in range(cell.hidden_size):
        if elements.flat(traced.result, place) is not elements.terms.symbol("h", first + place):
            return None
    return state - rows
