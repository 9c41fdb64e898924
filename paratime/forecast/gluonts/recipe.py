"""The default recipe of a forecaster: what it is made of, and how it is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.task import ForecastTask
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaGRU
from paratime.training.base import AdamW


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a ``ForecastTask`` once the series are known.

    Attributes:
        hidden_size: Width of the encoder.
        num_layers: Blocks of the encoder.
        mixer: Builds the recurrent layer of a block from its width.
        output: What a forecast is made of.
        lags: Last values that the encoder reads at every step; ``ForecastTask``'s by default.
        dropout_rate: Share of the features that the head does without, in training.
        squash: Whether inputs are passed through asinh.
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

    def task(self, series: dict[str, Any]) -> ForecastTask:
        """Build the task for series of a description."""
        width = self.hidden_size
        return ForecastTask(
            Encoder(width, self.num_layers, self.mixer, mlp_size=2 * width),
            series,
            output=self.output,
            lags=self.lags,
            dropout=self.dropout_rate,
            squash=self.squash,
            optimizer=AdamW(lr=self.lr, weight_decay=self.weight_decay),
        )
