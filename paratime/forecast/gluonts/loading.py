"""Forecasters from their folders and checkpoints, without Lightning."""

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from json import JSONDecodeError
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from gluonts.core.serde import decode
from jsonargparse import ArgumentParser
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.gluonts.recipe import ABOUT, Recipe
from paratime.forecast.model.trained import ForecastModel
from paratime.io.checkpoint import read_checkpoint

if TYPE_CHECKING:
    from paratime.forecast.model.task import ForecastTask

WEIGHTS = "weights.pt"
TASK = "paratime.forecast.model.task.ForecastTask"

_EXPECTED = f"a predictor: {ABOUT} and the {WEIGHTS} written with it"
_REMEDY = "name a folder that serialize or paratime forecast fit completed"


def load_model(path: str) -> "ForecastModel | ForecastTask":
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


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a predictor's folder.

    Raises:
        InputError: The folder holds no complete predictor.
    """
    if not (folder / WEIGHTS).is_file() or not (folder / ABOUT).is_file():
        raise InputError(str(folder), _EXPECTED, "none", _REMEDY)
    with damage_in_one_line(folder):
        saved = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        if saved["of"] != digest(folder):
            raise InputError(str(folder), _EXPECTED, "those of another", _REMEDY)
        weights: dict[str, Tensor] = saved["weights"]
        return weights


@contextmanager
def damage_in_one_line(folder: Path) -> Iterator[None]:
    """Report what cannot be read in a predictor's folder."""
    try:
        yield
    except (RuntimeError, EOFError, UnpicklingError, JSONDecodeError, KeyError) as error:
        raise InputError(str(folder), _EXPECTED, "damaged or older ones", _REMEDY) from error


def digest(folder: Path) -> str:
    """Return a hash of the description of a predictor."""
    return sha256((folder / ABOUT).read_bytes()).hexdigest()


def _of_folder(folder: Path) -> ForecastModel:
    weights = read_weights(folder)
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
