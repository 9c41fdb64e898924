"""Operations of torch on single numbers, by the names of ``torch.ops.aten``."""

import math
from collections.abc import Callable
from typing import Any

from paratime.codegen.expressions import Expression, Terms

Pointwise = Callable[..., Expression]
"""From ``Terms``, operands and options to the result."""

MOST_FACTORS = 16


def _plain(kind: str) -> Pointwise:
    return lambda t, *operands: t(kind, *operands)


def _add(t: Terms, x: Expression, y: Expression, alpha: float = 1) -> Expression:
    return t.add(x, t.mul(y, t.constant(alpha)))


def _sub(t: Terms, x: Expression, y: Expression, alpha: float = 1) -> Expression:
    return t.sub(x, t.mul(y, t.constant(alpha)))


def _div(t: Terms, x: Expression, y: Expression) -> Expression:
    return t("div", x, y)


def _lerp(t: Terms, x: Expression, y: Expression, w: Expression) -> Expression:
    """Return (1 - w) x + w y, which lies between x and y."""
    return t.add(t.mul(t.sub(t.constant(1), w), x), t.mul(w, y))


def _addcmul(t: Terms, x: Expression, y: Expression, z: Expression, value: float = 1) -> Expression:
    return t.add(x, t.mul(t.mul(y, z), t.constant(value)))


def _addcdiv(t: Terms, x: Expression, y: Expression, z: Expression, value: float = 1) -> Expression:
    return t.add(x, t.mul(t("div", y, z), t.constant(value)))


def _clamp(
    t: Terms,
    x: Expression,
    low: Expression | None = None,
    high: Expression | None = None,
    **by: Any,
) -> Expression:
    low, high = (
        t.constant(bound) if isinstance(bound, int | float) else bound
        for bound in (by.get("min", low), by.get("max", high))
    )
    x = x if low is None else t.where(t("lt", x, low), low, x)
    return x if high is None else t.where(t("gt", x, high), high, x)


def _hardtanh(
    t: Terms, x: Expression, low: Expression | None = None, high: Expression | None = None
) -> Expression:
    low, high = low or t.constant(-1), high or t.constant(1)
    return t.where(t("le", x, low), low, t.where(t("ge", x, high), high, x))


def _relu(t: Terms, x: Expression) -> Expression:
    return t.where(t("le", x, t.constant(0)), t.constant(0), x)


def _leaky_relu(t: Terms, x: Expression, slope: Expression | None = None, **by: Any) -> Expression:
    slope = slope or t.constant(by.get("negative_slope", 0.01))
    return t.where(t("gt", x, t.constant(0)), x, t.mul(slope, x))


def _elu(t: Terms, x: Expression, *options: Expression, **by: Any) -> Expression:
    names = ("alpha", "scale", "input_scale")
    given = dict(zip(names, options, strict=False))
    alpha, scale, inner = (given.get(n) or t.constant(by.get(n, 1)) for n in names)
    negative = t.mul(t.mul(scale, alpha), t("expm1", t.mul(inner, x)))
    return t.where(t("gt", x, t.constant(0)), t.mul(scale, x), negative)


def _celu(t: Terms, x: Expression, alpha: Expression | None = None) -> Expression:
    alpha = alpha or t.constant(1)
    negative = t.mul(alpha, t("expm1", t("div", x, alpha)))
    return t.where(t("gt", x, t.constant(0)), x, negative)


def _hardsigmoid(t: Terms, x: Expression) -> Expression:
    ramp = _hardtanh(t, t.add(x, t.constant(3)), t.constant(0), t.constant(6))
    return t("div", ramp, t.constant(6))


def _hardswish(t: Terms, x: Expression) -> Expression:
    ramp = _clamp(t, t.add(x, t.constant(3)), t.constant(0), t.constant(6))
    return t("div", t.mul(x, ramp), t.constant(6))


def _mish(t: Terms, x: Expression) -> Expression:
    return t.mul(x, t("tanh", t("softplus", x)))


def _silu(t: Terms, x: Expression) -> Expression:
    return t.mul(x, t("sigmoid", x))


def _gelu(t: Terms, x: Expression, approximate: str = "none") -> Expression:
    half, one = t.constant(0.5), t.constant(1)
    if approximate == "none":
        inner = t("erf", t.mul(x, t.constant(math.sqrt(0.5))))
    else:
        cube = t.mul(t.constant(0.044715), t.mul(x, t.mul(x, x)))
        inner = t("tanh", t.mul(t.constant(math.sqrt(2 / math.pi)), t.add(x, cube)))
    return t.mul(t.mul(half, x), t.add(one, inner))


