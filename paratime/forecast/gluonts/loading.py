"""Forecasters from their folders and checkpoints, without Lightning."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paratime.errors import InputError
from paratime.forecast.data.spec import SeriesSpec
from paratime.forecast.gluonts.folder import fill, folder_weights
from paratime.forecast.gluonts.recipe import ABOUT, Recipe, decode
from paratime.forecast.model.trained import ForecastModel
from paratime.io.saved.checkpoint import read_checkpoint
from paratime.io.saved.trust import make, make_value

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
        given = {**saved["hyper_parameters"]}
        spec = SeriesSpec.saved_in(given)
        if given.pop("_class_path", None) == TASK and spec is not None and "encoder" in given:
            model = make(ForecastModel, given)
            model.specify(spec)
            fill(model, saved["state_dict"], Path(path))
            return model.eval()
    from paratime.forecast.gluonts.predictor import load_forecaster  # brings Lightning along

    return load_forecaster(path)


def _of_folder(folder: Path) -> ForecastModel:
    weights = folder_weights(folder)
    described: Any = decode((folder / ABOUT).read_text(encoding="utf-8"))
    try:
        given = described["init_args"]
        recipe: Recipe = make_value(Recipe, given["recipe"])
        spec = SeriesSpec.of(given["series"])
    except (KeyError, TypeError) as error:
        raise InputError(
            str(folder / ABOUT), "a recipe and its series", f"no {error}", "fit it again"
        ) from None
    model = recipe.model(spec)
    fill(model, weights, folder)
    return model.eval()
