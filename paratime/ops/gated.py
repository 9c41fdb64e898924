"""The built-in recurrences in torch: the twin of ``csrc/cells.h``.

Shapes: drives u (..., 3, K, C), states (..., rows, C), weights a (3, K, K, C) of the gates in the
order of u, peepholes p (2, K, C); the D = K C hidden numbers are K numbers on each of C channels.
"""

import torch
from torch import Tensor

from paratime.ops import blocks


def affine(u: Tensor, a: Tensor, h: Tensor) -> Tensor:
    """Return u + A h for blocks a (..., K, K, C) and u, h (..., K, C)."""
    for j in range(h.shape[-2]):
        u = torch.addcmul(u, a[..., :, j, :], h[..., j : j + 1, :])
    return u


def gru_gates(u: Tensor, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the update gate z, the reset gate r and the candidate c, each (..., K, C)."""
    zr = torch.sigmoid(affine(u[..., :2, :, :], a[:2], h.unsqueeze(-3)))
    z, r = zr.unbind(-3)
    return z, r, torch.tanh(affine(u[..., 2, :, :], a[2], h * r))


def gru_step(u: Tensor, a: Tensor, h: Tensor) -> Tensor:
    """Return the state (..., K, C) after one step; ``GRUCell`` has the equation."""
    z, _, c = gru_gates(u, a, h)
    return torch.lerp(h, c, z)


def gru_vjp(u: Tensor, a: Tensor, h: Tensor, lam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of <lam, gru_step(u, a, h)> for u, a and h, by hand."""
    z, r, c = gru_gates(u, a, h)
    d_z = lam * (c - h) * z * (1 - z)
    d_c = lam * z * (1 - c * c)
    d_gated = blocks.matvec(blocks.transpose(a[2]), d_c)
    d_r = d_gated * h * r * (1 - r)
    du = torch.stack([d_z, d_r, d_c], dim=-3)
    da = torch.stack([blocks.outer(d_z, h), blocks.outer(d_r, h), blocks.outer(d_c, h * r)], -4)
    through_gates = _transposed(a[:2], du[..., :2, :, :])
    return du, da, lam * (1 - z) + d_gated * r + through_gates


def lstm_gates(
    u: Tensor, a: Tensor, p: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gates f, g, o and the new cell c', each (..., K, C)."""
    u_f, u_g, u_o = u.unbind(-3)
    c, h = state.split(a.shape[-2], dim=-2)
    f = torch.sigmoid(torch.addcmul(affine(u_f, a[0], h), p[0], c))
    g = torch.tanh(affine(u_g, a[1], h))
    c_new = torch.lerp(g, c, f)
    o = torch.sigmoid(torch.addcmul(affine(u_o, a[2], h), p[1], c_new))
    return f, g, o, c_new


def lstm_step(u: Tensor, a: Tensor, p: Tensor, state: Tensor) -> Tensor:
    """Return the state (..., 2 K, C), c above h, after one step; ``LSTMCell`` has the equation."""
    _, _, o, c_new = lstm_gates(u, a, p, state)
    return torch.cat([c_new, o * torch.tanh(c_new)], dim=-2)


def lstm_vjp(
    u: Tensor, a: Tensor, p: Tensor, state: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of <lam, lstm_step(u, a, p, state)> for u, a, p and state, by hand."""
    f, g, o, c_new = lstm_gates(u, a, p, state)
    (c, h), (lam_c, lam_h) = (x.split(f.shape[-2], dim=-2) for x in (state, lam))
    t = torch.tanh(c_new)
    d_o = lam_h * t * o * (1 - o)
    d_new = lam_c + lam_h * o * (1 - t * t) + p[1] * d_o
    d_f = d_new * (c - g) * f * (1 - f)
    d_g = d_new * (1 - f) * (1 - g * g)
    du = torch.stack([d_f, d_g, d_o], dim=-3)
    da = blocks.outer(du, h.unsqueeze(-3))
    dp = torch.stack([d_f * c, d_o * c_new], dim=-3)
    return du, da, dp, torch.cat([d_new * f + p[0] * d_f, _transposed(a, du)], dim=-2)


def _transposed(a: Tensor, du: Tensor) -> Tensor:
    """Return the sum over gates of A^T du, for a (gates, K, K, C) and du (..., gates, K, C)."""
    return blocks.matvec(blocks.transpose(a), du).sum(-3)
