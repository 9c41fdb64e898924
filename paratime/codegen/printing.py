"""The text of a functor, in C++ for g++, clang and nvcc, as the kernels of ``csrc`` take it."""

from collections import Counter
from collections.abc import Iterable, Iterator

from paratime.codegen.expressions import COMPARISONS, Expression, in_order
from paratime.codegen.functor import Functor

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
COMPARED = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
LONGEST = 60
"""Characters of an expression; what is longer is named."""

Target = tuple[str, Expression]
"""Where a result goes, such as ``next[0] = {};``, and the result."""


def print_functor(functor: Functor, memory: int, lines_of_code: bool = False) -> str:
    """Return the functor ``Generated``, if asked for with the lines of code that it comes from."""
    drives, state, weights = (len(x) for x in (functor.of_drive, functor.next, functor.of_weights))
    sizes = f"drives = {drives}, state = {state}, memory = {memory}, weights = {weights}"
    after = [(f"next[{i}] = {{}};", x) for i, x in enumerate(functor.next)]
    slopes = [(f"jac[{i}] = {{}};", x) for i, x in enumerate(functor.slopes)]
    gradients = [
        *((f"du[{i}] = {{}};", x) for i, x in enumerate(functor.of_drive)),
        *((f"dh[{i}] = {{}};", x) for i, x in enumerate(functor.of_state)),
        *((f"add({i}, {{}});", x) for i, x in enumerate(functor.of_weights) if not _is_zero(x)),
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
    for template, signature, targets in functions:
        lines += ["", f"  template <{template}>", f"  static PARATIME_INLINE void {signature} {{"]
        lines += [f"    {line}" for line in _Printer(functor.names, targets, lines_of_code).lines()]
        lines.append("  }")
    return "\n".join([*lines, "};", ""])


class _Printer:
    def __init__(self, names: dict[int, str], targets: list[Target], lines_of_code: bool) -> None:
        self.targets, self.lines_of_code = targets, lines_of_code
        self.order = list(in_order(x for _, x in targets))
        self.uses = Counter(id(x) for y in self.order for x in y.operands)
        self.uses.update(id(x) for _, x in targets)
        self.texts = dict(names)
        self.count = 0

    def lines(self) -> Iterator[str]:
        """Yield the statements."""
        yield "using E = typename Lanes<V>::Element;"
        waiting = list(self.targets)
        for x in self.order:
            yield from self._named(x)
            while waiting and id(waiting[0][1]) in self.texts:
                target, result = waiting.pop(0)
                yield target.format(self.value(result))

    def _named(self, x: Expression) -> Iterator[str]:
        if id(x) in self.texts:
            return
        text = self._spelled(x)
        leaf = x.kind in ("constant", "symbol", *COMPARISONS)
        if leaf or (self.uses[id(x)] == 1 and len(text) <= LONGEST):
            self.texts[id(x)] = text
            return
        name = f"x{self.count}"
        self.count += 1
        self.texts[id(x)] = name
        comment = f"  // {x.line}" if self.lines_of_code and x.line else ""
        yield f"const V {name} = {_bare(text)};{comment}"

    def value(self, x: Expression) -> str:
        """Return the text of a number that may stand alone, as a V."""
        if x.kind == "constant":
            return f"V{{}} + {self.texts[id(x)]}" if x.value != 0 else "V{}"
        if x.kind in COMPARISONS:
            return f"{self.texts[id(x)]} ? V{{}} + 1 : V{{}}"
        return _bare(self.texts[id(x)])

    def _spelled(self, x: Expression) -> str:
        parts = [
            f"({self.value(y)})" if y.kind in COMPARISONS else self.texts[id(y)] for y in x.operands
        ]
        if x.kind == "constant":
            return _number(x.value)
        if x.kind == "stop":
            return parts[0]
        if x.kind == "neg":
            return f"(-{parts[0]})"
        if x.kind in INFIX:
            return f"({parts[0]} {INFIX[x.kind]} {parts[1]})"
        if x.kind in COMPARED:
            return f"({parts[0]} {COMPARED[x.kind]} {parts[1]})"
        if x.kind == "where":
            condition, *choices = x.operands
            compared = condition.kind in COMPARISONS
            test = self.texts[id(condition)] if compared else f"({parts[0]} != 0)"
            first, second = (f"({self.value(y)})" for y in choices)
            return f"({test} ? {first} : {second})"
        values = ", ".join(
            self.value(y) if y.kind in ("constant", *COMPARISONS) else _bare(part)
            for y, part in zip(x.operands, parts, strict=True)
        )
        return f"paratime::{x.kind}({values})"


def _number(value: object) -> str:
    number = float(value)  # type: ignore[arg-type]
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


def operations(functor: Functor) -> int:
    """Return how many operations a step takes."""
    return _count(functor.next)


def _count(roots: Iterable[Expression]) -> int:
    leaves = ("constant", "symbol", "stop")
    return sum(1 for x in in_order(roots) if x.kind not in leaves)
