"""The derivatives of every operation, by its value where that is cheaper, and the chain rule."""

from collections.abc import Callable, Iterable

from paratime.codegen.expressions import Expression, Terms, in_order, is_number

Partials = Callable[..., tuple[Expression | None, ...]]
"""From ``Terms``, the value y of an operation and its operands to y's derivatives for these; None
where there is none."""


def gradient(
    terms: Terms, roots: list[Expression], cotangents: list[Expression], of: Iterable[Expression]
) -> list[Expression]:
    """Return the derivatives of sum_i cotangents_i roots_i for expressions, in reverse mode.

    Where a function has a kink, they are those of torch's automatic differentiation.
    """
    given: dict[int, list[Expression]] = {}
    for root, cotangent in zip(roots, cotangents, strict=True):
        given.setdefault(id(root), []).append(cotangent)
    for y in reversed(list(in_order(roots))):
        arriving = _sum(terms, given.get(id(y), []))
        given[id(y)] = [arriving]
        if is_number(arriving, 0) or y.kind not in PARTIALS:
            continue
        terms.line = y.line
        for x, partial in zip(y.operands, PARTIALS[y.kind](terms, y, *y.operands), strict=True):
            if partial is not None and x.kind != "constant":
                given.setdefault(id(x), []).append(terms.mul(arriving, partial))
    terms.line = None
    return [_sum(terms, given.get(id(x), [])) for x in of]


def _sum(terms: Terms, summands: list[Expression]) -> Expression:
    """Return the sum of expressions, those of one form next to each other.

    So the gradients of numbers that are computed alike are alike, too.
    """
    return terms.total(sorted(summands, key=terms.rank))


def _sigmoid(t: Terms, y: Expression, x: Expression) -> tuple[Expression]:
    return (t.mul(y, t.sub(t.constant(1), y)),)


def _tanh(t: Terms, y: Expression, x: Expression) -> tuple[Expression]:
    return (t.sub(t.constant(1), t.mul(y, y)),)


def _div(t: Terms, y: Expression, x: Expression, z: Expression) -> tuple[Expression, Expression]:
    inverse = t("div", t.constant(1), z)
    return inverse, t.neg(t.mul(y, inverse))


def _of_larger(kind: str) -> Partials:
    """Return the derivatives of the larger or smaller of two numbers; equal ones share them."""

    def partials(
        t: Terms, y: Expression, x: Expression, z: Expression
    ) -> tuple[Expression, Expression]:
        one, half, none = t.constant(1), t.constant(0.5), t.constant(0)
        same = t.where(t("eq", x, z), half, none)
        return t.where(t(kind, x, z), one, same), t.where(t(kind, z, x), one, same)

    return partials


def _power(t: Terms, y: Expression, x: Expression, n: Expression) -> tuple[Expression | None, ...]:
    lower = t("pow", x, t.sub(n, t.constant(1)))
    if n.kind == "constant":
        return t.mul(n, lower), None
    none = t.constant(0)
    of_x = t.where(t("eq", n, none), none, t.mul(n, lower))
    vanishes = t.where(t("eq", x, none), t("ge", n, none), none)
    return of_x, t.where(vanishes, none, t.mul(y, t("log", x)))


def _atan2(t: Terms, y: Expression, a: Expression, b: Expression) -> tuple[Expression, ...]:
    square = t.add(t.mul(a, a), t.mul(b, b))
    none, nowhere = t.constant(0), t("eq", square, t.constant(0))
    of_a, of_b = t("div", b, square), t.neg(t("div", a, square))
    return t.where(nowhere, none, of_a), t.where(nowhere, none, of_b)


def _hypot(t: Terms, y: Expression, a: Expression, b: Expression) -> tuple[Expression, ...]:
    return t("div", a, y), t("div", b, y)


def _logaddexp(t: Terms, y: Expression, a: Expression, b: Expression) -> tuple[Expression, ...]:
    share = t("sigmoid", t.sub(a, b))
    return share, t.sub(t.constant(1), share)


def _erf(t: Terms, y: Expression, x: Expression) -> tuple[Expression]:
    return (t.mul(t.constant(1.1283791670955126), t("exp", t.neg(t.mul(x, x)))),)


def _rsqrt(t: Terms, y: Expression, x: Expression) -> tuple[Expression]:
    return (t.mul(t.constant(-0.5), t.mul(y, t.mul(y, y))),)


PARTIALS: dict[str, Partials] = {
    "add": lambda t, y, a, b: (t.constant(1), t.constant(1)),
    "sub": lambda t, y, a, b: (t.constant(1), t.constant(-1)),
    "mul": lambda t, y, a, b: (b, a),
    "div": _div,
    "neg": lambda t, y, x: (t.constant(-1),),
    "where": lambda t, y, c, a, b: (
        None,
        t.where(c, t.constant(1), t.constant(0)),
        t.where(c, t.constant(0), t.constant(1)),
    ),
    "maximum": _of_larger("gt"),
    "minimum": _of_larger("lt"),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "exp": lambda t, y, x: (y,),
    "expm1": lambda t, y, x: (t.add(y, t.constant(1)),),
    "log": lambda t, y, x: (t("div", t.constant(1), x),),
    "log1p": lambda t, y, x: (t("div", t.constant(1), t.add(x, t.constant(1))),),
    "softplus": lambda t, y, x: (t("sigmoid", x),),
    "logaddexp": _logaddexp,
    "sqrt": lambda t, y, x: (t("div", t.constant(0.5), y),),
    "rsqrt": _rsqrt,
    "abs": lambda t, y, x: (t("sign", x),),
    "sin": lambda t, y, x: (t("cos", x),),
    "cos": lambda t, y, x: (t.neg(t("sin", x)),),
    "erf": _erf,
    "pow": _power,
    "atan2": _atan2,
    "hypot": _hypot,
}
"""Operations that are not here, such as comparisons, signs and ``stop``, pass nothing on."""
