"""``ParaRNNPredictor``: a trained forecaster under the interface of GluonTS, and its folder."""

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import RepresentablePredictor

from paratime.errors import InputError
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.fitting.selection import Selection
from paratime.forecast.gluonts.folder import fill, folder_weights, save_weights
from paratime.forecast.gluonts.recipe import ABOUT, Recipe, decode
from paratime.forecast.inference.direct import forecast
from paratime.forecast.inference.forecast_type import AsQuantiles, ForecastType
from paratime.forecast.model.task import ForecastTask
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.io.saved.trust import make
from paratime.training.checkpoints.restoring import build_saved

if hasattr(os, "register_at_fork"):
    # GluonTS forks to predict. A fork lacks the threads of torch, and would wait for them forever.
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


class ParaRNNPredictor(RepresentablePredictor):
    """Forecasts the ``prediction_length`` steps after the end of each series of a dataset.

    Args:
        recipe: The network, and how it was trained.
        series: The ``SeriesSpec`` of its training series, as plain values.
        forecasts: Type of its forecasts.
        batch_size: Series a batch.
    """

    @validated()
    def __init__(
        self,
        recipe: Recipe,
        series: dict[str, Any],
        forecasts: ForecastType = AsQuantiles(),  # noqa: B008 (frozen)
        batch_size: int = 32,
    ) -> None:
        super().__init__(prediction_length=series["prediction_length"])
        self.recipe, self.spec = recipe, SeriesSpec.of(series)
        self.forecasts, self.batch_size = forecasts, batch_size
        forecasts.check(recipe.output)
        self.task = recipe.task(self.spec)
        self.selection: Selection | None = None

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return self.spec.freq

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Forecast]:
        """Yield a forecast for each series, in the dataset's order.

        Args:
            dataset: Any GluonTS dataset; covariates that are known ahead must continue for
                ``prediction_length`` steps after the target.
            num_samples: Samples of a forecast of ``AsSamples``, which has its own number by
                default; other forecasts have none.

        Raises:
            InputError: A series differs in kind from those of training.
        """
        kind = self.forecasts if num_samples is None else self.forecasts.drawing(num_samples)
        entries = ({"item_id": str(i)} | entry for i, entry in enumerate(dataset))
        while batch := list(islice(entries, self.batch_size)):
            data = from_gluonts(batch, self.freq, names_of=dataset, ignored=self.spec.ignored)
            found = forecast(self.task, data, kind, batch_size=self.batch_size)
            for entry, one in zip(batch, found, strict=True):
                one.item_id = entry["item_id"]  # as it is, a number perhaps
                yield one

    def to(self, device: str | torch.device) -> "ParaRNNPredictor":
        """Move the network to a device."""
        self.task.to(device)
        return self

    def serialize(self, path: Path) -> None:
        """Write the predictor into a folder; an incomplete or mixed folder is recognised."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        super().serialize(path)
        save_weights(path, self.task.state_dict())

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device = "cpu") -> "ParaRNNPredictor":
        """Read a predictor from its folder; run nothing that the folder names.

        ``Predictor.deserialize`` of GluonTS imports what ``gluonts-config.json`` names, before it
        leads here: call it for folders that you wrote.

        Raises:
            InputError: The folder holds no complete predictor, or names classes that data may not
                name (``paratime.trust``).
        """
        path = Path(path)
        weights = folder_weights(path)
        predictor = make(cls, decode((path / ABOUT).read_text(encoding="utf-8")))
        fill(predictor.task, weights, path)
        return predictor.to(device)


def load_forecaster(path: str) -> ForecastTask:
    """Return the task of a predictor's folder, or of a checkpoint of ``paratime fit``.

    Raises:
        InputError: The path is neither.
    """
    if Path(path).is_dir():
        return ParaRNNPredictor.deserialize(Path(path)).task
    if not Path(path).exists():
        raise InputError(
            "model", "a forecaster's folder, or a checkpoint", repr(path), "name what a fit wrote"
        )
    saved = read_checkpoint(path)
    if "encoder" not in saved.get("hyper_parameters", {}):
        raise InputError(
            path, "one of paratime fit", "one of forecast fit", "name the folder that it is in"
        )
    return build_saved(ForecastTask, saved).eval()
