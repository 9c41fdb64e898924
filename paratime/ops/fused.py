"""The fused operators ``paratime::gru`` and ``paratime::lstm``.

Their weights are the rows of ``weight_hh`` (3, K, K, C), below them those of the LSTM's peepholes.
"""

import torch
from torch import Tensor

from paratime.ops import gated
from paratime.ops.recurrence import Recurrence


def _gru_step(u: Tensor, weight: Tensor, h: Tensor) -> Tensor:
    return gated.gru_step(*_gates_of(u, weight), h)


def _gru_pull_back(
    u: Tensor, weight: Tensor, h: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    du, da, dh = gated.gru_pull_back(*_gates_of(u, weight), h, lam)
    return du.flatten(-3, -2), da.flatten(-4, -2), dh


def _lstm_step(u: Tensor, weight: Tensor, state: Tensor) -> Tensor:
    a, p = _without_peepholes(u, weight)
    return gated.lstm_step(*_gates_of(u, a), p, state)


def _lstm_pull_back(
    u: Tensor, weight: Tensor, state: Tensor, lam: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    a, p = _without_peepholes(u, weight)
    du, da, dp, d_state = gated.lstm_pull_back(*_gates_of(u, a), p, state, lam)
    return du.flatten(-3, -2), torch.cat([da.flatten(-4, -2), dp.flatten(-3, -2)], -2), d_state


def _gates_of(u: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    k = u.shape[-2] // 3
    return u.unflatten(-2, (3, k)), a.unflatten(0, (3, k, k))


def _without_peepholes(u: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    k = u.shape[-2] // 3
    a, p = weight.split([3 * k * k, 2 * k])
    return a, p.unflatten(0, (2, k))


gru = Recurrence("gru", _gru_step, _gru_pull_back, lambda k: (k, 3 * k * k))
lstm = Recurrence("lstm", _lstm_step, _lstm_pull_back, lambda k: (2 * k, 3 * k * k + 2 * k))
