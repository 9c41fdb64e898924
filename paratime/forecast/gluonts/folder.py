"""A predictor's folder: its description as JSON, and the weights that were written with it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from json import JSONDecodeError
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.forecast.gluonts.recipe import ABOUT
from paratime.io.atomic import replacing

WEIGHTS = "weights.pt"

_EXPECTED = f"a predictor: {ABOUT} and the {WEIGHTS} written with it"
_REMEDY = "name a folder that serialize or paratime forecast fit completed"


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights next to their description, with its hash."""
    with replacing(folder / WEIGHTS) as draft:
        torch.save({"of": _digest(folder), "weights": dict(weights)}, draft)


def folder_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a predictor's folder.

    Raises:
        InputError: The folder holds no complete predictor.
    """
    if not (folder / WEIGHTS).is_file() or not (folder / ABOUT).is_file():
        raise InputError(str(folder), _EXPECTED, "none", _REMEDY)
    with damage_in_one_line(folder):
        saved = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        if saved["of"] != _digest(folder):
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


def _digest(folder: Path) -> str:
    """Return a hash of the description of a predictor."""
    return sha256((folder / ABOUT).read_bytes()).hexdigest()
