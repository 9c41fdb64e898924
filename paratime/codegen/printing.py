"""The text of a functor, in C++ for g++, clang and nvcc, as the kernels of ``csrc`` take it."""

from collections.abc import Iterator

from paratime.codegen.expressions import COMPARISONS, Expression, in_order
from paratime.codegen.families import Families, Family, Index, Place
from paratime.codegen.functor import Functor

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
TIGHT = ("mul", "div")
COMPARED = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
CALLED = ("u", "w")
"""Symbols that are read by a call; others are read from arrays."""

WIDTH = 92

Results = list[tuple[Place, Expression]]


def print_functor(functor: Functor, memory: int, lines_of_code: bool = False) -> str:
    """Return the functor ``Generated``, if asked for with the lines of code that it comes from."""
    drives, state, weights = (len(x) for x in (functor.of_drive, functor.next, functor.of_weights))
    sizes = f"drives = {drives}, state = {state}, memory = {memory}, weights = {weights}"
    after: Results = [(("next", i), x) for i, x in enumerate(functor.next)]
    slopes: Results = [(("jac", i), x) for i, x in enumerate(functor.slopes)]
    gradients: Results = [
        *((("du", i), x) for i, x in enumerate(functor.of_drive)),
        *((("dh", i), x) for i, x in enumerate(functor.of_state)),
        *((("add", i), x) for i, x in enumerate(functor.of_weights) if not _is_zero(x)),
    ]
    functions = (
        ("class V, class U, class W", "step(const U& u, const W& w, const V* h, V* next)", after),
        (
            "class V, class U, class W",
            "linearize(const U& u, const W& w, const V* h, V* next, V* jac)",
            [*after, *slopes],
        ),
        (
            "class V, class U, class W, class Add",
            "vjp(const U& u, const W& w, const V* h, const V* lam, V* du, V* dh, Add&& add)",
            gradients,
        ),
    )
    lines = ["struct Generated {", f"  static constexpr int {sizes};"]
    for template, signature, results in functions:
        lines += ["", f"  template <{template}>", f"  static PARATIME_INLINE void {signature} {{"]
        printer = _Printer(Families(results, functor.symbols), lines_of_code)
        lines += [f"    {line}" for line in printer.lines()]
        lines.append("  }")
    return "\n".join([*lines, "};", ""])


class _Printer:
    def __init__(self, families: Families, lines_of_code: bool) -> None:
        self.families, self.lines_of_code = families, lines_of_code
        self.line: str | None = None

    def lines(self) -> Iterator[str]:
        """Yield the statements."""
        yield "using E = typename Lanes<V>::Element;"
        for family in self.families.in_order():
            yield from self._of_family(family)

    def _of_family(self, family: Family) -> Iterator[str]:
        count, inner = len(family.members), family.inner
        first = family.members[0]
        text = _Text(family, self.families)
        value = text.value(first.value, top=True)
        if self.lines_of_code and first.value.line not in (None, self.line):
            self.line = first.value.line
            yield f"// {self.line}"
        if count == 1:
            yield from _wrapped(self._assigned(family, value))
            return
        name = None if family.target else self.families.places[id(first.value)][0]
        if name:
            yield f"V {name}[{count}];"
        loops = [f"for (int j = 0; j < {inner}; ++j)"]
        if inner < count:
            loops.insert(0, f"for (int i = 0; i < {count // inner}; ++i)")
        yield " ".join(loops) + " {"
        yield from (f"  {line}" for line in _wrapped(self._assigned(family, value)))
        yield "}"

    def _assigned(self, family: Family, value: str) -> str:
        if family.target is not None:
            name, index = family.target
            if name == "add":
                return f"add({_spelled(index)}, {value});"
            return f"{name}[{_spelled(index)}] = {value};"
        name, _ = self.families.places[id(family.members[0].value)]
        if len(family.members) == 1:
            return f"const V {name} = {value};"
        row = family.inner if family.inner < len(family.members) else 0
        return f"{name}[{_spelled(Index(0, row, 1))}] = {value};"


