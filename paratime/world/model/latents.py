"""What a latent model knows of an observation: a sample of a distribution given by numbers.

Strategies are frozen dataclasses. Samples carry gradients: of classes straight through (Bengio et
al., 2013), of numbers by reparametrisation. KL divergences are in nats, summed over the latent.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from paratime.errors import check_at_least


class Latent(ABC):
    """A family of distributions."""

    @property
    @abstractmethod
    def raw_size(self) -> int:
        """Numbers that say a distribution."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of a sample."""

    @abstractmethod
    def sample(self, raw: Tensor) -> Tensor:
        """Draw a sample (..., size) of each distribution (..., raw_size)."""

    @abstractmethod
    def mean(self, raw: Tensor) -> Tensor:
        """Return the expected sample (..., size), which imagination goes on from if it draws none.

        It keeps what one class of several would lose at each step.
        """

    @abstractmethod
    def kl(self, raw: Tensor, other: Tensor) -> Tensor:
        """Return the KL divergence (...,) of distributions from others."""


@dataclass(frozen=True)
class Categorical(Latent):
    """Groups of classes, as in DreamerV2 and V3 (arXiv 2010.02193, 2301.04104).

    Args:
        groups: How many.
        classes: Of a group.
        unimix: Share of the uniform distribution in each, so that no divergence is infinite.
    """

    groups: int = 16
    classes: int = 16
    unimix: float = 0.01

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_at_least(1, groups=self.groups, classes=self.classes)

    @property
    def raw_size(self) -> int:
        """A logit a class."""
        return self.groups * self.classes

    @property
    def size(self) -> int:
        """One-hot, group by group."""
        return self.groups * self.classes

    def sample(self, raw: Tensor) -> Tensor:
        """Draw a class of each group; its gradient is that of the probabilities."""
        chances = self._log(raw).exp()
        choice = torch.multinomial(chances.detach().flatten(0, -2), 1)
        drawn = functional.one_hot(choice.view(chances.shape[:-1]), self.classes).to(raw)
        return (drawn + chances - chances.detach()).flatten(-2)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the probability of each class."""
        return self._log(raw).exp().flatten(-2)

    def kl(self, raw: Tensor, other: Tensor) -> Tensor:
        """Return sum p (log p - log q)."""
        p, q = self._log(raw), self._log(other)
        return (p.exp() * (p - q)).sum((-2, -1))

    def _log(self, raw: Tensor) -> Tensor:
        chances = raw.unflatten(-1, (self.groups, self.classes)).softmax(-1)
        return ((1 - self.unimix) * chances + self.unimix / self.classes).log()


@dataclass(frozen=True)
class Gaussian(Latent):
    """Independent normal numbers.

    Args:
        numbers: How many.
        least: Least standard deviation.
    """

    numbers: int = 32
    least: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_at_least(1, numbers=self.numbers)

    @property
    def raw_size(self) -> int:
        """A mean and a deviation each."""
        return 2 * self.numbers

    @property
    def size(self) -> int:
        """One number each."""
        return self.numbers

    def sample(self, raw: Tensor) -> Tensor:
        """Draw each number."""
        mean, spread = self._parts(raw)
        return mean + spread * torch.randn_like(spread)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean of each number."""
        return self._parts(raw)[0]

    def kl(self, raw: Tensor, other: Tensor) -> Tensor:
        """Return sum log(s / r) + (r^2 + (m - n)^2) / (2 s^2) - 1 / 2."""
        (m, r), (n, s) = self._parts(raw), self._parts(other)
        return ((s / r).log() + (r.square() + (m - n).square()) / (2 * s.square()) - 0.5).sum(-1)

    def _parts(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = raw.chunk(2, dim=-1)
        return mean, functional.softplus(spread) + self.least
