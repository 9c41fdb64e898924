"""What a model says of a reward: a number, or a distribution over bins.

Strategies are frozen dataclasses. Rewards come in standard deviations from their mean.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import check_at_least


class RewardHead(ABC):
    """How numbers of a network say a reward."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of the network."""

    @abstractmethod
    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the loss (...,) of numbers (..., size) of rewards (...,)."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the reward (...,) that numbers (..., size) say."""


@dataclass(frozen=True)
class MSE(RewardHead):
    """The reward itself, by the square of its error."""

    @property
    def size(self) -> int:
        """One number."""
        return 1

    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the square of the error."""
        return (raw.squeeze(-1) - reward).square()

    def mean(self, raw: Tensor) -> Tensor:
        """Return the number."""
        return raw.squeeze(-1)


@dataclass(frozen=True)
class Symlog(RewardHead):
    """sign(r) log(1 + |r|), by the square of its error (DreamerV3, arXiv 2301.04104)."""

    @property
    def size(self) -> int:
        """One number."""
        return 1

    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the square of the error, where large rewards count less."""
        return (raw.squeeze(-1) - symlog(reward)).square()

    def mean(self, raw: Tensor) -> Tensor:
        """Return the reward whose symlog the number is."""
        return symexp(raw.squeeze(-1))


@dataclass(frozen=True)
class TwoHot(RewardHead):
    """A distribution over bins, evenly spaced in symlog (DreamerV3, arXiv 2301.04104).

    A reward is the two bins beside it, in shares that have it as their mean; the loss is the cross
    entropy. Rewards of several kinds, far apart and rare, are then no outliers.

    Args:
        bins: How many.
        limit: Symlog of the greatest; the least is its negative.
    """

    bins: int = 63
    limit: float = 5.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_at_least(2, bins=self.bins)

    @property
    def size(self) -> int:
        """A logit a bin."""
        return self.bins

    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the cross entropy in nats."""
        return -(self._shares(reward) * raw.log_softmax(-1)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean of the bins' rewards."""
        return (raw.softmax(-1) * self._values(raw)).sum(-1)

    def _values(self, like: Tensor) -> Tensor:
        return symexp(torch.linspace(-self.limit, self.limit, self.bins).to(like))

    def _shares(self, reward: Tensor) -> Tensor:
        """Return the shares (..., bins) of rewards (...,)."""
        values = self._values(reward)
        known = reward.clamp(values[0], values[-1])
        upper = torch.searchsorted(values, known.contiguous()).clamp(1, self.bins - 1)
        low, high = values[upper - 1], values[upper]
        share = ((known - low) / (high - low)).unsqueeze(-1)
        lower, higher = (functional.one_hot(i, self.bins).to(reward) for i in (upper - 1, upper))
        return (1 - share) * lower + share * higher


def symlog(x: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Return the inverse of ``symlog``."""
    return x.sign() * x.abs().expm1()
