"""A check that a user's cell keeps its channels apart, without which gradients would be wrong."""

import torch
from torch import Tensor

from paratime.cells.base import Cell, vjp
from paratime.errors import InputError
from paratime.ops import blocks

_RTOL = {torch.float32: 1e-4, torch.float64: 1e-8}


@torch.no_grad()
def check_structure(cell: Cell, u: Tensor) -> None:
    """Compare the structured Jacobian with a gradient that would see channels read each other.

    It costs two gradients of three steps and runs only where ``linearize`` is not overridden: a
    closed form is checked by ``paratime.testing.check_cell``.

    Raises:
        InputError: ``step`` lets channels read each other, or returns another shape.
    """
    if type(cell).linearize is not Cell.linearize or u.shape[0] == 0 or u.is_meta:
        return
    now = torch.stack([u[0, 0], u[-1, u.shape[1] // 2], u[0, -1]])
    size = torch.arange(1, 1 + 3 * cell.state_shape.numel(), dtype=u.dtype, device=u.device)
    h, weight = ((size * f).sin().view(3, *cell.state_shape) / 2 for f in (1.0, 1.7))
    name, declared = f"{type(cell).__name__}.step", tuple(cell.state_shape)
    shape = tuple(cell.step(now, h).shape[1:])
    if shape != declared:
        raise InputError(name, f"a state {declared}", str(shape), "mend state_shape or step")
    _, (seen,) = vjp(cell, now, h, [weight])
    _, jac = cell.linearize(now, h)
    jac_t = blocks.transpose(jac) if jac.dim() > h.dim() else jac
    rtol = _RTOL[u.dtype]
    if not torch.allclose(blocks.apply(jac_t, weight), seen, rtol=rtol, atol=rtol, equal_nan=True):
        raise InputError(
            name,
            f"channels and sequences that do not read each other, as state_shape {declared} says, "
            "and no randomness",
            "a Jacobian that couples them",
            "move the mixing into drive, or declare state_shape (K, D) with K coupled numbers a "
            "channel, (K, 1) for a dense cell",
        )
