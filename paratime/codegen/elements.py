"""What single numbers of a recorded tensor are, as expressions of what the step read.

A number is asked for by its index, and asks for those that it is made of. So whatever only moves
numbers, such as a view or a stack, leaves no trace, and what a channel does not read is not seen.
"""

from collections.abc import Callable
from functools import reduce
from itertools import product
from math import prod
from typing import Any

from paratime.codegen.expressions import Expression, Terms
from paratime.codegen.operations import POINTWISE
from paratime.codegen.tracing import Call, Trace, Value
from paratime.errors import InputError

Index = tuple[int, ...]
Rule = Callable[["Elements", Call, Index, int], Expression]
"""From an operation, an index and which of its results that is meant for."""

MOST_SUMMANDS = 64


class Elements:
    """Numbers of the tensors of a traced.

    Args:
        traced: What the step does.
        names: What symbols of tensors that are known from outside are called, by number of value.
    """

    def __init__(self, traced: Trace, names: dict[int, str]) -> None:
        self.terms = Terms()
        self._names = names
        self._known: dict[tuple[int, Index], Expression] = {}
        self._makers = {
            value.number: (operation, place)
            for operation in traced.operations
            for place, value in enumerate(operation.results)
        }

    def at(self, value: Value, index: Index) -> Expression:
        """Return the number at an index of a tensor.

        Raises:
            InputError: An operation that no kernel is made for.
        """
        key = value.number, index
        if key not in self._known:
            name = self._names.get(value.number)
            if name is not None:
                self._known[key] = self.terms.symbol(name, place_of(index, value.shape))
            else:
                self._known[key] = self._made(*self._makers[value.number], index)
        return self._known[key]

    def _made(self, operation: Call, place: int, index: Index) -> Expression:
        pointwise = POINTWISE.get(operation.name)
        rule = RULES.get(operation.name)
        if pointwise is None and rule is None:
            raise InputError(
                operation.line,
                expected="operations that kernels are made of",
                got=str(operation.function),
                remedy="write it of others, which docs/understand/own-cell.md lists",
            )
        if rule is not None:
            found = rule(self, operation, index, place)
        else:
            assert pointwise is not None
            arguments = [self.operand(x, index) for x in operation.arguments]
            options = {k: x for k, x in operation.options.items() if x is not None}
            self.terms.line = operation.line
            found = pointwise(self.terms, *arguments, **options)
        self.terms.line = None
        return self.terms("stop", found) if operation.stops else found

    def operand(self, x: Any, index: Index) -> Any:
        """Return the number of an operand that broadcasts to an index; options stay as they are."""
        if isinstance(x, Value):
            last = index[len(index) - len(x.shape) :]
            return self.at(x, tuple(0 if n == 1 else i for i, n in zip(last, x.shape, strict=True)))
        number = isinstance(x, int | float) and not isinstance(x, bool)
        return self.terms.constant(x) if number else x

    def flat(self, x: Value, place: int) -> Expression:
        """Return the number at a place of a tensor in the order of its rows."""
        return self.at(x, index_of(place, x.shape))


def place_of(index: Index, shape: Index) -> int:
    """Return the place of an index in the order of rows."""
    place = 0
    for i, n in zip(index, shape, strict=True):
        place = place * n + i
    return place


def index_of(place: int, shape: Index) -> Index:
    """Return the index at a place in the order of rows."""
    index: list[int] = []
    for n in reversed(shape):
        place, i = divmod(place, n)
        index.append(i)
    return tuple(reversed(index))


RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Make a function the rule of operations."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def _argument(operation: Call, place: int, name: str, default: Any = None) -> Any:
    if len(operation.arguments) > place:
        return operation.arguments[place]
    return operation.options.get(name, default)


def _axis(operation: Call, dims: int, place: int = 1, default: int = 0) -> int:
    return int(_argument(operation, place, "dim", default)) % dims


