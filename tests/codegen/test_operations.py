"""Every operation that a step may use, against torch: values, slopes and gradients."""

import math

import pytest
import torch
from codegen.twin import PlainCell, check
from torch.nn import functional

ONE_NUMBER = {
    "exp": torch.exp,
    "expm1": torch.expm1,
    "exp2": torch.exp2,
    "log": lambda x: torch.log(x.abs() + 0.1),
    "log2": lambda x: torch.log2(x * x + 0.1),
    "log10": lambda x: torch.log10(x * x + 0.1),
    "log1p": lambda x: torch.log1p(x.abs()),
    "sigmoid": torch.sigmoid,
    "logsigmoid": functional.logsigmoid,
    "tanh": torch.tanh,
    "softplus": functional.softplus,
    "softplus with options": lambda x: functional.softplus(x, beta=2.0, threshold=1.0),
    "relu": torch.relu,
    "leaky_relu": functional.leaky_relu,
    "leaky_relu with a slope": lambda x: functional.leaky_relu(x, 0.3),
    "elu": functional.elu,
    "elu with alpha": lambda x: functional.elu(x, 0.7),
    "selu": functional.selu,
    "celu": lambda x: functional.celu(x, 1.5),
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu by tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "mish": functional.mish,
    "hardtanh": functional.hardtanh,
    "hardswish": functional.hardswish,
    "relu6": functional.relu6,
    "softsign": functional.softsign,
    "tanhshrink": functional.tanhshrink,
    "sqrt": lambda x: torch.sqrt(x.abs() + 0.1),
    "rsqrt": lambda x: torch.rsqrt(x.abs() + 0.1),
    "abs": torch.abs,
    "sign": lambda x: torch.sign(x) * x,
    "clamp": lambda x: torch.clamp(x, -0.5, 0.7),
    "clamp_min": lambda x: x.clamp_min(-0.2),
    "clamp_max": lambda x: x.clamp(max=0.3),
    "square": torch.square,
    "third power": lambda x: x**3,
    "negative power": lambda x: (x.abs() + 0.5) ** -2,
    "power one half": lambda x: (x.abs() + 0.1) ** 0.5,
    "power 1.7": lambda x: (x.abs() + 0.1) ** 1.7,
    "two to a power": lambda x: 2.0**x,
    "reciprocal": lambda x: torch.reciprocal(x.abs() + 1),
    "1 - x": lambda x: 1 - x,
    "x / 3": lambda x: x / 3,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda x: torch.tan(x / 4),
    "erf": torch.erf,
    "erfc": torch.erfc,
    "where": lambda x: torch.where(x > 0.1, x * x, -x),
    "where of two conditions": lambda x: torch.where((x > -0.5) & ~(x > 0.5), x.exp(), x),
    "where of either": lambda x: torch.where((x < -0.5) | (x >= 0.5), x.exp(), x),
    "mask": lambda x: (x > 0) * x + (x <= 0).to(x.dtype) * 0.1 * x,
    "masked_fill": lambda x: x.masked_fill(x < 0, -0.5),
    "detach": lambda x: x.detach() * x,
    "nan_to_num": lambda x: torch.where(x.isnan(), 0.0, x),
    "in place": lambda x: (x + 1).mul_(2).add_(x),
    "frac by constants": lambda x: x * math.pi + torch.tensor(0.5, dtype=x.dtype),
    "zeros_like": lambda x: torch.zeros_like(x) + x,
    "full": lambda x: torch.full(x.shape[-1:], 0.25, dtype=x.dtype) * x,
}
TWO_NUMBERS = {
    "add with alpha": lambda x, y: torch.add(x, y, alpha=0.5),
    "sub with alpha": lambda x, y: torch.sub(x, y, alpha=2),
    "mul": torch.mul,
    "div": lambda x, y: x / (y.abs() + 1),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "atan2": torch.atan2,
    "hypot": torch.hypot,
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "lerp by a gate": lambda x, y: torch.lerp(x, y, torch.sigmoid(x)),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.5),
    "addcdiv": lambda x, y: torch.addcdiv(x, x, y.abs() + 1, value=0.5),
    "logaddexp": torch.logaddexp,
    "power": lambda x, y: (x.abs() + 0.1) ** y,
    "comparisons": lambda x, y: torch.where(x == y, x, torch.where(x != y, y, 0 * x)),
    "xor": lambda x, y: torch.where((x > 0) ^ (y > 0), x, y),
    "stack and select": lambda x, y: torch.stack([x, y])[1] * torch.stack([x, y], -1)[..., 0],
    "cat and chunk": lambda x, y: torch.mul(*torch.cat([x, y], -1).chunk(2, -1)),
    "flip": lambda x, y: torch.stack([x, y]).flip(0)[0],
    "sum": lambda x, y: torch.stack([x, y, x * y]).sum(0),
    "mean": lambda x, y: torch.stack([x, y]).mean(0),
    "prod": lambda x, y: torch.stack([x, y, x]).prod(0),
    "amax": lambda x, y: torch.stack([x, y]).amax(0),
    "norm": lambda x, y: torch.stack([x, y]).norm(dim=0),
    "softmax": lambda x, y: torch.stack([x, y, x * y]).softmax(0)[1],
}


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_operations_on_one_number(name):
    of = ONE_NUMBER[name]
    cell = PlainCell(lambda cell, u, h: of(u + cell.a * h), a=torch.randn(3))
    check(cell, torch.randn(4, 3), torch.randn(4, 3))


