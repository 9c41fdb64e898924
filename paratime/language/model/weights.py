"""Weights and configs on disk as safetensors and JSON."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError, one_line
from paratime.io.packages import import_package

CONFIG = "config.json"
INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file.

    Raises:
        InputError: There is no such file, or it is truncated.
    """
    if not path.exists():
        raise InputError(
            str(path), "a file", "none", "name a folder of save_pretrained or of an export"
        )
    try:
        text = path.read_text(encoding="utf-8")
        content: dict[str, Any] = json.loads(text, object_hook=_decoded)
    except ValueError as error:
        raise InputError(str(path), "JSON", one_line(error), "write the folder again") from None
    return content


def _decoded(value: dict[str, Any]) -> Any:
    """Return the number that transformers writes as an object, such as infinity."""
    return float(value["__float__"]) if "__float__" in value else value


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a folder, from one file of safetensors or several.

    Raises:
        InputError: Files are missing or damaged, or safetensors is not installed.
    """
    safetensors = _safetensors()
    names = [WEIGHTS]
    if (folder / INDEX).exists():
        names = sorted({*read_json(folder / INDEX)["weight_map"].values()})
    found: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if Path(name).name != name:
            raise InputError(
                str(folder / INDEX), "files in its folder", repr(name), "do not use it"
            )
        if not path.exists():
            raise InputError(str(path), "weights", "no such file", "save them there")
        try:
            found |= safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise InputError(
                str(path), "safetensors", one_line(error), "fetch it again, such as by git lfs pull"
            ) from None
    return found


def checksum(weights: Mapping[str, Tensor], about: Any) -> str:
    """Return a CRC-32 of weights, their names and kinds, and of what describes the model.

    Args:
        weights: Tensors by name.
        about: The description, as JSON can hold it.
    """
    found = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name in sorted(weights):
        x = weights[name].detach().cpu().contiguous()
        found = zlib.crc32(f"{name} {x.dtype} {tuple(x.shape)}".encode(), found)
        found = zlib.crc32(x.reshape(-1).view(torch.uint8).numpy(), found)
    return f"{found:08x}"


def write_weights(weights: dict[str, Tensor], folder: Path) -> None:
    """Write weights to one file; shared ones are written under each of their names.

    Raises:
        InputError: safetensors is not installed.
    """
    safetensors = _safetensors()
    apart = {name: x.detach().cpu().contiguous().clone() for name, x in weights.items()}
    safetensors.torch.save_file(apart, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # as any other file


def _safetensors() -> Any:
    import_package("safetensors.torch", what="weights", extra="language")
    return import_package("safetensors", what="weights", extra="language")
