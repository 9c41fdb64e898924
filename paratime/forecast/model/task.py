"""Training and evaluation of a forecasting network."""

from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.model.metrics import ForecastScores
from paratime.forecast.model.network import ForecastNetwork, Shape
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW, Task


class ForecastTask(Task):
    """Direct multi-horizon forecasts from sampled origins of whole series.

    Args:
        encoder: The encoder over the history.
        series: What the network must know of the series; the command line takes it from the data.
        output: What a forecast is made of: quantiles, or a distribution.
        lags: Last values that the encoder and a linear skip connection read; by default as many
            whole seasons as there are in the horizon, and one more, but at least 8.
        window: Steps that the scale is computed from; a season, and at least 8, by default.
        decoder_size: Width inside the head.
        dropout: Share of the encoder's features that the head does without, in training.
        squash: Whether inputs are passed through asinh, so that outliers do no harm.
        optimizer: Optimiser and schedule.

    Raises:
        InputError: ``series`` is missing.
    """

    def __init__(
        self,
        encoder: Encoder,
        series: dict[str, Any] | None = None,
        output: Output = Quantiles(),  # noqa: B008 (frozen)
        lags: int | None = None,
        window: int | None = None,
        decoder_size: int = 64,
        dropout: float = 0.0,
        squash: bool = False,
        optimizer: AdamW = AdamW(lr=3e-3),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(optimizer)
        self.save_plain_hyperparameters()
        if series is None:
            remedy = "use data with series (SeriesData), or pass series"
            raise InputError("series", "what the data says of itself", "None", remedy)
        self.series = series
        season, horizon = int(series["season"]), int(series["prediction_length"])
        counts = ("prediction_length", "season", "target", "known", "past", "static_real")
        cardinality = tuple(len(x) for x in series["categories"].values())
        self.network = ForecastNetwork(
            encoder,
            output,
            Shape(**{name: series[name] for name in counts}, cardinality=cardinality),
            lags=max(8, (horizon // season + 1) * season) if lags is None else lags,
            window=max(8, season) if window is None else window,
            decoder_size=decoder_size,
            dropout=dropout,
            squash=squash,
        )
        self.val_scores, self.test_scores = ForecastScores(), ForecastScores()

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network does of all origins: numbers, location and scale."""
        return self.network(batch, batch["origin"])

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of time steps in a batch."""
        return batch["target"].shape[1]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean loss over all future values that are observed."""
        loss = self._loss(batch, *self(batch))
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of validation windows."""
        self._score("val", self.val_scores, batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of test windows."""
        self._score("test", self.test_scores, batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return quantiles (N, H, C, levels) at the levels 0.1 to 0.9."""
        return self.quantiles(batch, Quantiles().levels)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation windows."""
        self._log_scores("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test windows."""
        self._log_scores("test", self.test_scores)

    def quantiles(self, batch: dict[str, Tensor], levels: tuple[float, ...]) -> Tensor:
        """Return quantiles (N, H, C, levels) in the units of the series."""
        raw, loc, scale = self(batch)
        return self.network.output.quantiles(raw, loc, scale, levels)

    def _loss(self, batch: dict[str, Tensor], raw: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        target = batch["future_target"]
        there = ~target.isnan()
        losses = self.network.output.loss(raw, target.nan_to_num(0.0), loc, scale)
        return torch.where(there, losses, 0.0).sum() / there.sum().clamp(min=1)

    def _score(self, split: str, scores: ForecastScores, batch: dict[str, Tensor]) -> None:
        raw, loc, scale = self(batch)
        origins = len(batch["origin"])
        self.log(f"{split}/loss", self._loss(batch, raw, loc, scale), batch_size=origins)
        quantiles = self.network.output.quantiles(raw, loc, scale, scores.levels)
        scores.update(quantiles, batch["future_target"])

    def _log_scores(self, split: str, scores: ForecastScores) -> None:
        for name, value in scores.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == "mean_wQL")
        scores.reset()
