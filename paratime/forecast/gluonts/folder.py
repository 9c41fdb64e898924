"""A predictor's folder: its description as JSON, and the weights that were written with it."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from torch import Tensor, nn

from paratime.errors import InputError, describe_error
from paratime.forecast.gluonts.recipe import ABOUT
from paratime.io.atomic import replacing
from paratime.io.saved.archives import read_archive
from paratime.io.saved.writing import save

WEIGHTS = "weights.pt"

_EXPECTED = f"a predictor: {ABOUT} and the {WEIGHTS} written with it"
_REMEDY = "name a folder that serialize or paratime forecast fit completed"


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights next to their description, with its hash."""
    with replacing(folder / WEIGHTS) as draft:
        save({"of": _digest(folder), "weights": dict(weights)}, draft)


def folder_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a predictor's folder.

    Raises:
        InputError: The folder holds no complete predictor.
    """
    if not (folder / WEIGHTS).is_file() or not (folder / ABOUT).is_file():
        raise InputError(str(folder), _EXPECTED, "none", _REMEDY)
    try:
        saved = read_archive(folder / WEIGHTS)
    except InputError as error:
        raise InputError(
            str(folder), _EXPECTED, f"damaged ones: {error.args[2]}", _REMEDY
        ) from None
    if not isinstance(saved, dict) or saved.get("of") != _digest(folder):
        raise InputError(str(folder), _EXPECTED, "those of another", _REMEDY)
    weights: dict[str, Tensor] = saved.get("weights", {})
    return weights


def fill(module: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Load the weights of a folder.

    Raises:
        InputError: They are those of another network.
    """
    try:
        module.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            str(folder), "weights of its network", describe_error(error), _REMEDY
        ) from None


def _digest(folder: Path) -> str:
    """Return a hash of the description of a predictor."""
    return sha256((folder / ABOUT).read_bytes()).hexdigest()
