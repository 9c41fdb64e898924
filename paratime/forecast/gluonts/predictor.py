"""A trained forecaster as GluonTS knows it."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from json import JSONDecodeError
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import RepresentablePredictor

from paratime.errors import InputError
from paratime.forecast.data.series import from_gluonts
from paratime.forecast.gluonts.recipe import Recipe
from paratime.forecast.gluonts.serde import register
from paratime.forecast.inference.direct import forecast
from paratime.forecast.inference.forecast_type import AsQuantiles, Kind
from paratime.io.atomic import replacing

ABOUT, WEIGHTS = "predictor.json", "weights.pt"

register()


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
        self.recipe, self.series = recipe, series
        self.forecasts, self.batch_size = forecasts, batch_size
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
        entries = ({"item_id": str(i)} | entry for i, entry in enumerate(dataset))
        while batch := list(islice(entries, self.batch_size)):
            data = from_gluonts(batch, self.freq, names_of=dataset)
            yield from forecast(self.task, data, self.forecasts, batch_size=self.batch_size)

    def to(self, device: str | torch.device) -> "ParaRNNPredictor":
        """Move the network to a device."""
        self.task.to(device)
        return self

    def serialize(self, path: Path) -> None:
        """Write the predictor into a folder; half of it, or halves of two, are known as such."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        super().serialize(path)
        with replacing(path / WEIGHTS) as draft:
            torch.save({"of": _digest(path), "weights": self.task.state_dict()}, draft)

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device = "cpu") -> "ParaRNNPredictor":
        """Read a predictor from its folder.

        Raises:
            InputError: The folder holds no whole predictor.
        """
        path = Path(path)
        remedy = "name a folder that serialize, or paratime forecast fit, has written to its end"
        expected = f"a predictor: {ABOUT} and the {WEIGHTS} written with it"
        if not (path / WEIGHTS).is_file() or not (path / ABOUT).is_file():
            raise InputError(str(path), expected, "none", remedy)
        try:
            saved = torch.load(path / WEIGHTS, map_location="cpu", weights_only=True)
            if saved["of"] != _digest(path):
                raise InputError(str(path), expected, "those of another", remedy)
            predictor = super().deserialize(path)
            predictor.task.load_state_dict(saved["weights"])
        except (RuntimeError, EOFError, UnpicklingError, JSONDecodeError, KeyError) as error:
            raise InputError(str(path), expected, "damaged or older ones", remedy) from error
        return predictor.to(device)


def _digest(path: Path) -> str:
    """Return what tells one description of a predictor from another."""
    return sha256((path / ABOUT).read_bytes()).hexdigest()
