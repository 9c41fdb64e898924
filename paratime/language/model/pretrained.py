"""Mamba language models that transformers has saved, as tasks of ours."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.errors import InputError, one_line
from paratime.language.model.task import LanguageTask
from paratime.layers.encoder import Encoder

INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"
PLAIN = {
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
}
PLAIN2 = {
    **PLAIN,
    "rms_norm": True,
    "norm_before_gate": False,
    "time_step_limit": [0.0, math.inf],
    "layer_norm_epsilon": 1e-5,
}
"""What a config of Mamba, and of Mamba-2, must say, where it says it: what our modules do."""


class _Config(dict[str, Any]):
    """What a folder's ``config.json`` says."""

    folder = ""

    def __missing__(self, name: str) -> Any:
        remedy = "save the model anew with transformers"
        raise InputError(f"{name} of {self.folder}", "a value", "none", remedy)


def from_transformers(folder: str) -> LanguageTask:
    """Load a ``MambaForCausalLM`` or ``Mamba2ForCausalLM`` that ``save_pretrained`` wrote.

    Its logits are those of transformers; it has no tokenizer, which is not part of such a model.

    Args:
        folder: With ``config.json`` and the weights as safetensors, in one file or several.

    Raises:
        InputError: Files are missing or broken, or the model is another one.
    """
    config = _Config(_read(Path(folder) / "config.json"))
    config.folder = folder
    mixer = _mixer(config)
    encoder = Encoder(
        config["hidden_size"],
        config["num_hidden_layers"],
        mixer,
        mlp_size=0,
        eps=config["layer_norm_epsilon"],
    )
    task = LanguageTask(encoder, config["vocab_size"])
    found = {_name(key): x for key, x in _weights(Path(folder)).items()}
    if config.get("tie_word_embeddings", True) and "embedding.weight" in found:
        found.setdefault("head.weight", found["embedding.weight"])
    _check_weights(found, task.state_dict(), folder)
    task.load_state_dict(found, strict=False)
    return task.eval()


def _mixer(config: _Config) -> Any:
    kind = config.get("model_type")
    if kind not in ("mamba", "mamba2"):
        what, remedy = f"model_type of {config.folder}", "name another folder"
        raise InputError(what, "mamba or mamba2", repr(kind), remedy)
    for name, expected in (PLAIN if kind == "mamba" else PLAIN2).items():
        if config.get(name, expected) != expected:
            got, remedy = str(config[name]), "such a model is not supported"
            raise InputError(f"{name} of {config.folder}", str(expected), got, remedy)
    shared = {"state_size": config["state_size"], "expand": config["expand"]}
    shared["kernel_size"] = config["conv_kernel"]
    if kind == "mamba":
        return partial(Mamba, dt_rank=config["time_step_rank"], **shared)
    groups, head_size = config["n_groups"], config["head_dim"]
    return partial(Mamba2, groups=groups, head_size=head_size, **shared)


def _check_weights(found: dict[str, Tensor], ours: dict[str, Tensor], folder: str) -> None:
    """Refuse weights that are missing, of another shape, or unknown; scales are ours alone."""
    needed = {name: x.shape for name, x in ours.items() if not name.endswith(".scale")}
    shapes = {name: x.shape for name, x in found.items()}
    if shapes != needed:
        names = sorted({name for name, _ in needed.items() ^ shapes.items()})
        remedy = "save the model anew with transformers"
        raise InputError(
            f"weights of {folder}", "those of its config", ", ".join(names[:3]), remedy
        )


def _name(key: str) -> str:
    """Return what we call a parameter of transformers."""
    renamed = {
        "lm_head.": "head.",
        "backbone.embeddings.": "embedding.",
        "backbone.norm_f.": "encoder.norm.",
        "backbone.layers.": "encoder.blocks.",
    }
    for old, new in renamed.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _weights(folder: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        remedy = "pip install 'paratime[baselines]'"
        raise InputError("safetensors", "the package", "none installed", remedy) from None
    names = [WEIGHTS]
    if (folder / INDEX).exists():
        names = sorted({*_read(folder / INDEX)["weight_map"].values()})
    found: dict[str, Tensor] = {}
    for name in names:
        if not (folder / name).exists():
            raise InputError(str(folder / name), "weights", "no such file", "save them there")
        try:
            found |= {key: x.to(torch.float32) for key, x in load_file(folder / name).items()}
        except SafetensorError as error:
            got, remedy = one_line(error), "fetch the file anew: it may be a pointer of Git LFS"
            raise InputError(str(folder / name), "safetensors", got, remedy) from None
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        remedy = "name a folder that save_pretrained wrote"
        raise InputError(str(path), "a file", "none", remedy)
    try:
        content: dict[str, Any] = json.loads(path.read_text(), object_hook=_decoded)
    except json.JSONDecodeError as error:
        raise InputError(str(path), "JSON", one_line(error), "save the model anew") from None
    return content


def _decoded(value: dict[str, Any]) -> Any:
    """Return a number for what transformers writes in place of infinity."""
    return float(value["__float__"]) if "__float__" in value else value
