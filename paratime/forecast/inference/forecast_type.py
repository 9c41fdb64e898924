"""The types of GluonTS's forecasts that a predictor returns, as frozen dataclasses."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from zlib import crc32

import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import Forecast, QuantileForecast, SampleForecast
from numpy.typing import NDArray
from torch import Tensor

from paratime.errors import InputError, check_at_least, check_finite
from paratime.forecast.model.outputs import Output, Parametric, unchecked

REPORTED = (0.025, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.975)
"""Levels of nine deciles, and of intervals of 80, 90 and 95 %."""

Origin = tuple[str, pd.Period]
"""The name of a series, and the first step of a forecast."""


class ForecastType(ABC):
    """Makes forecasts from a head's parameters."""

    of_distribution: ClassVar[bool] = False
    """Whether such forecasts need an output that is a distribution."""

    @abstractmethod
    def __call__(
        self, output: Output, *, raw: Tensor, loc: Tensor, scale: Tensor, origins: Sequence[Origin]
    ) -> Iterator[Forecast]:
        """Yield a forecast for each of N origins.

        Args:
            output: The form of the forecast.
            raw: The output's parameters (N, H, C, size).
            loc: Location (N, H, C).
            scale: Scale (N, H, C).
            origins: Name of the series and first period of each forecast.
        """

    def check(self, output: Output) -> None:
        """Refuse an output that such forecasts cannot be made from.

        Raises:
            InputError: One line with the output.
        """
        if self.of_distribution and not isinstance(output, Parametric):
            raise InputError(
                "output", "a distribution", str(output), "choose StudentT(), or AsQuantiles()"
            )

    def drawing(self, num_samples: int) -> "ForecastType":
        """Return the type with another number of samples, where it has any."""
        return self


@dataclass(frozen=True)
class AsQuantiles(ForecastType):
    """``QuantileForecast`` with the mean.

    Args:
        levels: Levels of the quantiles; GluonTS interpolates between them.
    """

    levels: tuple[float, ...] = REPORTED

    def __post_init__(self) -> None:
        """Check the levels."""
        different = 0 < len(self.levels) == len({*self.levels})
        if not different or not all(0 < x < 1 for x in self.levels):
            raise InputError(
                "levels", "different numbers between 0 and 1", str([*self.levels]), "correct them"
            )

    def __call__(
        self, output: Output, *, raw: Tensor, loc: Tensor, scale: Tensor, origins: Sequence[Origin]
    ) -> Iterator[QuantileForecast]:
        """Yield the forecasts."""
        mean = output.mean(raw, loc, scale).unsqueeze(-1)
        values = torch.cat([output.quantiles(raw, loc, scale, self.levels), mean], dim=-1)
        keys = [*map(str, self.levels), "mean"]
        for numbers, (name, start) in zip(values.movedim(-1, 1), origins, strict=True):
            yield QuantileForecast(_array(numbers), start, keys, name)


@dataclass(frozen=True)
class AsSamples(ForecastType):
    """``SampleForecast``; the steps of a sample are drawn independently of each other.

    Args:
        num_samples: Samples of a forecast.
        seed: Seed of the samples, which depend on it, on the name of the series and on the date.
    """

    num_samples: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the number."""
        check_at_least(1, num_samples=self.num_samples)

    def drawing(self, num_samples: int) -> "AsSamples":
        """Return the type with another number of samples."""
        return replace(self, num_samples=num_samples)

    def __call__(
        self, output: Output, *, raw: Tensor, loc: Tensor, scale: Tensor, origins: Sequence[Origin]
    ) -> Iterator[Forecast]:
        """Yield the forecasts."""
        for n, (name, start) in enumerate(origins):
            many = (x[n].expand(self.num_samples, *x[n].shape) for x in (raw, loc, scale))
            with torch.random.fork_rng(devices=[raw.device] if raw.is_cuda else []):
                torch.manual_seed(crc32(f"{self.seed} {name} {start}".encode()))
                samples = output.sample(*many)
            yield SampleForecast(_array(samples), start, name)


@dataclass(frozen=True)
class AsDistribution(ForecastType):
    """``DistributionForecast``: torch distributions, for all outputs except ``Quantiles``."""

    of_distribution: ClassVar[bool] = True

    def __call__(
        self, output: Output, *, raw: Tensor, loc: Tensor, scale: Tensor, origins: Sequence[Origin]
    ) -> Iterator[Forecast]:
        """Yield the forecasts."""
        from gluonts.torch.model.forecast import DistributionForecast  # brings Lightning along

        assert isinstance(output, Parametric)
        for n, (name, start) in enumerate(origins):
            parts = (x[n].squeeze(1) if loc.shape[2] == 1 else x[n] for x in (raw, loc, scale))
            with unchecked():
                found = output.distribution(*parts)
            yield DistributionForecast(found, start, name)


def finite_forecasts(
    kind: ForecastType,
    output: Output,
    *,
    raw: Tensor,
    loc: Tensor,
    scale: Tensor,
    origins: Sequence[Origin],
) -> list[Forecast]:
    """Return the forecasts of a type, see ``ForecastType``; refuse those that are not finite.

    Raises:
        NotFinite: One line with the series.
    """
    names = [f"series {name!r}" for name, _ in origins]
    finite = torch.stack([x.isfinite().flatten(1).all(1) for x in (raw, loc, scale)]).all(0)
    check_finite("forecast", zip(names, finite.tolist(), strict=True))  # samples of nan are errors
    found = list(kind(output, raw=raw, loc=loc, scale=scale, origins=origins))
    values = (getattr(x, "forecast_array", getattr(x, "samples", ())) for x in found)
    check_finite("forecast", zip(names, (bool(np.isfinite(x).all()) for x in values), strict=True))
    return found


def _array(values: Tensor) -> NDArray[Any]:
    """Return (values, H, C) for GluonTS, which drops a single channel."""
    return (values.squeeze(-1) if values.shape[-1] == 1 else values).cpu().numpy()
