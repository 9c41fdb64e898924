"""From the parameters that a head computes to quantiles or a distribution of future values.

Parameters ``raw`` (..., size) are in units of the series' scale; the first one moves the centre, so
a skip connection can be added to it. Distributions are those of GluonTS and torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import log, log1p
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, Normal
from torch.nn import functional

from paratime.errors import InputError
from paratime.ops.precision import precise

Levels = tuple[float, ...]
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HALVINGS = 60
FARTHEST = 40.0
"""Largest squashed value, 1e17 scales away; larger ones are cut."""
NARROWEST = 1e-6
"""Least standard deviation, in scales; the likelihood's gradient overflows at smaller ones."""


class Output(ABC):
    """The form of a forecast; every strategy is a frozen dataclass."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Parameters of a value."""

    def bounded(self) -> "Output":
        """Return the output for series that are never negative; itself if it knows no bound."""
        return self

    @abstractmethod
    def loss(self, raw: Tensor, target: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the loss of each value; target, loc and scale have the shape of raw[..., 0]."""

    @abstractmethod
    def quantiles(self, raw: Tensor, loc: Tensor, scale: Tensor, levels: Levels) -> Tensor:
        """Return quantiles (..., levels) in the units of the series."""

    moves: ClassVar[bool] = True
    """Whether the quantiles are ``loc + scale`` times those in scaled units."""

    def standard(self, raw: Tensor, levels: Levels) -> Tensor:
        """Return quantiles (..., levels) in scaled units."""
        zero = torch.zeros_like(raw[..., 0])
        return self.quantiles(raw, zero, zero + 1, levels)

    @abstractmethod
    def mean(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the expectation."""

    @abstractmethod
    def sample(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Draw one value for each."""


@dataclass(frozen=True)
class Quantiles(Output):
    """Quantiles that cannot cross, by the pinball loss: the median, and gaps on both sides.

    Args:
        levels: Rising levels between 0 and 1, with 0.5.
        squash: Whether they are quantiles of asinh of the scaled value: an outlier of 1e6 then
            weighs on the loss like one of 15.
        nonnegative: Whether negative quantiles are reported as 0; they are for series that are
            recognised as counts or amounts (``SeriesSpec.nonnegative``).

    Raises:
        InputError: The levels are unusable.
    """

    levels: tuple[float, ...] = LEVELS
    squash: bool = False
    nonnegative: bool = False

    def __post_init__(self) -> None:
        """Check the levels."""
        rising = all(a < b for a, b in zip((0.0, *self.levels), (*self.levels, 1.0), strict=True))
        if not rising or 0.5 not in self.levels:
            raise InputError(
                "levels", "rising numbers between 0 and 1 with 0.5", str(self.levels), "fix them"
            )

    def bounded(self) -> Output:
        """Return the output with nonnegative quantiles."""
        return replace(self, nonnegative=True)

    @property
    def size(self) -> int:
        """One parameter a level."""
        return len(self.levels)

    def scaled(self, raw: Tensor) -> Tensor:
        """Return the quantiles in scaled units, squashed if ``squash``."""
        below = self.levels.index(0.5)
        middle, gaps = raw[..., :1], functional.softplus(raw[..., 1:] + _HALF)
        down = middle - gaps[..., :below].cumsum(-1).flip(-1)
        return torch.cat([down, middle, middle + gaps[..., below:].cumsum(-1)], dim=-1)

    def loss(self, raw: Tensor, target: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return twice the mean pinball loss, in scaled units."""
        scaled = ((target - loc) / scale).to(raw)
        error = (scaled.asinh() if self.squash else scaled).unsqueeze(-1) - self.scaled(raw)
        levels = raw.new_tensor(self.levels)
        return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)

    def quantiles(self, raw: Tensor, loc: Tensor, scale: Tensor, levels: Levels) -> Tensor:
        """Return quantiles; those between the levels are interpolated, with exponential tails."""
        found = loc.unsqueeze(-1) + scale.unsqueeze(-1) * self.standard(raw, levels)
        return found.clamp(min=0) if self.nonnegative else found

    def standard(self, raw: Tensor, levels: Levels) -> Tensor:
        """Return quantiles in scaled units, before the bound of ``nonnegative``."""
        known = self.scaled(precise(raw))
        chosen = torch.stack([self._level(known, level) for level in levels], dim=-1)
        return chosen.clamp(-FARTHEST, FARTHEST).sinh() if self.squash else chosen

    def _level(self, known: Tensor, level: float) -> Tensor:
        levels = self.levels
        if level in levels:
            return known[..., levels.index(level)]
        if len(levels) == 1:
            return known[..., 0]
        if level < levels[0]:
            slope = (known[..., 1] - known[..., 0]) / log(levels[1] / levels[0])
            return known[..., 0] + slope * log(level / levels[0])
        if level > levels[-1]:
            slope = (known[..., -1] - known[..., -2]) / log((1 - levels[-2]) / (1 - levels[-1]))
            return known[..., -1] + slope * (log1p(-levels[-1]) - log1p(-level))
        i = next(i for i, x in enumerate(levels) if x > level)
        share = (level - levels[i - 1]) / (levels[i] - levels[i - 1])
        return torch.lerp(known[..., i - 1], known[..., i], share)

    def mean(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the integral of the quantile function, as ``quantiles`` interpolates it."""
        levels, weights = self._nodes
        return self.quantiles(raw, loc, scale, levels) @ loc.new_tensor(weights)

    @cached_property
    def _nodes(self) -> tuple[Levels, Levels]:
        """Levels and weights of a quadrature over all levels.

        Gauss-Legendre between neighbouring levels; Gauss-Laguerre in the tails, where quantiles are
        linear in the logarithm of the level. Both are exact unless ``squash`` or ``nonnegative``
        bends the quantile function; then tails end at 0.2 % of their share.
        """
        edges = np.array(self.levels)
        if len(edges) == 1:
            return (0.5,), (1.0,)
        x, w = np.polynomial.legendre.leggauss(2)
        middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        v, tail = np.polynomial.laguerre.laggauss(3)
        low, high = edges[0], 1 - edges[-1]
        levels = [low * np.exp(-v), np.ravel(middle + half * x[:, None]), 1 - high * np.exp(-v)]
        weights = [low * tail, np.ravel(half * w[:, None]), high * tail]
        return tuple(np.concatenate(levels).tolist()), tuple(np.concatenate(weights).tolist())

    def sample(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Draw by inversion, on a grid of 199 levels."""
        grid = tuple(i / 200 for i in range(1, 200))
        quantiles = self.quantiles(raw, loc, scale, grid)
        drawn = torch.randint_like(raw[..., 0], len(grid)).long()
        return quantiles.gather(-1, drawn.unsqueeze(-1))[..., 0]


_HALF = -1.82
"""softplus(-1.82) = 0.15, about the gap between deciles of a standard normal distribution."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Let torch's distributions have parameters that are NaN: losses and forecasts are checked.

    It is a decorator, too. Torch would raise an error of many lines, and wait for a GPU.
    """
    before: bool = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


class Parametric(Output):
    """A torch distribution; quantiles by its inverse cdf."""

    @abstractmethod
    def distribution(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
        """Return the distribution in the units of the series."""

    @unchecked()
    def loss(self, raw: Tensor, target: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the negative log-likelihood, in nats of the scaled value."""
        return -(self.distribution(raw, loc, scale).log_prob(target) + scale.log()).to(raw)

    @unchecked()
    def quantiles(self, raw: Tensor, loc: Tensor, scale: Tensor, levels: Levels) -> Tensor:
        """Return quantiles."""
        raw = precise(raw)
        known = self.distribution(raw, loc, scale)
        found = [known.icdf(raw.new_full(loc.shape, x)) for x in levels]
        return torch.stack(found, -1).to(loc)

    @unchecked()
    def mean(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the expectation."""
        return self.distribution(raw, loc, scale).mean.to(loc)

    @unchecked()
    def sample(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Draw one value for each."""
        return self.distribution(raw, loc, scale).sample().to(loc)


@dataclass(frozen=True)
class StudentT(Parametric):
    """Student's t distribution."""

    size = 3
    """Location, scale and degrees of freedom."""

    def distribution(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
        """Return the distribution."""
        location, spread, freedom = raw.split(1, dim=-1)
        output = _gluonts().StudentTOutput()
        arguments = output.domain_map(freedom, location, spread)
        return output.distribution(arguments, loc=loc, scale=scale)


@dataclass(frozen=True)
class Gaussian(Parametric):
    """The normal distribution."""

    size = 2
    """Location and scale."""

    def distribution(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
        """Return the distribution."""
        output = _gluonts().NormalOutput()
        centre, spread = output.domain_map(*raw.split(1, dim=-1))
        return output.distribution((centre, spread.clamp(min=NARROWEST)), loc=loc, scale=scale)


@dataclass(frozen=True)
class NegativeBinomial(Parametric):
    """The negative binomial distribution, for counts; its centre is in units of the scale."""

    size = 2
    """Mean and dispersion."""

    moves = False

    def distribution(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
        """Return the distribution."""
        loc, scale = loc.double(), scale.double()  # large counts cancel each other in float32
        centre, dispersion = raw.double().unbind(-1)
        beyond = functional.softplus(-centre - loc / scale)  # softplus(x) = x + softplus(-x)
        mean = loc + (centre + beyond) * scale
        total = 1 / functional.softplus(dispersion).clamp(min=1e-6)
        output = _gluonts().NegativeBinomialOutput()
        return output.distribution((total, (mean.clamp(min=1e-9) / total).log()))

    @unchecked()
    def loss(self, raw: Tensor, target: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the negative log-likelihood in nats.

        Raises:
            InputError: A target is not a count.
        """
        bad = (target < 0) | (target != target.round())
        if bad.any():
            raise InputError(
                "target", "counts", f"{target[bad][0]:g}", "choose Quantiles() or StudentT()"
            )
        return -self.distribution(raw, loc, scale).log_prob(target.double()).to(raw)


@dataclass(frozen=True)
class Mixture(Parametric):
    """A mixture of normal distributions.

    Args:
        components: Number of normal distributions.
    """

    components: int = 3

    @property
    def size(self) -> int:
        """The common centre, and the weight, place and spread of each component."""
        return 1 + 3 * self.components

    def distribution(self, raw: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
        """Return the distribution."""
        weight, place, spread = raw[..., 1:].unflatten(-1, (3, self.components)).unbind(-2)
        apart = torch.linspace(-1, 1, self.components, device=raw.device)
        width = functional.softplus(spread) + 1e-3
        inner = InvertibleMixture(
            Categorical(logits=weight), Normal(raw[..., :1] + apart + place, width)
        )
        return _gluonts().AffineTransformed(inner, loc=loc, scale=scale)


class InvertibleMixture(MixtureSameFamily):
    """A mixture with quantiles, which torch's has not."""

    def icdf(self, value: Tensor) -> Tensor:
        """Return the quantiles of levels, by bisection within 20 standard deviations."""
        low, high = (self.mean + sign * 20 * self.stddev for sign in (-1, 1))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = self.cdf(middle) > value
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2


def _gluonts() -> Any:
    """Return GluonTS's distributions, whose import takes seconds: it brings Lightning along."""
    from gluonts.torch import distributions

    return distributions
