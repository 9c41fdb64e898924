"""Weights in files: folders of safetensors beside a config as JSON, and checkpoints."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError

CONFIG = "config.json"
INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"
META, PREFIX = "meta.pt", "state_dict."
"""In the folder that ModelParallelStrategy writes: what is no tensor, and how weights begin."""


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file says.

    Raises:
        InputError: There is none, or it is cut.
    """
    if not path.exists():
        remedy = "name a folder that save_pretrained, or paratime language export, wrote"
        raise InputError(str(path), "a file", "none", remedy)
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(str(path), "JSON", str(error), "write the folder again") from None
    return content


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a folder, in one file or several, as they are.

    Raises:
        InputError: Files are missing or cut, or safetensors is not installed.
    """
    safetensors = _safetensors()
    names = [WEIGHTS]
    if (folder / INDEX).exists():
        names = sorted({*read_json(folder / INDEX)["weight_map"].values()})
    found: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).exists():
            raise InputError(str(folder / name), "weights", "no such file", "save them there")
        try:
            found |= safetensors.torch.load_file(folder / name)
        except safetensors.SafetensorError as error:
            got, remedy = str(error), "write the folder again"
            raise InputError(str(folder / name), "weights", got, remedy) from None
    return found


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return what is in a checkpoint of Lightning; of a sharded one's folder, no moments."""
    if not Path(path).is_dir():
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return saved
    from torch.distributed import checkpoint  # which takes two seconds to import
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    known = checkpoint.FileSystemReader(path).read_metadata().state_dict_metadata
    weights = {
        name.removeprefix(PREFIX): torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in known.items()
        if name.startswith(PREFIX) and isinstance(about, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        checkpoint.load({PREFIX[:-1]: weights}, checkpoint_id=path, no_dist=True)
    meta: dict[str, Any] = torch.load(Path(path) / META, map_location="cpu", weights_only=True)
    return meta | {"state_dict": weights}


def write_weights(weights: dict[str, Tensor], folder: Path) -> None:
    """Write weights to one file, those that are shared once for each of their names.

    Raises:
        InputError: safetensors is not installed.
    """
    apart = {name: x.detach().cpu().contiguous().clone() for name, x in weights.items()}
    _safetensors().torch.save_file(apart, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # as any other file


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError:
        remedy = 'pip install "paratime[language]"'
        raise InputError("safetensors", "the package", "none installed", remedy) from None
    return safetensors
