"""The network of a forecaster for its series: for training as a task, and without Lightning."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.model.network import ForecastNetwork, SeriesShape
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.layers.encoder import Encoder


class ForecastModel(nn.Module):
    """The network of a trained ``ForecastTask``, without what only training needs.

    It is built for series by ``specify``.

    Args:
        encoder: As for the task, like the others.
        output: Form of a forecast.
        lags: Last values that the encoder and a linear skip connection read.
        window: Steps from which the scale is computed.
        decoder_size: Hidden width of the head's part for covariates that are known ahead.
        dropout: Share of the encoder's features that the head drops in training.
        squash: Whether inputs pass through asinh.
    """

    spec: SeriesSpec
    network: ForecastNetwork

    def __init__(
        self,
        encoder: Encoder,
        output: Output = Quantiles(),  # noqa: B008 (frozen)
        lags: int | None = None,
        window: int | None = None,
        decoder_size: int = 64,
        dropout: float = 0.0,
        squash: bool = False,
    ) -> None:
        super().__init__()
        self._network = partial(
            network_of,
            encoder=encoder,
            output=output,
            lags=lags,
            window=window,
            decoder_size=decoder_size,
            dropout=dropout,
            squash=squash,
        )

    def specify(self, spec: SeriesSpec) -> None:
        """Build the network for series."""
        self.spec = spec
        self.network = self._network(spec)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the output's parameters, location and scale at all origins."""
        forecasts: tuple[Tensor, Tensor, Tensor] = self.network(batch, batch["origin"])
        return forecasts


def network_of(
    spec: SeriesSpec,
    encoder: Encoder,
    output: Output,
    *,
    lags: int | None,
    window: int | None,
    **options: Any,
) -> ForecastNetwork:
    """Return the network for series.

    Args:
        spec: The series.
        encoder: Its encoder.
        output: Form of a forecast.
        lags: As for ``ForecastNetwork``; by default from the season and the horizon.
        window: Likewise, from the season.
        options: Other arguments of ``ForecastNetwork``.
    """
    season, horizon = spec.season, spec.prediction_length
    own = ("prediction_length", "season", "target", "known", "past", "static_real")
    sizes = {name: getattr(spec, name) for name in (*own, "variation")}
    cardinality = tuple(len(x) for x in spec.categories.values())
    return ForecastNetwork(
        encoder,
        output.bounded() if spec.nonnegative else output,
        SeriesShape(**sizes, cardinality=cardinality),
        lags=max(8, (horizon // season + 1) * season) if lags is None else lags,
        window=max(8, season) if window is None else window,
        **options,
    )
