"""Expressions over numbers: every one exists once, and is simplified when it is made."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

RANKED_SYMBOLS = 8
COMMUTATIVE = {"add", "mul", "maximum", "minimum", "eq", "ne", "hypot", "logaddexp"}
COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
EVALUATED = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
}
"""What is computed at once where both numbers are known."""


@dataclass(frozen=True, eq=False, slots=True)
class Expression:
    """A number that a kernel computes; two are equal only if they are the same object.

    Attributes:
        kind: ``"constant"``, ``"symbol"`` or the name of an operation.
        operands: What the operation is applied to.
        value: The number of a constant, or the name and place of a symbol.
        line: The user's line of code that computes it, if that is known.
    """

    kind: str
    operands: tuple["Expression", ...] = ()
    value: float | tuple[str, int] | None = None
    line: str | None = None


class Terms:
    """Makes expressions: what was made before is found again, and trivial work disappears.

    Attributes:
        line: The line of code that new expressions come from.
    """

    def __init__(self) -> None:
        self.line: str | None = None
        self._known: dict[tuple[object, ...], Expression] = {}
        self._forms: dict[tuple[object, ...], int] = {}
        self._form_of: dict[int, int] = {}

    def constant(self, number: float) -> Expression:
        """Return a known number."""
        number = float(number)
        key = ("constant", repr(number))
        if key not in self._known:
            self._known[key] = Expression("constant", value=number)
        return self._known[key]

    def symbol(self, name: str, place: int) -> Expression:
        """Return the number that a kernel reads at a place of a tensor."""
        key = ("symbol", name, place)
        if key not in self._known:
            self._known[key] = Expression("symbol", value=(name, place))
        return self._known[key]

    def make(self, kind: str, *operands: Expression) -> Expression:
        """Return an operation on expressions, without simplifying it."""
        ids = tuple(map(id, operands))
        key = (kind, *(sorted(ids) if kind in COMMUTATIVE else ids))
        if key not in self._known:
            self._known[key] = Expression(kind, operands, line=self.line)
        return self._known[key]

    def __call__(self, kind: str, *operands: Expression) -> Expression:
        """Return an operation on expressions, simplified."""
        if kind in EVALUATED and all(x.kind == "constant" for x in operands):
            return self.constant(EVALUATED[kind](*(x.value for x in operands)))
        rule = getattr(self, f"_{kind}", None)
        found = None if rule is None else rule(*operands)
        return self.make(kind, *operands) if found is None else found

    def add(self, x: Expression, y: Expression) -> Expression:
        """Return x + y."""
        return self("add", x, y)

    def sub(self, x: Expression, y: Expression) -> Expression:
        """Return x - y."""
        return self("sub", x, y)

    def mul(self, x: Expression, y: Expression) -> Expression:
        """Return x y."""
        return self("mul", x, y)

    def neg(self, x: Expression) -> Expression:
        """Return -x."""
        return self("neg", x)

    def total(self, summands: Iterable[Expression]) -> Expression:
        """Return the sum of expressions, from the first to the last."""
        found = self.constant(0)
        for x in summands:
            found = self.add(found, x)
        return found

    def rank(self, x: Expression) -> tuple[int, list[int]]:
        """Return a key that sorts expressions by their form, then by the symbols in them."""
        return self._form(x), [y.value[1] for y in _first_symbols(x) if isinstance(y.value, tuple)]

    def _form(self, x: Expression) -> int:
        """Return the number of an expression's form: what it is but for the places of symbols."""
        for y in in_order([x]) if id(x) not in self._form_of else ():
            if id(y) not in self._form_of:
                known = y.value[0] if isinstance(y.value, tuple) else y.value
                key = (y.kind, repr(known), *(self._form_of[id(z)] for z in y.operands))
                self._form_of[id(y)] = self._forms.setdefault(key, len(self._forms))
        return self._form_of[id(x)]

    def _add(self, x: Expression, y: Expression) -> Expression | None:
        if is_number(x, 0):
            return y
        if is_number(y, 0):
            return x
        if y.kind == "neg":
            return self.sub(x, y.operands[0])
        return self.sub(y, x.operands[0]) if x.kind == "neg" else None

    def _sub(self, x: Expression, y: Expression) -> Expression | None:
        if is_number(y, 0):
            return x
        if is_number(x, 0):
            return self.neg(y)
        return self.add(x, y.operands[0]) if y.kind == "neg" else None

    def _mul(self, x: Expression, y: Expression) -> Expression | None:
        if is_number(x, 0) or is_number(y, 0):
            return self.constant(0)
        for factor, other in ((x, y), (y, x)):
            if is_number(factor, 1):
                return other
            if is_number(factor, -1):
                return self.neg(other)
            if factor.kind == "neg":
                return self.neg(self.mul(factor.operands[0], other))
            if factor.kind == "where" and any(is_number(x, 0) for x in factor.operands[1:]):
                condition, *choices = factor.operands
                return self.where(condition, *(self.mul(x, other) for x in choices))
            if factor.kind in COMPARISONS:
                return self.where(factor, other, self.constant(0))
        return None

    def _div(self, x: Expression, y: Expression) -> Expression | None:
        if is_number(y, 1) or is_number(x, 0):
            return x
        if x.kind == y.kind == "constant" and y.value:
            assert isinstance(x.value, float) and isinstance(y.value, float)
            return self.constant(x.value / y.value)
        if y.kind == "constant" and isinstance(y.value, float) and _is_power_of_two(y.value):
            return self.mul(x, self.constant(1 / y.value))
        return self.neg(self("div", x.operands[0], y)) if x.kind == "neg" else None

    def _neg(self, x: Expression) -> Expression | None:
        if x.kind == "constant":
            assert isinstance(x.value, float)
            return self.constant(-x.value)
        if x.kind == "neg":
            return x.operands[0]
        return self.sub(x.operands[1], x.operands[0]) if x.kind == "sub" else None

    def where(self, condition: Expression, x: Expression, y: Expression) -> Expression:
        """Return x where a condition is not 0, else y."""
        return self("where", condition, x, y)

    def _where(self, condition: Expression, x: Expression, y: Expression) -> Expression | None:
        if condition.kind == "constant":
            return x if condition.value else y
        return x if x is y else None

    def _ne(self, x: Expression, y: Expression) -> Expression | None:
        return x if x.kind in COMPARISONS and is_number(y, 0) else None

    def _stop(self, x: Expression) -> Expression | None:
        return x if x.kind == "constant" else None


def _first_symbols(x: Expression) -> list[Expression]:
    """Return the first few symbols of an expression, as often as they occur."""
    found: list[Expression] = []
    stack = [x]
    while stack and len(found) < RANKED_SYMBOLS:
        y = stack.pop()
        if y.kind == "symbol":
            found.append(y)
        stack += reversed(y.operands)
    return found


def is_number(x: Expression, number: float) -> bool:
    """Return whether an expression is a known number."""
    return x.kind == "constant" and x.value == number


def in_order(roots: Iterable[Expression]) -> Iterator[Expression]:
    """Yield all that roots are made of, once each, operands first."""
    done: set[int] = set()
    stack: list[tuple[Expression, bool]] = [(x, False) for x in reversed(list(roots))]
    while stack:
        x, ready = stack.pop()
        if id(x) in done:
            continue
        if ready:
            done.add(id(x))
            yield x
        else:
            stack.append((x, True))
            stack += [(operand, False) for operand in reversed(x.operands)]


def _is_power_of_two(number: float) -> bool:
    return math.isfinite(number) and number != 0 and abs(math.frexp(number)[0]) == 0.5
