"""Forecasters from their folders and checkpoints, without Lightning."""

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gluonts.core.serde import decode
from jsonargparse import ArgumentParser

from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.gluonts.folder import damage_in_one_line, folder_weights
from paratime.forecast.gluonts.recipe import ABOUT, Recipe
from paratime.forecast.model.trained import ForecastModel
from paratime.io.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from paratime.forecast.model.task import ForecastTask

TASK = "paratime.forecast.model.task.ForecastTask"


def load_network(path: str) -> "ForecastModel | ForecastTask":
    """Return the network of ``load_forecaster``, of a ``ForecastTask`` without its training.

    Raises:
        InputError: The path is neither a predictor's folder nor a checkpoint.
    """
    if Path(path).is_dir():
        return _of_folder(Path(path))
    if Path(path).exists():
        saved = read_checkpoint(path)
        given = saved.get("hyper_parameters", {})
        spec = SeriesSpec.saved_in(given)
        if given.get("_class_path") == TASK and spec is not None and "encoder" in given:
            model = _built(given, spec)
            model.load_state_dict(saved["state_dict"])
            return model.eval()
    from paratime.forecast.gluonts.predictor import load_forecaster  # brings Lightning along

    return load_forecaster(path)


def _of_folder(folder: Path) -> ForecastModel:
    weights = folder_weights(folder)
    with damage_in_one_line(folder):
        given = json.loads((folder / ABOUT).read_text())["kwargs"]
        recipe: Recipe = decode(given["recipe"])
        model = recipe.model(SeriesSpec.of(decode(given["series"])))
        model.load_state_dict(weights)
    return model.eval()


def _built(given: dict[str, Any], spec: SeriesSpec) -> ForecastModel:
    """Return a new network from the hyper-parameters of a checkpoint."""
    names = inspect.signature(ForecastModel).parameters
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ForecastModel, "model", fail_untyped=False)
    parsed = parser.parse_object({"model": {k: x for k, x in given.items() if k in names}})
    model: ForecastModel = parser.instantiate(parsed).model
    model.specify(spec)
    return model
