"""The slow twin of generated kernels: expressions computed one by one, in torch's float64."""

import torch
from torch import Tensor
from torch.nn import functional

from paratime.cells.base import Cell
from paratime.codegen.expressions import Expression, in_order
from paratime.codegen.functor import KernelPlan, plan_of

KINDS = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "where": lambda c, x, y: torch.where(c != 0, x, y),
    "softplus": lambda x: functional.softplus(x, threshold=700),
    "stop": lambda x: x,
    **{kind: getattr(torch, kind) for kind in ("neg", "sin", "cos", "erf", "sqrt", "rsqrt", "abs")},
    **{kind: getattr(torch, kind) for kind in ("sigmoid", "tanh", "exp", "expm1", "log", "log1p")},
    **{kind: getattr(torch, kind) for kind in ("sign", "maximum", "minimum", "pow", "atan2")},
    **{kind: getattr(torch, kind) for kind in ("hypot", "logaddexp", "lt", "le", "gt", "ge")},
    **{kind: getattr(torch, kind) for kind in ("eq", "ne")},
}


class PlainCell(Cell):
    """A cell whose drive is its input, for a step of one's own."""

    def __init__(self, step, state_shape=(3,), **parameters):
        super().__init__(
            state_shape[-1] * (state_shape[0] if len(state_shape) > 1 else 1), state_shape
        )
        self.of = step
        for name, value in parameters.items():
            setattr(self, name, torch.nn.Parameter(value))

    def drive(self, x):
        return x

    def step(self, u, h):
        return self.of(self, u, h)


def evaluate(roots: list[Expression], symbols: dict[int, Tensor]) -> list[Tensor]:
    """Return the values of expressions, from those of symbols, by identity."""
    known = dict(symbols)
    for x in in_order(roots):
        if x.kind == "constant":
            known[id(x)] = torch.tensor(x.value, dtype=torch.float64)
        elif id(x) not in known:
            known[id(x)] = KINDS[x.kind](*(known[id(y)] for y in x.operands)).double()
    return [known[id(x)] for x in roots]


def by_expressions(cell: Cell, u: Tensor, h: Tensor, lam: Tensor) -> dict[str, Tensor]:
    """Return one step of u (B, *any), its slopes and gradients, all from a cell's expressions."""
    plan = plan_of(cell, u.unsqueeze(1))
    functor, channels = plan.functor, cell.state_shape[-1]
    rows = {
        "u": plan.drive.of(u, 1).detach(),
        "w": weights_of(plan, cell),
        "h": h.reshape(h.shape[0], -1, channels),
        "lam": lam.reshape(h.shape[0], -1, channels),
    }
    symbols = {}
    for key, (tensor, row) in functor.symbols.items():
        symbols[key] = rows[tensor][..., row, :]
    shape = h.shape[0], channels
    found = {
        "next": evaluate(functor.next, symbols),
        "slopes": evaluate(functor.slopes, symbols),
        "of u": evaluate(functor.of_drive, symbols),
        "of h": evaluate(functor.of_state, symbols),
        "of w": evaluate(functor.of_weights, symbols),
    }
    return {
        k: torch.stack([y.expand(shape) for y in x], 1) if x else torch.zeros(shape[0], 0, channels)
        for k, x in found.items()
    }


def weights_of(plan: KernelPlan, cell: Cell) -> Tensor:
    """Return the weights of a kernel, (weights, C), with gradients."""
    found = plan.hoisted.compute(cell)
    rows = [layout.of(x) for x, layout in zip(found, plan.weights, strict=True)]
    return torch.cat(rows) if rows else torch.zeros(0, cell.state_shape[-1])


def check(cell: Cell, u: Tensor, h: Tensor, tolerance: float = 1e-9) -> None:
    """Compare a step's expressions with the step: state, slopes and gradients, in float64."""
    u, h = u.double().requires_grad_(), h.double().requires_grad_()
    cell.double()
    lam = torch.randn_like(h)
    found = by_expressions(cell, u, h.detach(), lam)
    y = cell.step(u, h)
    parameters = [p for p in cell.parameters() if p.requires_grad]
    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    d_u, d_h, *d_p = torch.autograd.grad(y, [u, h, *parameters], lam, **options)
    plan = plan_of(cell, u.unsqueeze(1))
    _agree(found["next"], y.reshape(found["next"].shape), tolerance)
    _agree(found["of h"], d_h.reshape(found["of h"].shape), tolerance)
    _agree(_gradient(plan.drive.of(u, 1), [u], found["of u"])[0], d_u, tolerance)
    weights = weights_of(plan, cell)
    for x, expected in zip(_gradient(weights, parameters, found["of w"].sum(0)), d_p, strict=True):
        _agree(x, expected, tolerance)
    slopes = found["slopes"].unflatten(1, (d_h[0].numel() // h.shape[-1], -1))
    for row in range(slopes.shape[1]):
        unit = torch.zeros(found["next"].shape, dtype=torch.float64)
        unit[:, row] = 1
        (expected,) = torch.autograd.grad(y, h, unit.reshape(h.shape), **options)
        _agree(slopes[:, row], expected.reshape(found["of h"].shape), tolerance)


def _gradient(y, of, cotangent):
    if not of or not y.requires_grad:
        return [torch.zeros_like(x) for x in of]
    return torch.autograd.grad(y, of, cotangent, allow_unused=True, materialize_grads=True)


def _agree(x: Tensor, y: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)
