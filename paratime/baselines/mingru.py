"""The gated recurrences with all nonlinearity in time taken out: what linear time can do."""

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from paratime.cells.init import UniformInit
from paratime.cells.projection import Projection
from paratime.errors import check_at_least
from paratime.layers.mixer import (
    Mixer,
    check_sequence,
    check_state,
    check_step,
    last_valid,
    mask_padding,
)
from paratime.ops.operator import precise_dtype, without_autocast
from paratime.ops.scan import scan, transfer
from paratime.solvers.base import restart


class LinearRNN(Mixer):
    """The recurrence h[t] = a[t] * h[t-1] + b[t] with a and b functions of x[t] alone.

    It is solved by ``paratime.scan``. The paper scans logarithms instead; with a in (0, 1) the
    plain recurrence is a damped sum that neither grows nor loses precision, h may have any sign,
    and a reset is a = 0. The state is h, (B, D), float32, or float64 for float64 inputs.

    Args:
        input_size: Width of the input.
        gates: Projections of the input.
        hidden_size: Width D of the output; ``input_size`` by default.
        heads: Blocks of the projection.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.

    Raises:
        InputError: Sizes below 1.
    """

    def __init__(
        self,
        input_size: int,
        gates: int,
        hidden_size: int | None,
        heads: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = input_size if hidden_size is None else hidden_size
        check_at_least(1, input_size=input_size, hidden_size=self.hidden_size)
        self.input_size, self.heads = input_size, heads
        width = self.hidden_size
        self.projection = Projection(input_size, gates, width, heads, device=device, dtype=dtype)
        UniformInit().input_(self.projection)

    @abstractmethod
    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map projections u (..., gates, D) to a and b (..., D)."""

    def forward(
        self,
        x: Tensor,
        h0: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Map x (B, T, input_size) to (B, T, D) and the final state."""
        check_sequence(x, reset, lengths)
        u = self.projection(x)
        h0 = self._start(u, h0)
        with without_autocast(x.device):
            a, b = (mask_padding(v, lengths) for v in self.coefficients(u.to(h0.dtype)))
            h = scan(restart(a, reset), b, h0)
        return h.to(u.dtype), last_valid(h, h0, lengths)

    def step(
        self, x: Tensor, state: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map one step x (B, input_size) to (B, D) and the state."""
        check_step(x, reset)
        u = self.projection(x)
        state = self._start(u, state)
        a, b = self.coefficients(u.to(state.dtype))
        h = transfer(a, restart(state, reset)) + b
        return h.to(u.dtype), h.clone()

    def _start(self, u: Tensor, h0: Tensor | None) -> Tensor:
        dtype = precise_dtype(u)
        shape = (u.shape[0], self.hidden_size)
        if h0 is None:
            return u.new_zeros(shape, dtype=dtype)
        check_state("h0", h0, shape, like=u)
        return h0.to(dtype)


class MinGRU(LinearRNN):
    """The minGRU of "Were RNNs All We Needed?" (arXiv 2410.01201).

        z = sigmoid(u_z),  h' = (1 - z) * h + z * g(u_h),

    with u = W x + b, and g(v) = v + 1/2 for v >= 0, sigmoid(v) otherwise.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        heads: Blocks of the input projection.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        heads: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, 2, hidden_size, heads, device=device, dtype=dtype)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map the projections z, h to 1 - z and z * g(h)."""
        z, h = u.unbind(-2)
        return torch.sigmoid(-z), torch.sigmoid(z) * positive(h)


class MinLSTM(LinearRNN):
    """The minLSTM of "Were RNNs All We Needed?" (arXiv 2410.01201), its gates adding up to one.

        f = sigmoid(u_f),  i = sigmoid(u_i),  h' = f / (f + i) * h + i / (f + i) * g(u_h),

    with u = W x + b, and g as in ``MinGRU``. The shares are computed as sigmoid(log f - log i),
    which is defined where both gates vanish.

    Args:
        input_size: Width of the input.
        hidden_size: Width of the output; ``input_size`` by default.
        heads: Blocks of the input projection.
        device: Where parameters are created; the default device if None.
        dtype: Their precision; the default one if None.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int | None = None,
        *,
        heads: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, 3, hidden_size, heads, device=device, dtype=dtype)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Map the projections f, i, h to the shares of the old state and of g(h)."""
        f, i, h = u.unbind(-2)
        odds = functional.logsigmoid(f) - functional.logsigmoid(i)
        return torch.sigmoid(odds), torch.sigmoid(-odds) * positive(h)


def positive(v: Tensor) -> Tensor:
    """Return g(v): v + 1/2 for v >= 0, sigmoid(v) otherwise; continuous, and above 0."""
    return torch.where(v >= 0, v + 0.5, torch.sigmoid(v))
