"""The linear recurrent unit with a saturating state: a provable contraction."""

import math

import torch
from torch import Tensor, nn

from paratime.cells.base import Cell
from paratime.cells.init import PaperInit
from paratime.cells.projection import Projection
from paratime.errors import InputError
from paratime.ops import blocks
from paratime.ops.operator import precise_dtype


class LRUCell(Cell):
    """The linear recurrent unit (LRU, arXiv 2303.06349), made nonlinear in its state.

        v = lambda h + sqrt(1 - |lambda|^2) u,  h' = v / sqrt(1 + |v|^2),

    with complex h, u and lambda = exp(-exp(nu) + i exp(theta)). A channel is one complex number,
    a state of K = 2. The paper's h' is v itself; here |h| < 1, small states behave as in the
    paper, and phases are kept. No slope of v / sqrt(1 + |v|^2) is above 1, so that the norm of
    the Jacobian is at most |lambda| < 1 for any input: two states draw nearer at every step.

    Args:
        input_size: Width of the input.
        hidden_size: Width D of the output, real parts before imaginary ones; it is even.
        r_min: Least |lambda| that is drawn.
        r_max: Greatest |lambda| that is drawn.
        max_phase: Greatest phase of lambda that is drawn, in radians.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: An odd width, or radii that are no such range.
    """

    bound = 1.0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        r_min: float = 0.0,
        r_max: float = 0.999,
        max_phase: float = 2 * math.pi,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if hidden_size % 2:
            raise InputError(
                "hidden_size",
                expected="an even number",
                got=str(hidden_size),
                remedy="add one: each channel has two numbers",
            )
        if not (0 <= r_min <= r_max < 1 and r_max > 0):
            raise InputError(
                "r_min and r_max",
                expected="0 <= r_min <= r_max, above 0 and below 1",
                got=f"{r_min} and {r_max}",
                remedy="correct them",
            )
        channels = hidden_size // 2
        super().__init__(hidden_size, (2, channels))
        self.input_size, self.r_min, self.r_max, self.max_phase = (
            input_size,
            r_min,
            r_max,
            max_phase,
        )
        self.projection = Projection(input_size, 2, channels, device=device, dtype=dtype)
        PaperInit().input_(self.projection)
        bias = self.projection.bias
        drawn = torch.rand(2, channels, device=device, dtype=precise_dtype(bias))
        radius, phase = 1 - drawn  # above 0, whose logarithm is finite
        square = r_min**2 + (r_max**2 - r_min**2) * radius
        self.log_decay = nn.Parameter(torch.log(-square.log() / 2).to(bias.dtype))
        self.log_phase = nn.Parameter(torch.log(max_phase * phase).to(bias.dtype))

    def drive(self, x: Tensor) -> Tensor:
        """Project x (..., input_size) to u (..., 2, D / 2), scaled by sqrt(1 - |lambda|^2)."""
        u = self.projection(x)
        scale = torch.sqrt(-torch.expm1(-2 * self.log_decay.exp()))
        return u * scale.to(u.dtype)

    def step(self, u: Tensor, h: Tensor) -> Tensor:
        """Advance h (..., 2, D / 2) by u (..., 2, D / 2)."""
        v = u + blocks.matvec(self._turn(h.dtype), h)
        return v * _shrinkage(v)

    def linearize(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Advance one step, with the Jacobian in closed form.

        J = r (1 - h' h'^T) lambda, with r = 1 / sqrt(1 + |v|^2) and lambda as a 2 x 2 matrix.
        """
        turn = self._turn(h.dtype)
        v = u + blocks.matvec(turn, h)
        r = _shrinkage(v)
        state = v * r
        unit = torch.eye(2, dtype=h.dtype, device=h.device).unsqueeze(-1)
        slope = r.unsqueeze(-2) * (unit - blocks.outer(state, state))
        return state, blocks.matmul(slope, turn)

    def _turn(self, dtype: torch.dtype) -> Tensor:
        """Return lambda as real matrices, (2, 2, D / 2)."""
        size, phase = torch.exp(-self.log_decay.to(dtype).exp()), self.log_phase.to(dtype).exp()
        cos, sin = size * phase.cos(), size * phase.sin()
        return torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])


def _shrinkage(v: Tensor) -> Tensor:
    return torch.rsqrt(1 + v.square().sum(-2, keepdim=True))