def _softplus(
    t: Terms, x: Expression, beta: Expression | None = None, threshold: Expression | None = None
) -> Expression:
    beta, threshold = beta or t.constant(1), threshold or t.constant(20)
    scaled = t.mul(x, beta)
    smooth = t("div", t("softplus", scaled), beta)
    if isinstance(threshold.value, float) and threshold.value >= 20:
        return smooth  # which is x itself beyond it, but for 2e-9
    return t.where(t("gt", scaled, threshold), x, smooth)


def _log_sigmoid(t: Terms, x: Expression) -> Expression:
    return t.neg(t("softplus", t.neg(x)))


def _power(t: Terms, x: Expression, n: Expression) -> Expression:
    if n.kind == "constant" and isinstance(n.value, float):
        if n.value == int(n.value) and 0 <= abs(n.value) <= MOST_FACTORS:
            return _whole_power(t, x, int(n.value))
        if abs(n.value) == 0.5:
            return t("sqrt" if n.value > 0 else "rsqrt", x)
    return t("pow", x, n)


def _whole_power(t: Terms, x: Expression, n: int) -> Expression:
    if n < 0:
        return t("div", t.constant(1), _whole_power(t, x, -n))
    if n == 0:
        return t.constant(1)
    half = _whole_power(t, x, n // 2)
    square = x if n == 1 else t.mul(half, half)
    return t.mul(square, x) if n % 2 and n > 1 else square


def _not(t: Terms, x: Expression) -> Expression:
    return t("eq", x, t.constant(0))


def _truth(t: Terms, x: Expression) -> Expression:
    return t("ne", x, t.constant(0))


def _and(t: Terms, x: Expression, y: Expression) -> Expression:
    return t.where(x, _truth(t, y), t.constant(0))


def _or(t: Terms, x: Expression, y: Expression) -> Expression:
    return t.where(x, t.constant(1), _truth(t, y))


def _xor(t: Terms, x: Expression, y: Expression) -> Expression:
    return t("ne", _truth(t, x), _truth(t, y))


def _masked_fill(t: Terms, x: Expression, mask: Expression, value: Expression) -> Expression:
    return t.where(mask, value, x)


def _reciprocal(t: Terms, x: Expression) -> Expression:
    return t("div", t.constant(1), x)


def _exp2(t: Terms, x: Expression) -> Expression:
    return t("exp", t.mul(x, t.constant(math.log(2))))


def _log_of(base: float) -> Pointwise:
    return lambda t, x: t.mul(t("log", x), t.constant(1 / math.log(base)))


def _tan(t: Terms, x: Expression) -> Expression:
    return t("div", t("sin", x), t("cos", x))


def _erfc(t: Terms, x: Expression) -> Expression:
    return t.sub(t.constant(1), t("erf", x))


def _isnan(t: Terms, x: Expression) -> Expression:
    return t("ne", x, x)


POINTWISE: dict[str, Pointwise] = {
    "add": _add,
    "sub": _sub,
    "rsub": lambda t, x, y, alpha=1: _sub(t, y, x, alpha),
    "mul": _plain("mul"),
    "div": _div,
    "neg": _plain("neg"),
    "reciprocal": _reciprocal,
    "lerp": _lerp,
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "where": lambda t, c, x, y: t.where(c, x, y),
    "masked_fill": _masked_fill,
    "clamp": _clamp,
    "clamp_min": lambda t, x, low: _clamp(t, x, low),
    "clamp_max": lambda t, x, high: _clamp(t, x, None, high),
    "hardtanh": _hardtanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "celu": _celu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "mish": _mish,
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "log_sigmoid_forward": _log_sigmoid,
    "pow": _power,
    "square": lambda t, x: t.mul(x, x),
    "exp2": _exp2,
    "log2": _log_of(2),
    "log10": _log_of(10),
    "tan": _tan,
    "erfc": _erfc,
    "isnan": _isnan,
    "sgn": _plain("sign"),
    "logical_not": _not,
    "bitwise_not": _not,
    "logical_and": _and,
    "bitwise_and": _and,
    "logical_or": _or,
    "bitwise_or": _or,
    "logical_xor": _xor,
    "bitwise_xor": _xor,
    **{
        kind: _plain(kind)
        for kind in (
            *("maximum", "minimum", "sigmoid", "tanh", "exp", "expm1", "log", "log1p", "sqrt"),
            *("rsqrt", "abs", "sign", "sin", "cos", "erf", "atan2", "hypot", "logaddexp"),
            *("lt", "le", "gt", "ge", "eq", "ne"),
        )
    },
}
