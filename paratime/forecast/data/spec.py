"""What a forecasting network learns from its series before training."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from paratime.forecast.data.calendar import calendar_features
from paratime.forecast.data.series import Collection
from paratime.forecast.data.support import support, variation
from paratime.forecast.data.windows import CovariateScaler
from paratime.training.spec import DataSpec

COVARIATES = {
    "known": "feat_dynamic_real",
    "past": "past_feat_dynamic_real",
    "static_real": "feat_static_real",
}
"""The keys of features in an entry, by their names in a specification."""


@dataclass(frozen=True)
class SeriesSpec(DataSpec):
    """The description of a forecasting network's series.

    Attributes:
        freq: Frequency.
        prediction_length: Steps of a forecast.
        season: Steps of a season, 1 for none.
        target: Channels of the target.
        known: Covariates of a step that are known ahead, calendar included.
        past: Covariates of a step that are known only up to the present.
        static_real: Static values of a series.
        names: Names of the user's covariates, by kind.
        categories: Categories of each label of a series, by label.
        standard: Location and scale of covariates.
        held_out: Steps at the end of each series that training does not see.
        roles: The key that stands for a key of an entry, empty if that is ignored.
        variation: The share of its level by which a series typically varies; 0 in version 0.1,
            whose scales depend on the level.
        nonnegative: Whether the series are counts or amounts, which are never negative.
    """

    data: ClassVar[str] = "series (SeriesData)"
    former: ClassVar[str] = "series"

    freq: str
    prediction_length: int
    season: int
    target: int
    known: int
    past: int
    static_real: int
    names: dict[str, list[str]]
    categories: dict[str, list[str]]
    standard: CovariateScaler
    held_out: int = 0
    roles: dict[str, str] = field(default_factory=dict)
    variation: float = 0.0
    nonnegative: bool = False

    @property
    def ignored(self) -> tuple[str, ...]:
        """Keys of an entry that are not read."""
        return tuple(key for key, role in self.roles.items() if not role)

    @classmethod
    def describe(
        cls, data: Collection, prediction_length: int, standard: CovariateScaler, held_out: int = 0
    ) -> Self:
        """Return the specification of series."""
        names: dict[str, Any] = {kind: list(getattr(data, kind)) for kind in COVARIATES}
        return cls(
            freq=data.freq,
            prediction_length=prediction_length,
            season=data.seasonality,
            target=np.atleast_2d(data.entries[0]["target"]).shape[0],
            known=calendar_features(data.freq) * data.dated + len(data.known),
            past=len(data.past),
            static_real=len(data.static_real),
            names=names,
            categories={name: list(values) for name, values in data.categories.items()},
            standard=standard,
            held_out=held_out,
            variation=variation(data, held_out),
            nonnegative=support(data, held_out).nonnegative,
        )