@rule("view", "_unsafe_view", "reshape", "_reshape_alias")
def _view(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.flat(o.arguments[0], place_of(index, o.results[0].shape))


@rule("alias", "clone", "contiguous", "lift_fresh", "lift_fresh_copy", "_to_copy", "to")
def _same(e: Elements, o: Call, index: Index, place: int) -> Expression:
    _check_precision(o)
    return e.at(o.arguments[0], index)


@rule("detach")
def _detach(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms("stop", e.at(o.arguments[0], index))


@rule("expand")
def _expand(e: Elements, o: Call, index: Index, place: int) -> Expression:
    found: Expression = e.operand(o.arguments[0], index)
    return found


@rule("unsqueeze", "squeeze")
def _squeeze(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.flat(o.arguments[0], place_of(index, o.results[0].shape))


@rule("permute")
def _permute(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, order = o.arguments[:2]
    before = [0] * len(index)
    for i, axis in zip(index, order, strict=True):
        before[axis % len(index)] = i
    return e.at(x, tuple(before))


@rule("transpose", "t")
def _transpose(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, *axes = o.arguments
    a, b = axes or (0, len(index) - 1)
    before = list(index)
    before[a], before[b] = index[b], index[a]
    return e.at(x, tuple(before))


@rule("slice")
def _slice(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x = o.arguments[0]
    axis = _axis(o, len(index))
    start = _argument(o, 2, "start") or 0
    start = max(0, start + x.shape[axis]) if start < 0 else start
    step = _argument(o, 4, "step", 1)
    return e.at(x, (*index[:axis], start + step * index[axis], *index[axis + 1 :]))


@rule("select")
def _select(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, axis, chosen = o.arguments
    axis, chosen = axis % len(x.shape), chosen % x.shape[axis]
    return e.at(x, (*index[:axis], chosen, *index[axis:]))


@rule("split", "split_with_sizes", "chunk")
def _split(e: Elements, o: Call, index: Index, place: int) -> Expression:
    axis = _axis(o, len(index), 2)
    before = sum(value.shape[axis] for value in o.results[:place])
    return e.at(o.arguments[0], (*index[:axis], before + index[axis], *index[axis + 1 :]))


@rule("unbind")
def _unbind(e: Elements, o: Call, index: Index, place: int) -> Expression:
    axis = _axis(o, len(index) + 1)
    return e.at(o.arguments[0], (*index[:axis], place, *index[axis:]))


@rule("cat")
def _cat(e: Elements, o: Call, index: Index, place: int) -> Expression:
    axis = _axis(o, len(index))
    i = index[axis]
    for part in o.arguments[0]:
        if len(part.shape) == len(index) and i < part.shape[axis]:
            return e.at(part, (*index[:axis], i, *index[axis + 1 :]))
        i -= part.shape[axis] if len(part.shape) == len(index) else 0
    raise IndexError(index)


@rule("stack")
def _stack(e: Elements, o: Call, index: Index, place: int) -> Expression:
    axis = _axis(o, len(index))
    return e.at(o.arguments[0][index[axis]], (*index[:axis], *index[axis + 1 :]))


@rule("flip")
def _flip(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, axes = o.arguments
    turned = {axis % len(index) for axis in axes}
    before = (x.shape[a] - 1 - i if a in turned else i for a, i in enumerate(index))
    return e.at(x, tuple(before))


@rule("roll")
def _roll(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, shifts = o.arguments[:2]
    axes = _argument(o, 2, "dims", ())
    if not axes:
        return e.flat(x, (place_of(index, x.shape) - shifts[0]) % prod(x.shape))
    before = list(index)
    for shift, axis in zip(shifts, axes, strict=True):
        before[axis] = (before[axis] - shift) % x.shape[axis]
    return e.at(x, tuple(before))


@rule("diagonal")
def _diagonal(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x = o.arguments[0]
    offset, a, b = (
        _argument(o, i, k, d)
        for i, (k, d) in enumerate((("offset", 0), ("dim1", 0), ("dim2", 1)), 1)
    )
    a, b = a % len(x.shape), b % len(x.shape)
    rest = iter(index[:-1])
    row, column = index[-1] + max(0, -offset), index[-1] + max(0, offset)
    where = {a: row, b: column}
    return e.at(x, tuple(where[d] if d in where else next(rest) for d in range(len(x.shape))))


@rule("constant_pad_nd")
def _pad(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, pads = o.arguments[:2]
    before = list(index)
    for i in range(len(pads) // 2):
        before[-1 - i] -= pads[2 * i]
    if all(0 <= i < n for i, n in zip(before, x.shape, strict=True)):
        return e.at(x, tuple(before))
    return e.terms.constant(_argument(o, 2, "value", 0))


@rule("zeros", "zeros_like", "new_zeros")
def _zeros(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms.constant(0)


@rule("ones", "ones_like", "new_ones")
def _ones(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms.constant(1)


@rule("full", "full_like", "scalar_tensor")
def _full(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms.constant(o.arguments[0 if o.name == "scalar_tensor" else 1])


@rule("new_full")
def _new_full(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms.constant(o.arguments[2])


@rule("eye")
def _eye(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms.constant(index[0] == index[1])


@rule("arange")
def _arange(e: Elements, o: Call, index: Index, place: int) -> Expression:
    given = o.arguments
    start = given[0] if len(given) > 1 else 0
    return e.terms.constant(start + index[0] * (given[2] if len(given) > 2 else 1))


@rule("tril", "triu")
def _triangle(e: Elements, o: Call, index: Index, place: int) -> Expression:
    k = index[-1] - index[-2] - _argument(o, 1, "diagonal", 0)
    inside = k <= 0 if o.name == "tril" else k >= 0
    return e.at(o.arguments[0], index) if inside else e.terms.constant(0)


def _along(o: Call, x: Value, index: Index, axes: Any, keepdim: bool) -> list[Index]:
    """Return the indices that a reduction of x to an index goes over."""
    dims = len(x.shape)
    axes = range(dims) if axes in (None, ()) else axes
    gone = {axis % dims for axis in ([axes] if isinstance(axes, int) else axes)}
    count = prod(x.shape[axis] for axis in gone)
    if count > MOST_SUMMANDS:
        raise InputError(
            o.line,
            expected=f"reductions over at most {MOST_SUMMANDS} numbers of one channel",
            got=f"{o.name} over {count}",
            remedy="reduce over channels in drive, or let the torch solver run it",
        )
    kept = iter(i for axis, i in enumerate(index) if not (keepdim and axis in gone))
    ranges = [range(x.shape[a]) if a in gone else [next(kept)] for a in range(dims)]
    return list(product(*ranges))


def _parts(e: Elements, o: Call, index: Index) -> list[Expression]:
    x = o.arguments[0]
    axes, keepdim = _argument(o, 1, "dim"), _argument(o, 2, "keepdim", False)
    return [e.at(x, i) for i in _along(o, x, index, axes, keepdim)]


@rule("sum")
def _sum(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return e.terms.total(_parts(e, o, index))


@rule("mean")
def _mean(e: Elements, o: Call, index: Index, place: int) -> Expression:
    parts = _parts(e, o, index)
    return e.terms("div", e.terms.total(parts), e.terms.constant(len(parts)))


@rule("prod")
def _prod(e: Elements, o: Call, index: Index, place: int) -> Expression:
    return reduce(e.terms.mul, _parts(e, o, index))


@rule("linalg_vector_norm")
def _norm(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, order = o.arguments[0], _argument(o, 1, "ord", 2)
    if order != 2:
        raise InputError(
            o.line, expected="norms of order 2", got=f"order {order}", remedy="write it out"
        )
    axes, keepdim = _argument(o, 2, "dim"), _argument(o, 3, "keepdim", False)
    parts = [e.at(x, i) for i in _along(o, x, index, axes, keepdim)]
    square, none = e.terms.total(e.terms.mul(part, part) for part in parts), e.terms.constant(0)
    return e.terms.where(e.terms("eq", square, none), none, e.terms("sqrt", square))


@rule("amax", "amin")
def _extreme(e: Elements, o: Call, index: Index, place: int) -> Expression:
    kind, parts = "maximum" if o.name == "amax" else "minimum", _parts(e, o, index)
    if len(parts) > 2:
        raise InputError(
            o.line,
            expected="extremes of at most two numbers",
            got=f"{o.name} of {len(parts)}",
            remedy="write torch.maximum of them, whose gradient says how equal ones share",
        )
    return reduce(lambda x, y: e.terms(kind, x, y), parts)


@rule("_softmax")
def _softmax(e: Elements, o: Call, index: Index, place: int) -> Expression:
    x, axis = o.arguments[:2]
    kept = tuple(i for a, i in enumerate(index) if a != axis % len(index))
    parts = [e.at(x, i) for i in _along(o, x, kept, axis, False)]
    largest = e.terms("stop", reduce(lambda a, b: e.terms("maximum", a, b), parts))
    powers = [e.terms("exp", e.terms.sub(part, largest)) for part in parts]
    return e.terms("div", powers[index[axis]], e.terms.total(powers))


@rule("bmm", "mm", "mv", "dot")
def _product(e: Elements, o: Call, index: Index, place: int) -> Expression:
    a, b = o.arguments
    return _contracted(e, o, a, b, index)


@rule("addmm", "baddbmm")
def _added_product(e: Elements, o: Call, index: Index, place: int) -> Expression:
    base, a, b = o.arguments
    if o.options:
        raise InputError(
            o.line, expected="no alpha and beta", got=str(o.options), remedy="write a + b @ c"
        )
    return e.terms.add(e.operand(base, index), _contracted(e, o, a, b, index))


def _contracted(e: Elements, o: Call, a: Value, b: Value, index: Index) -> Expression:
    inner = a.shape[-1]
    if inner > MOST_SUMMANDS:
        raise InputError(
            o.line,
            expected=f"products over at most {MOST_SUMMANDS} numbers",
            got=f"{o.name} over {inner}",
            remedy="mix channels in drive, or let the torch solver run it",
        )
    row = index[: len(a.shape) - 1]
    batch, column = index[: max(0, len(b.shape) - 2)], index[len(a.shape) - 1 :]
    return e.terms.total(
        e.terms.mul(e.at(a, (*row, j)), e.at(b, (*batch, j, *column))) for j in range(inner)
    )


def _check_precision(o: Call) -> None:
    before, after = o.arguments[0].dtype, o.results[0].dtype
    if before.is_floating_point and (
        not after.is_floating_point or after.itemsize < before.itemsize
    ):
        raise InputError(
            o.line,
            expected="one precision throughout",
            got=f"a cast from {before} to {after}",
            remedy="leave casts out of step",
        )
