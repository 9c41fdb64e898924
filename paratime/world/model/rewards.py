"""How a model predicts a reward: as a number, or as a distribution over bins.

Strategies are frozen dataclasses. Rewards are in standard deviations from their mean.
"""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import log1p

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import check_at_least

_log = logging.getLogger(__name__)

LIMIT = 5.0
"""Symlog of the greatest reward that a distribution has bins for, at least."""


class RewardHead(ABC):
    """How outputs of a network represent a reward."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of outputs."""

    @abstractmethod
    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the loss (...,) of outputs (..., size) for rewards (...,)."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected reward (...,) of outputs (..., size)."""

    def reaching(self, extent: float) -> "RewardHead":
        """Return a head that can represent rewards up to some distance from their mean."""
        return self


@dataclass(frozen=True)
class MSE(RewardHead):
    """The reward itself, trained on its squared error."""

    @property
    def size(self) -> int:
        """One output."""
        return 1

    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the squared error."""
        return (raw.squeeze(-1) - reward).square()

    def mean(self, raw: Tensor) -> Tensor:
        """Return the output."""
        return raw.squeeze(-1)


@dataclass(frozen=True)
class Symlog(RewardHead):
    """sign(r) log(1 + |r|), trained on its squared error (DreamerV3, arXiv 2301.04104)."""

    @property
    def size(self) -> int:
        """One output."""
        return 1

    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the squared error of the symlog, in which large rewards count less."""
        return (raw.squeeze(-1) - symlog(reward)).square()

    def mean(self, raw: Tensor) -> Tensor:
        """Return the inverse symlog of the output."""
        return symexp(raw.squeeze(-1))


@dataclass(frozen=True)
class TwoHot(RewardHead):
    """A distribution over bins, evenly spaced in symlog (DreamerV3, arXiv 2301.04104).

    A reward is represented by its two neighbouring bins, in shares whose mean it is; the loss is
    the cross-entropy. Rare rewards of very different size are then no outliers.

    Args:
        bins: How many.
        limit: Symlog of the greatest bin; the least one is its negative. By default the bins reach
            the rewards of the training data, and 5 at least.
    """

    bins: int = 63
    limit: float | None = None

    def __post_init__(self) -> None:
        """Check the number of bins."""
        check_at_least(2, bins=self.bins)

    @property
    def size(self) -> int:
        """One logit per bin."""
        return self.bins

    def reaching(self, extent: float) -> "TwoHot":
        """Return this head with bins up to some distance; warn if its own limit is nearer."""
        if self.limit is None:
            return replace(self, limit=max(LIMIT, log1p(extent)))
        if log1p(extent) > self.limit:
            _log.warning(
                "TwoHot(limit=%g) cannot represent all rewards: those of the data need %.2f; "
                "leave limit out",
                self.limit,
                log1p(extent),
            )
        return self

    def loss(self, raw: Tensor, reward: Tensor) -> Tensor:
        """Return the cross-entropy in nats."""
        return -(self._shares(reward) * raw.log_softmax(-1)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean of the bins' rewards."""
        return (raw.softmax(-1) * self._values(raw)).sum(-1)

    def _values(self, like: Tensor) -> Tensor:
        limit = LIMIT if self.limit is None else self.limit
        return symexp(torch.linspace(-limit, limit, self.bins).to(like))

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
