"""Mamba language models that transformers has saved, as tasks of ours."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.errors import InputError
from paratime.language.task import LanguageTask
from paratime.layers.encoder import Encoder

INDEX, WEIGHTS = "model.safetensors.index.json", "model.safetensors"
PLAIN = {
    "use_bias": False,
    "use_conv_bias": True,
    "rms_norm": True,
    "norm_before_gate": False,
    "hidden_act": "silu",
}
"""What a config must say, where it says it: what our modules do."""


def from_transformers(folder: str) -> LanguageTask:
    """Load a ``MambaForCausalLM`` or ``Mamba2ForCausalLM`` that ``save_pretrained`` wrote.

    Its logits are those of transformers; it has no tokenizer, which is not part of such a model.

    Args:
        folder: With ``config.json`` and the weights as safetensors, in one file or several.

    Raises:
        InputError: Files are missing, or the model is another one.
    """
    config = _read(Path(folder) / "config.json")
    for name, expected in PLAIN.items():
        if config.get(name, expected) != expected:
            got, remedy = str(config[name]), "such a model is not supported"
            raise InputError(f"{name} of {folder}", str(expected), got, remedy)
    encoder = Encoder(
        config["hidden_size"],
        config["num_hidden_layers"],
        _mixer(config, folder),
        mlp_size=0,
        eps=config["layer_norm_epsilon"],
    )
    task = LanguageTask(encoder, config["vocab_size"])
    found = {_name(key): x for key, x in _weights(Path(folder)).items()}
    found.setdefault("head.weight", found["embedding.weight"])
    missing, unknown = task.load_state_dict(found, strict=False)
    lacking = [name for name in missing if not name.endswith(".scale")]
    if lacking or unknown:
        got = ", ".join([*lacking, *unknown][:3])
        remedy = "save the model anew with transformers"
        raise InputError(f"weights of {folder}", "those of its config", got, remedy)
    return task.eval()


def _mixer(config: dict[str, Any], folder: str) -> Any:
    kind = config.get("model_type")
    shared = {"state_size": config["state_size"], "expand": config["expand"]}
    shared["kernel_size"] = config["conv_kernel"]
    if kind == "mamba":
        return partial(Mamba, dt_rank=config["time_step_rank"], **shared)
    if kind == "mamba2":
        groups, head_size = config["n_groups"], config["head_dim"]
        return partial(Mamba2, groups=groups, head_size=head_size, **shared)
    raise InputError(
        f"model_type of {folder}", "mamba or mamba2", repr(kind), "name another folder"
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
        found |= {key: x.to(torch.float32) for key, x in load_file(folder / name).items()}
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        remedy = "name a folder that save_pretrained wrote"
        raise InputError(str(path), "a file", "none", remedy)
    content: dict[str, Any] = json.loads(path.read_text())
    return content
