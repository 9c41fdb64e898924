"""The recipe of a forecaster (its network and training), and its JSON as GluonTS writes it."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from gluonts.core import fqname_for
from gluonts.core.serde import encode
from gluonts.core.serde._base import Kind

from paratime.cells.init import Init
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.inference.forecast_type import ForecastType
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.trained import ForecastModel
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU
from paratime.solvers.base import Solver
from paratime.training.optimizer import AdamW

if TYPE_CHECKING:
    from paratime.forecast.model.task import ForecastTask


ABOUT = "predictor.json"
"""A predictor's JSON, in its folder."""


@dataclass(frozen=True)
class Recipe:
    """All that determines a ``ForecastTask``, apart from the series.

    Attributes:
        hidden_size: Width of the encoder.
        num_layers: Blocks of the encoder.
        mixer: Builds the recurrent layer of a block from its width.
        output: Form of a forecast: quantiles, or a distribution.
        lags: Last values that the encoder reads at every step; ``ForecastTask``'s by default.
        dropout_rate: Share of the features that the head drops in training.
        squash: Whether inputs pass through asinh, which tames outliers.
        lr: Peak learning rate.
        weight_decay: Decay of the matrices.
    """

    hidden_size: int = 64
    num_layers: int = 2
    mixer: Callable[[int], Mixer] = ParaGRU
    output: Output = field(default_factory=Quantiles)
    lags: int | None = None
    dropout_rate: float = 0.2
    squash: bool = False
    lr: float = 3e-3
    weight_decay: float = 1.0

    def task(self, spec: SeriesSpec) -> "ForecastTask":
        """Build the task for series."""
        from paratime.forecast.model.task import ForecastTask  # brings Lightning along

        optimizer = AdamW(lr=self.lr, weight_decay=self.weight_decay)
        return ForecastTask(spec=spec, optimizer=optimizer, **self._network())

    def model(self, spec: SeriesSpec) -> ForecastModel:
        """Build the network alone, for series, without importing Lightning."""
        model = ForecastModel(**self._network())
        model.specify(spec)
        return model

    def _network(self) -> dict[str, Any]:
        width = self.hidden_size
        encoder = Encoder(width, self.num_layers, self.mixer, mlp_size=2 * width)
        names = {"output": self.output, "lags": self.lags, "squash": self.squash}
        return {"encoder": encoder, "dropout": self.dropout_rate, **names}


def encode_dataclass(value: Any) -> dict[str, Any]:
    """Return a dataclass as GluonTS writes an object to JSON: its class and its fields."""
    arguments = {x.name: getattr(value, x.name) for x in fields(value)}
    name = fqname_for(type(value))
    return {"__kind__": Kind.Instance, "class": name, "kwargs": encode(arguments)}


for base in (Init, Solver, Output, ForecastType, Recipe):
    encode.register(base, encode_dataclass)
