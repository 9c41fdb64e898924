"""Training and evaluation of a forecasting network."""

import logging
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from paratime.forecast.data.datamodule import TrainingSeries
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.model.metrics import ForecastScores
from paratime.forecast.model.network import ForecastNetwork, Memory
from paratime.forecast.model.outputs import Output, Quantiles
from paratime.forecast.model.pieces import pieces_of, recomputed
from paratime.forecast.model.trained import network_of
from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW, Task
from paratime.training.batches.sharing import mean_of_all
from paratime.training.predictions import check_rows

WORTH_A_NOTE = 10**9
"""Bytes of memory above which training reports what it takes."""

LARGEST_LOSS = 1e30
"""Of a value, in units of its series; float32 could not sum those of values that are larger."""

LEARNT = ("season", "variation", "nonnegative")
"""What a network reads its series by, apart from their sizes and covariates."""

_log = logging.getLogger("paratime")


class ForecastTask(Task):
    """Direct multi-horizon forecasts from sampled origins of whole series.

    Args:
        encoder: The encoder over the history.
        spec: The series; by default those of the trainer's data.
        output: Form of a forecast: quantiles, or a distribution.
        lags: Last values that the encoder and a linear skip connection read; by default the whole
            seasons of the horizon and one more, but at least 8.
        window: Steps from which the scale is computed; by default a season, but at least 8.
        decoder_size: Hidden width of the head's part for covariates that are known ahead.
        dropout: Share of the encoder's features that the head drops in training.
        squash: Whether inputs pass through asinh, which tames outliers.
        optimizer: Optimiser and schedule.
    """

    spec_type = SeriesSpec
    spec: SeriesSpec
    network: ForecastNetwork

    def __init__(
        self,
        encoder: Encoder,
        spec: SeriesSpec | None = None,
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
        if spec is not None:
            self.specify(spec)

    def build(self, spec: SeriesSpec) -> None:
        """Build the network, and the scores of its forecasts."""
        self.network = self._network(spec)
        self.val_scores, self.test_scores = ForecastScores(), ForecastScores()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Scale as the network of the checkpoint did, whatever the trainer's data looks like."""
        saved = SeriesSpec.saved_in(checkpoint.get("hyper_parameters", {}))
        if self.is_built and saved is not None:
            kept = replace(self.spec, **{name: getattr(saved, name) for name in LEARNT})
            if kept != self.spec:
                self.specify(kept)
        super().on_load_checkpoint(checkpoint)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the output's parameters, location and scale at all origins."""
        return self.network(batch, batch["origin"])

    def count(self, batch: dict[str, Tensor]) -> int:
        """Return the number of time steps in a batch."""
        return batch["target"].shape[1]

    def on_train_start(self) -> None:
        """Report the memory that training takes if it is much."""
        super().on_train_start()
        loader = self.trainer.train_dataloader
        series, count = (getattr(loader, name, None) for name in ("dataset", "batch_size"))
        if isinstance(series, TrainingSeries) and self.trainer.is_global_zero:
            size = self.network.training_bytes(*series.largest(count or 1))
            if size > WORTH_A_NOTE:
                _log.warning("training takes about %.1f GB of memory", size / 1e9)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean loss over all observed future values."""
        loss = self._loss(batch, self.network.remember(batch, batch["origin"]))
        self.log_step({"loss": loss}, shown=("loss",))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of validation windows."""
        self._score("val", self.val_scores, batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Score a batch of test windows."""
        self._score("test", self.test_scores, batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return quantiles (N, H, C, levels) at the levels 0.1 to 0.9."""
        found = self.quantiles(batch, Quantiles().levels)
        check_rows("forecast", found.isfinite(), f"batch {batch_idx} window")
        return found

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation windows."""
        self._log("val", self.val_scores)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the test windows."""
        self._log("test", self.test_scores)

    def quantiles(self, batch: dict[str, Tensor], levels: tuple[float, ...]) -> Tensor:
        """Return quantiles (N, H, C, levels) in the units of the series."""
        raw, loc, scale = self(batch)
        return self.network.output.quantiles(raw, loc, scale, levels)

    def _loss(self, batch: dict[str, Tensor], memory: Memory) -> Tensor:
        """Return the mean loss over all observed future values."""
        future, target = batch["future"], batch["future_target"]
        pieces = pieces_of(len(target), self.network.origin_bytes)
        sum_of = recomputed(self._sum, pieces)
        sums = [sum_of(memory.map(itemgetter(x)), future[x], target[x]) for x in pieces]
        total, count = sum(sums[1:], sums[0]), (~target.isnan()).sum()
        return mean_of_all(total, count) if self.training else total / count.clamp(min=1)

    def _sum(self, memory: Memory, future: Tensor, target: Tensor) -> Tensor:
        raw, loc, scale = self.network.forecast(memory, future)
        losses = self.network.output.loss(raw, target.nan_to_num(0.0), loc, scale)
        return torch.where(target.isnan(), 0.0, losses.clamp(max=LARGEST_LOSS)).sum()

    def _score(self, split: str, scores: ForecastScores, batch: dict[str, Tensor]) -> None:
        memory = self.network.remember(batch, batch["origin"])
        values = int((~batch["future_target"].isnan()).sum())
        self.log_means({f"{split}/loss": self._loss(batch, memory)}, values)
        forecasts = self.network.forecast(memory, batch["future"])
        quantiles = self.network.output.quantiles(*forecasts, scores.levels)
        scores.update(quantiles, batch["future_target"])

    def _log(self, split: str, scores: ForecastScores) -> None:
        self.log_scores(split, scores.compute(), shown=("mean_wQL",))
        scores.reset()
