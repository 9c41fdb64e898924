"""What a step computes from parameters alone: done once a call, in torch, with gradients."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from paratime.codegen.tracing import Call, Trace, Value

MOVING = {
    *("view", "_unsafe_view", "reshape", "alias", "unsqueeze", "squeeze", "permute", "transpose"),
    *("t", "slice", "select", "split", "split_with_sizes", "unbind", "expand", "stack", "cat"),
}
"""Operations that compute nothing: what they read is read directly instead."""


@dataclass(frozen=True)
class Hoisted:
    """The part of a step that reads neither drive nor state.

    Attributes:
        calls: In their order.
        sources: Where every tensor from elsewhere comes from: a parameter's name, or the tensor.
        weights: What the rest of the step reads of it.
    """

    calls: list[Call]
    sources: dict[int, str | Tensor]
    weights: list[Value]

    def compute(self, cell: nn.Module) -> list[Tensor]:
        """Return the weights, with gradients for parameters."""
        known: dict[int, Tensor] = {
            number: _attribute(cell, source) if isinstance(source, str) else source
            for number, source in self.sources.items()
        }
        for operation in self.calls:
            arguments = _filled(operation.arguments, known)
            options = {k: _filled(x, known) for k, x in operation.options.items()}
            with torch.set_grad_enabled(torch.is_grad_enabled() and not operation.stops):
                made = operation.function(*arguments, **options)
            made = made if isinstance(made, (tuple, list)) else (made,)
            known |= {v.number: x for v, x in zip(operation.results, made, strict=True)}
        return [known[x.number] for x in self.weights]


def hoist(cell: nn.Module, traced: Trace) -> Hoisted:
    """Return the part of a recorded step that reads neither drive nor state."""
    varying = {x.number for x in traced.inputs}
    fixed: dict[int, Call] = {}
    read: dict[int, Value] = {}
    from_outside = set(traced.outer)
    for operation in traced.operations:
        reads = list(operation.reads())
        if any(x.number in varying for x in reads):
            varying |= {x.number for x in operation.results}
            read |= {x.number: x for x in reads if x.number in from_outside}
        else:
            fixed |= {x.number: operation for x in operation.results}
            if any(x.number in from_outside for x in reads):
                from_outside |= {x.number for x in operation.results}
    if traced.result.number in from_outside:
        read[traced.result.number] = traced.result
    read = {x.number: x for value in read.values() for x in _unmoved(value, fixed, from_outside)}
    needed = _needed(list(read), fixed)
    operations = [x for x in traced.operations if id(x) in needed]
    named = {id(x): name for name, x in (*cell.named_parameters(), *cell.named_buffers())}
    used = {x.number for o in operations for x in o.reads()} | set(read)
    sources = {n: named.get(id(x), x) for n, x in traced.outer.items() if n in used}
    return Hoisted(operations, sources, list(read.values()))


def _unmoved(x: Value, makers: dict[int, Call], outside: set[int]) -> Iterator[Value]:
    """Yield what a value is made of by operations that only move numbers."""
    maker = makers.get(x.number)
    if maker is None or maker.name not in MOVING or maker.stops:
        yield x
    else:
        for part in maker.reads():
            if part.number in outside:
                yield from _unmoved(part, makers, outside)


def _needed(numbers: list[int], makers: dict[int, Call]) -> set[int]:
    """Return the identities of all operations that some values are made by."""
    found: set[int] = set()
    while numbers:
        maker = makers.get(numbers.pop())
        if maker is not None and id(maker) not in found:
            found.add(id(maker))
            numbers += [x.number for x in maker.reads()]
    return found


def _filled(x: Any, known: dict[int, Tensor]) -> Any:
    if isinstance(x, Value):
        return known[x.number]
    return type(x)(_filled(part, known) for part in x) if isinstance(x, tuple) else x


def _attribute(module: nn.Module, name: str) -> Tensor:
    path, _, last = name.rpartition(".")
    found: Tensor = getattr(module.get_submodule(path), last)
    return found
