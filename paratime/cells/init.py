"""Initialisations of the gated cells, as typed options."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paratime.cells.projection import Projection
from paratime.ops.operator import precise_dtype


class Init(ABC):
    """How a gated cell draws its parameters."""

    @abstractmethod
    def input_(self, projection: Projection) -> None:
        """Fill the input projection's weight and bias in place."""

    @abstractmethod
    def recurrent_(self, weight: Tensor, hidden_size: int) -> None:
        """Fill a recurrent weight in place; its trailing axes are (K, K, D / K) or (K, D / K)."""

    def remember_(self, bias: Tensor, sign: int) -> None:  # noqa: B027 (most leave it alone)
        """Adjust a gate's bias (D,) in place; sigmoid(sign * bias) is the kept share of h."""


@dataclass(frozen=True)
class PaperInit(Init):
    """The initialisation of ParaRNN (arXiv 2510.21450).

    Input weights Kaiming uniform with gain 1, recurrent weights Xavier normal with both fans
    equal to the hidden size, biases zero.
    """

    def input_(self, projection: Projection) -> None:
        """Draw weights from U(-b, b) with b = sqrt(3 / fan_in); zero the bias."""
        bound = math.sqrt(3 / projection.weight.shape[-1])
        nn.init.uniform_(projection.weight, -bound, bound)
        nn.init.zeros_(projection.bias)

    def recurrent_(self, weight: Tensor, hidden_size: int) -> None:
        """Draw weights from N(0, 1 / hidden_size)."""
        nn.init.normal_(weight, std=1 / math.sqrt(hidden_size))


@dataclass(frozen=True)
class UniformInit(Init):
    """The initialisation of torch.nn.GRU and LSTM: all from U(-b, b), b = 1 / sqrt(hidden_size)."""

    def input_(self, projection: Projection) -> None:
        """Draw weights and bias."""
        bound = 1 / math.sqrt(projection.bias.shape[-1])
        nn.init.uniform_(projection.weight, -bound, bound)
        nn.init.uniform_(projection.bias, -bound, bound)

    def recurrent_(self, weight: Tensor, hidden_size: int) -> None:
        """Draw recurrent weights."""
        bound = 1 / math.sqrt(hidden_size)
        nn.init.uniform_(weight, -bound, bound)


@dataclass(frozen=True)
class NormalInit(Init):
    """The paper's initialisation with recurrent weights from N(0, scale^2).

    Large scales make a diagonal cell nonlinear in its state, and above about 2 chaotic.

    Args:
        scale: Standard deviation of the recurrent weights.
    """

    scale: float = 1.0

    def input_(self, projection: Projection) -> None:
        """Draw as in the paper."""
        PaperInit().input_(projection)

    def recurrent_(self, weight: Tensor, hidden_size: int) -> None:
        """Draw weights from N(0, scale^2)."""
        nn.init.normal_(weight, std=self.scale)


@dataclass(frozen=True)
class ChronoInit(Init):
    """The paper's weights with memories of 2 to ``max_timescale`` steps (arXiv 1804.11188).

    The bias of the gate that keeps the old state is log(tau - 1) with tau from
    U(2, max_timescale), so that its channel forgets over about tau steps.

    Args:
        max_timescale: Longest memory, in steps.
    """

    max_timescale: float

    def input_(self, projection: Projection) -> None:
        """Draw as in the paper."""
        PaperInit().input_(projection)

    def recurrent_(self, weight: Tensor, hidden_size: int) -> None:
        """Draw as in the paper."""
        PaperInit().recurrent_(weight, hidden_size)

    @torch.no_grad()
    def remember_(self, bias: Tensor, sign: int) -> None:
        """Set the bias of the gate that keeps the state (sign 1) or replaces it (sign -1)."""
        exact = torch.empty_like(bias, dtype=precise_dtype(bias))
        bias.copy_(exact.uniform_(1, self.max_timescale - 1).log_().mul_(sign))