class _Text:
    """Spells the expression of a family's first member, with indices for all of them."""

    def __init__(self, family: Family, families: Families) -> None:
        self.first = family.members[0]
        self.is_leaf = families.is_leaf
        self.leaves = iter(family.leaves)
        self.arrays = families.arrays

    def value(self, x: Expression, top: bool = False) -> str:
        """Return the text of a V that may stand alone."""
        if x.kind == "constant":
            return f"V{{}} + {_number(x)}" if x.value else "V{}"
        text = self._text(x)
        if x.kind in COMPARISONS and not self.is_leaf(x, self.first):
            return f"{text} ? V{{}} + 1 : V{{}}"
        return _bare(text)

    def _text(self, x: Expression) -> str:
        if self.is_leaf(x, self.first):
            name, index = next(self.leaves)
            if name in CALLED:
                return f"{name}({_spelled(index)})"
            return f"{name}[{_spelled(index)}]" if name in self.arrays else name
        if x.kind == "constant":
            return _number(x)
        if x.kind == "stop":
            return self._text(x.operands[0])
        if x.kind == "neg":
            return f"(-{self._operand(x.operands[0])})"
        if x.kind in INFIX:
            left, right = (self._operand(y) for y in x.operands)
            tight = x.kind in TIGHT
            left = _bare(left) if self._binds(x.operands[0], tight) else left
            right = _bare(right) if self._binds(x.operands[1], tight + 1) else right
            return f"({left} {INFIX[x.kind]} {right})"
        if x.kind in COMPARED:
            parts = [(y, self._operand(y)) for y in x.operands]
            left, right = (_bare(part) if self._binds(y, 0) else part for y, part in parts)
            return f"({left} {COMPARED[x.kind]} {right})"
        if x.kind == "where":
            condition, *choices = x.operands
            compared = condition.kind in COMPARISONS and not self.is_leaf(condition, self.first)
            test = self._text(condition) if compared else f"({self._operand(condition)} != 0)"
            first, second = (f"({self.value(y)})" for y in choices)
            return f"({test} ? {first} : {second})"
        values = ", ".join(self.value(y) for y in x.operands)
        return f"paratime::{x.kind}({values})"

    def _binds(self, x: Expression, least: int) -> bool:
        """Return whether a sum (0) or product (1) binds as tightly as asked for."""
        known = x.kind in INFIX and not self.is_leaf(x, self.first)
        return known and (x.kind in TIGHT) >= least

    def _operand(self, x: Expression) -> str:
        compared = x.kind in COMPARISONS and not self.is_leaf(x, self.first)
        return f"({self.value(x)})" if compared else self._text(x)


def _spelled(index: Index) -> str:
    parts = [str(index.base)] if index.base else []
    parts += [
        name if step == 1 else f"{step} * {name}"
        for step, name in ((index.outer, "i"), (index.inner, "j"))
        if step
    ]
    return " + ".join(parts) or "0"


def _wrapped(text: str) -> Iterator[str]:
    """Yield a statement in lines of a readable width, broken after its signs."""
    indent = ""
    while len(text) > WIDTH:
        cut = max(text.rfind(sign, 0, WIDTH) + len(sign) for sign in (" + ", " * ", " - ", ", "))
        if cut < WIDTH // 3:
            break
        yield f"{indent}{text[:cut].rstrip()}"
        text, indent = text[cut:], "    "
    yield f"{indent}{text}"


def _number(x: Expression) -> str:
    assert isinstance(x.value, float)
    number = x.value
    if number != number:
        return 'E(__builtin_nan(""))'
    if number in (float("inf"), float("-inf")):
        return f"E({'-' if number < 0 else ''}__builtin_inf())"
    return f"E({number!r})"


def _bare(text: str) -> str:
    """Return a text without the parentheses around the whole of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[1:-1] if place == len(text) - 1 else text
    return text


def _is_zero(x: Expression) -> bool:
    return x.kind == "constant" and x.value == 0


def count_operations(functor: Functor) -> int:
    """Return how many operations a step takes."""
    leaves = ("constant", "symbol", "stop")
    return sum(1 for x in in_order(functor.next) if x.kind not in leaves)
