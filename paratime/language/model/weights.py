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

CHECKSUM = "crc32"
"""Key of the metadata of weights, for the checksum of them and of their model."""


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
        names = _named_files(folder)
    found: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if not path.exists():
            raise InputError(str(path), "weights", "no such file", "save them there")
        try:
            found |= safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise InputError(
                str(path), "safetensors", one_line(error), "fetch it again, such as by git lfs pull"
            ) from None
    return found


def _named_files(folder: Path) -> list[str]:
    """Return the files that an index names, which are in its folder."""
    about = read_json(folder / INDEX)
    try:
        names = sorted({*about["weight_map"].values()})
        if outside := [name for name in names if Path(name).name != name]:
            raise ValueError(f"{outside[0]}, in another folder")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            str(folder / INDEX), "a weight_map", one_line(error), "fetch it again"
        ) from None
    return names


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
        found = zlib.crc32(x.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def check_weights_of(folder: Path, weights: Mapping[str, Tensor], about: Any) -> None:
    """Refuse weights of which ``write_weights`` wrote other ones, or for another model.

    Other programs write no checksum, which is no mistake.

    Raises:
        InputError: They have another checksum than their file says.
    """
    path = folder / WEIGHTS
    if (folder / INDEX).exists() or not path.exists():
        return
    with _safetensors().safe_open(path, "pt") as file:
        written = (file.metadata() or {}).get(CHECKSUM)
    if written not in (None, found := checksum(weights, about)):
        raise InputError(
            str(path),
            expected=f"weights and a model with the checksum {written}",
            got=found,
            remedy="copy the folder again",
        )


def write_weights(weights: dict[str, Tensor], folder: Path, about: Any) -> None:
    """Write weights to one file; shared ones are written under each of their names.

    Args:
        weights: Tensors by name.
        folder: Where.
        about: What describes the model, as JSON can hold it.

    Raises:
        InputError: safetensors is not installed.
    """
    safetensors = _safetensors()
    apart = {name: x.detach().cpu().contiguous().clone() for name, x in weights.items()}
    metadata = {CHECKSUM: checksum(apart, about), "format": "pt"}
    safetensors.torch.save_file(apart, folder / WEIGHTS, metadata=metadata)
    _in_order(folder / WEIGHTS, metadata)
    (folder / WEIGHTS).chmod(0o644)  # as any other file


def _in_order(path: Path, metadata: dict[str, str]) -> None:
    """Put a file's metadata in order, which safetensors writes as chance has it."""
    text = json.dumps({"__metadata__": metadata}, separators=(",", ":"))[:-1].encode()
    with path.open("r+b") as file:
        file.seek(8)
        if sorted(file.read(len(text))) == sorted(text):
            file.seek(8)
            file.write(text)


def _safetensors() -> Any:
    import_package("safetensors.torch", what="weights", extra="language")
    return import_package("safetensors", what="weights", extra="language")
