"""A trained forecaster as GluonTS knows it."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import RepresentablePredictor

from paratime.errors import InputError
from paratime.forecast.calendar import quiet
from paratime.forecast.kinds import AsQuantiles, Kind
from paratime.forecast.match import check_ahead, matched
from paratime.forecast.recipe import Recipe
from paratime.forecast.series import Collection, from_gluonts
from paratime.forecast.task import over_horizon
from paratime.forecast.windows import Standard, prepare, with_origins

WEIGHTS = "weights.pt"


class ParaRNNPredictor(RepresentablePredictor):
    """Forecasts the ``prediction_length`` steps after the end of each series of a dataset.

    Args:
        recipe: What the network is made of.
        series: What it was told of the series that it was trained on; ``describe`` makes it.
        forecasts: Which of GluonTS's forecasts it gives.
        batch_size: Series a batch.
    """

    @validated()
    def __init__(
        self,
        recipe: Recipe,
        series: dict[str, Any],
        forecasts: Kind = AsQuantiles(),  # noqa: B008 (frozen)
        batch_size: int = 32,
    ) -> None:
        super().__init__(prediction_length=series["prediction_length"])
        self.series, self.forecasts, self.batch_size = series, forecasts, batch_size
        self.task = recipe.task(series)

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return str(self.series["freq"])

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Forecast]:
        """Yield a forecast for each series, in the dataset's order.

        Args:
            dataset: Any GluonTS dataset; where the model has covariates that are known ahead, they
                must go on for ``prediction_length`` steps after the target.
            num_samples: Ignored, as by GluonTS's predictors of quantiles: ``AsSamples`` says it.

        Raises:
            InputError: A series is unlike those of the training.
        """
        entries = iter(dataset)
        while batch := list(islice(entries, self.batch_size)):
            yield from self.predict_collection(from_gluonts(batch, self.freq))

    def predict_collection(self, data: Collection) -> Iterator[Forecast]:
        """Yield a forecast for each series of a collection."""
        entries = matched(data, self.series)
        check_ahead(entries, self.prediction_length)
        for first in range(0, len(entries), self.batch_size):
            yield from self._predict(entries[first : first + self.batch_size])

    @torch.inference_mode()
    def _predict(self, entries: list[dict[str, Any]]) -> list[Forecast]:
        entries = [entry if entry["target"].size else _unobserved(entry) for entry in entries]
        standard = Standard(**self.series["standard"])
        series = [prepare(entry, standard, self.prediction_length) for entry in entries]
        ends = [torch.tensor([len(x.target) - 1]) for x in series]
        batch = with_origins(series, ends, self.prediction_length)
        task = self.task.eval()
        raw, loc, scale = task({key: value.to(task.device) for key, value in batch.items()})
        loc, scale = over_horizon(raw, loc, scale)
        with quiet():
            starts = [e["start"] + e["target"].shape[-1] for e in entries]
        origins = [(e["item_id"], start) for e, start in zip(entries, starts, strict=True)]
        return list(self.forecasts(task.network.output, raw, loc, scale, origins))

    def to(self, device: str | torch.device) -> "ParaRNNPredictor":
        """Move the network to a device."""
        self.task.to(device)
        return self

    def serialize(self, path: Path) -> None:
        """Write the predictor into a folder; the weights appear whole or not at all."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        super().serialize(path)
        draft = path / f"{WEIGHTS}.draft"
        torch.save(self.task.state_dict(), draft)
        draft.replace(path / WEIGHTS)

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device = "cpu") -> "ParaRNNPredictor":
        """Read a predictor from its folder.

        Raises:
            InputError: The folder holds no whole predictor.
        """
        path = Path(path)
        if not (path / WEIGHTS).is_file():
            remedy = "name a folder that serialize, or paratime forecast fit, has written"
            raise InputError(str(path), f"a predictor with {WEIGHTS}", "none", remedy)
        predictor = super().deserialize(path)
        weights = torch.load(path / WEIGHTS, map_location="cpu", weights_only=True)
        predictor.task.load_state_dict(weights)
        return predictor.to(device)


def _unobserved(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a series without steps as one whose only step, the one before, is missing."""

    def before(rows: np.ndarray) -> np.ndarray:
        first = rows[:, :1] if rows.shape[1] else np.zeros((len(rows), 1), np.float32)
        return np.concatenate([first, rows], axis=1)

    target = np.full((*entry["target"].shape[:-1], 1), np.nan, np.float32)
    dynamic = {key: before(entry[key]) for key in ("feat_dynamic_real", "past_feat_dynamic_real")}
    with quiet():
        return entry | {"start": entry["start"] - 1, "target": target} | dynamic
