"""The input projection of a gated cell."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.cells.base import describe
from paratime.errors import InputError, check_at_least


class Projection(nn.Module):
    """Affine map from inputs to the drives of all gates, block-diagonal over heads.

    Args:
        input_size: Width of the input.
        gates: Number of gates G.
        hidden_size: Width D of each gate.
        heads: Number of diagonal blocks; each maps its slice of the input to its slice of D.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: A width that the number of heads does not divide.
    """

    def __init__(
        self,
        input_size: int,
        gates: int,
        hidden_size: int,
        heads: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.gates = input_size, gates
        self.hidden_size, self.heads = hidden_size, heads
        check_at_least(1, input_size=input_size, hidden_size=hidden_size)
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if heads < 1 or size % heads:
                raise InputError(
                    "heads",
                    expected=f"a divisor of {name} = {size}",
                    got=str(heads),
                    remedy="change heads or the width",
                )
        shape = (heads, gates, hidden_size // heads, input_size // heads)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(gates, hidden_size, device=device, dtype=dtype))

    def extra_repr(self) -> str:
        """Return the sizes."""
        return describe(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., input_size) to u (..., G, D)."""
        heads, width = self.weight.shape[0], self.weight.shape[0] * self.weight.shape[-1]
        check_width(x, width)
        check_like(x, self.weight)
        if heads == 1:
            u = functional.linear(x, self.weight.flatten(0, 2), self.bias.flatten())
            return u.unflatten(-1, self.bias.shape)
        u = torch.einsum("...hi,hgoi->...gho", x.unflatten(-1, (heads, -1)), self.weight)
        return u.flatten(-2) + self.bias.to(u.dtype)


def check_width(x: Tensor, width: int) -> None:
    """Refuse inputs (..., width) of another width."""
    if x.shape[-1] != width:
        raise InputError(
            "x",
            expected=f"{width} channels",
            got=str(x.shape[-1]),
            remedy="build the layer with another input_size, or change the input",
        )


def check_device(name: str, x: Tensor, like: Tensor) -> None:
    """Refuse inputs on another device than a weight."""
    if x.device != like.device:
        raise InputError(
            name,
            expected=f"a tensor on {like.device}, like the parameters",
            got=f"one on {x.device}",
            remedy=f"move it, {name}.to({str(like.device)!r}), or move the layer",
        )


def check_like(x: Tensor, weight: Tensor) -> None:
    """Refuse inputs on another device than a weight, or of a type that no product takes with it.

    Under autocast, floating-point types other than float64 may differ.
    """
    check_device("x", x, weight)
    if x.dtype == weight.dtype:
        return
    mixed = x.is_floating_point() and torch.float64 not in (x.dtype, weight.dtype)
    if mixed and torch.is_autocast_enabled(x.device.type):
        return
    remedy = f"cast it, x.to({weight.dtype}), or the layer, layer.to({x.dtype})"
    if x.is_complex():
        remedy = "lay real and imaginary parts out as channels, torch.view_as_real(x).flatten(-2)"
    elif not x.is_floating_point():
        remedy = "embed token ids first, by nn.Embedding, or cast values, x.float()"
    raise InputError(
        "x",
        expected=f"{weight.dtype}, like the parameters",
        got=str(x.dtype),
        remedy=remedy,
    )


def is_plain(module: nn.Module) -> bool:
    """Return whether a module is exactly a projection: no subclass, parametrization or hook."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    return type(module) is Projection and not any(hooks)
