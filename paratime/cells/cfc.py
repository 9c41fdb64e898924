"""The closed-form continuous-time cell, for series with gaps of any length."""

from typing import Any

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.cells.gates import sigmoid_backward, tanh_backward
from paratime.cells.init import Init, PaperInit
from paratime.cells.projection import Projection
from paratime.errors import InputError


class CfCCell(Cell):
    """The closed-form continuous-time cell (CfC, arXiv 2106.13898) with diagonal recurrence.

        s = sigmoid(-dt (u_f + a_f h)),
        h' = s tanh(u_g + a_g h) + (1 - s) tanh(u_k + a_k h),

    with dt the time since the step before. It is a channel of the input, so that series that are
    observed at irregular times are passed like any others; where ``f`` = u_f + a_f h is positive,
    a long gap leads to the second value, and to the first where it is negative.

    Args:
        input_size: Width of the input, the channel of time steps included.
        hidden_size: Width D of the state and output.
        time_channel: Channel of the input that holds dt >= 0, in units of a typical step; the
            others are projected. By default there is none, and dt = 1.
        init: How parameters are drawn.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: There is no such channel, or no other one; or a time step is negative.
    """

    bound = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        time_channel: int | None = None,
        init: Init = PaperInit(),  # noqa: B008 (frozen)
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(hidden_size)
        self.input_size, self.init = input_size, init
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        if time_channel is not None:
            if input_size < 2 or not -input_size <= time_channel < input_size:
                raise InputError(
                    "time_channel",
                    expected=f"a channel of at least 2, from {-input_size} to {input_size - 1}",
                    got=str(time_channel),
                    remedy="widen the input",
                )
            time_channel, input_size = time_channel % input_size, input_size - 1
        self.time_channel = time_channel
        self.projection = Projection(input_size, 3, hidden_size, **factory)
        self.weight_hh = nn.Parameter(torch.empty(3, hidden_size, **factory))
        init.input_(self.projection)
        init.recurrent_(self.weight_hh, hidden_size)

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 4, D), in the order f, g, k, dt."""
        if self.time_channel is None:
            u = self.projection(x)
            return torch.cat([u, torch.ones_like(u[..., :1, :])], dim=-2)
        before, dt, after = x.tensor_split([self.time_channel, self.time_channel + 1], dim=-1)
        _check_time(dt)
        u = self.projection(torch.cat([before, after], dim=-1))
        dt = dt.to(u.dtype).unsqueeze(-1).expand_as(u[..., :1, :])
        return torch.cat([u, dt], dim=-2)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., D) by u (..., 4, D)."""
        g, k, w = self._gates(u, h)
        return torch.lerp(g, k, w)

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form.

        J = (1 - w)(1 - g^2) a_g + w (1 - k^2) a_k + (k - g) w (1 - w) dt a_f, with w = 1 - s.
        """
        a_f, a_g, a_k = self.weight_hh.to(h.dtype)
        g, k, w = self._gates(u, h)
        jac = tanh_backward((1 - w) * a_g, g) + tanh_backward(w * a_k, k)
        return torch.lerp(g, k, w), jac + sigmoid_backward(k - g, w) * u[..., 3, :] * a_f

    def _gates(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the two values, and the weight 1 - s of the second one."""
        a_f, a_g, a_k = self.weight_hh.to(h.dtype)
        u_f, u_g, u_k, dt = u.unbind(-2)
        g, k = torch.tanh(u_g + a_g * h), torch.tanh(u_k + a_k * h)
        return g, k, torch.sigmoid(dt * (u_f + a_f * h))


def _check_time(dt: Tensor) -> None:
    if torch.compiler.is_compiling() or dt.device.type != "cpu":
        return  # values are unknown in a graph, and to look at them is to wait for a GPU
    if (dt < 0).any():
        raise InputError(
            "time_channel",
            expected="time steps of at least 0",
            got=f"{float(dt.min())}",
            remedy="sort each series by time, and give differences",
        )