def test_hardsigmoid_whose_gradient_torch_rounds_to_float32():
    cell = PlainCell(lambda cell, u, h: functional.hardsigmoid(u + cell.a * h), a=torch.randn(3))
    check(cell, torch.randn(4, 3), torch.randn(4, 3), tolerance=1e-7)


@pytest.mark.parametrize("name", TWO_NUMBERS)
def test_operations_on_two_numbers(name):
    of = TWO_NUMBERS[name]
    cell = PlainCell(lambda cell, u, h: of(u, cell.a * h), a=torch.randn(3))
    check(cell, torch.randn(4, 3), torch.randn(4, 3))


@pytest.mark.parametrize(
    "name", ["relu", "leaky_relu", "elu", "abs", "clamp", "hardtanh", "sign", "clamp_min"]
)
def test_kinks_are_torchs(name):
    of = ONE_NUMBER[name]
    at = torch.tensor([0.0, -0.5, 0.7, -1.0, 1.0, -0.2])
    check(PlainCell(lambda cell, u, h: of(u) + 0 * h, (6,)), at.repeat(2, 1), torch.zeros(2, 6))


@pytest.mark.parametrize("of", [torch.maximum, torch.minimum, torch.atan2, torch.hypot])
def test_equal_numbers_share_a_gradient(of):
    x = torch.tensor([[0.5, -0.5, 2.0]] * 2)
    check(PlainCell(lambda cell, u, h: of(u, h)), x, x.clone())


MATRICES = {
    "einsum": lambda a, h: torch.einsum("ijd,...jd->...id", a, h),
    "sums": lambda a, h: (a * h.unsqueeze(-3)).sum(-2),
    "one number after another": lambda a, h: sum(
        a[:, j] * h[..., j : j + 1, :] for j in range(h.shape[-2])
    ),
    "matmul of channels first": lambda a, h: (
        (a.permute(2, 0, 1) @ h.transpose(-1, -2).unsqueeze(-1)).squeeze(-1).transpose(-1, -2)
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_products_of_small_matrices(name):
    of = MATRICES[name]
    cell = PlainCell(
        lambda cell, u, h: torch.tanh(u + of(cell.a, h)), (4, 3), a=torch.randn(4, 4, 3)
    )
    check(cell, torch.randn(2, 4, 3), torch.randn(2, 4, 3))


DRIVES = {
    "gates last": ((3, 2), lambda u: u.unbind(-1)),
    "one after another": ((6,), lambda u: u.chunk(2, -1)),
    "interleaved": ((6,), lambda u: (u[..., ::2], u[..., 1::2])),
    "one number for all channels": ((4,), lambda u: (u[..., :3], u[..., 3:])),
    "reversed": ((2, 3), lambda u: u.flip(-1).unbind(-2)),
}


@pytest.mark.parametrize("name", DRIVES)
def test_drives_of_any_layout(name):
    shape, parts = DRIVES[name]

    def step(cell, u, h):
        x, y = parts(u)
        return torch.tanh(x + cell.a * h) * y

    check(PlainCell(step, a=torch.randn(3)), torch.randn(2, *shape), torch.randn(2, 3))


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3), (3, 1)], ids=str)
def test_weights_of_any_layout(shape):
    def step(cell, u, h):
        a = cell.a.squeeze(-1) if shape == (3, 1) else cell.a
        return torch.tanh(u + torch.sigmoid(a) * h * cell.b.exp()) * a

    cell = PlainCell(step, a=torch.randn(shape), b=torch.randn(3))
    check(cell, torch.randn(2, 3), torch.randn(2, 3))


def test_a_dense_state_of_one_channel():
    cell = PlainCell(
        lambda cell, u, h: torch.tanh(u + (cell.a @ h.squeeze(-1).unsqueeze(-1))),
        (5, 1),
        a=torch.randn(5, 5),
    )
    check(cell, torch.randn(3, 5, 1), torch.randn(3, 5, 1))


def test_a_step_of_many_substeps():
    def step(cell, u, h):
        for _ in range(60):
            h = h + 0.05 * (torch.tanh(u + cell.a * h) - h)
        return h

    check(PlainCell(step, a=torch.randn(3)), torch.randn(2, 3), torch.randn(2, 3))


def test_norms_and_angles_of_nothing_have_torchs_gradients():
    def step(cell, u, h):
        return torch.tanh(h + u.norm(dim=-2, keepdim=True) + torch.atan2(u, h) + h / 3)

    check(PlainCell(step, (3, 2)), torch.zeros(2, 3, 2), torch.zeros(2, 3, 2))


def test_a_state_whose_gradient_stops():
    cell = PlainCell(lambda cell, u, h: torch.tanh(u + 0.5 * h.detach() + h), (3,))
    check(cell, torch.randn(2, 3), torch.randn(2, 3))
