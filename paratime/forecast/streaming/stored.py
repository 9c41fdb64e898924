"""Files that hold the states of a stream, and which model they belong to."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from paratime.errors import InputError
from paratime.forecast.model.network import ForecastNetwork
from paratime.io.atomic import replacing

MAGIC = "paratime states 1"


def fingerprint(network: ForecastNetwork, facts: dict[str, Any]) -> str:
    """Return a hash of all that a state depends on: weights, settings and facts of the data."""
    settings = (network.lags, str(network.scaling), network.squash, str(network.output))
    text = json.dumps([facts, settings], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def store(path: str | Path, model: str, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as draft:
        torch.save({"magic": MAGIC, "model": model} | content, draft)


def load(path: str | Path, model: str, device: torch.device) -> dict[str, Any]:
    """Read what ``store`` wrote for the same model.

    Raises:
        InputError: There is no such file, it is none of these, or it is another model's.
    """
    expected, remedy = "a file that Forecaster.save wrote", "save it again"
    if not Path(path).is_file():
        raise InputError(str(path), expected, "none there", "check the path")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch names no common class for what is cut or of another kind
        got = f"one that cannot be read ({type(error).__name__})"
        raise InputError(str(path), expected, got, remedy) from None
    if not isinstance(content, dict) or content.get("magic") != MAGIC:
        raise InputError(str(path), expected, "another kind of file", remedy)
    if content["model"] != model:
        got, remedy = "those of another one", "restore with the task that they were saved with"
        raise InputError(str(path), "states of this model", got, remedy)
    return content
