"""Mamba language models of transformers as a ``LanguageTask``."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.baselines.mamba import Mamba
from paratime.baselines.mamba2 import Mamba2
from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.language.model.weights import CONFIG, read_json, read_weights
from paratime.layers.encoder import Encoder

PLAIN = {"use_bias": False, "use_conv_bias": True, "hidden_act": "silu"}
PLAIN2 = {
    **PLAIN,
    "rms_norm": True,
    "norm_before_gate": False,
    "time_step_limit": [0.0, math.inf],
    "layer_norm_epsilon": 1e-5,
}
"""Options of Mamba and of Mamba-2 that our modules support, where a config specifies them."""


SAVE_AGAIN = "save the model anew with transformers"


class _Config(dict[str, Any]):
    """The content of a folder's ``config.json``."""

    folder = ""

    def __missing__(self, name: str) -> Any:
        raise InputError(f"{name} of {self.folder}", "a value", "none", SAVE_AGAIN)


def from_transformers(folder: str) -> LanguageTask:
    """Load a ``MambaForCausalLM`` or ``Mamba2ForCausalLM`` that ``save_pretrained`` wrote.

    Its logits equal those of transformers. It has no tokenizer, which is not part of such a model.

    Args:
        folder: Folder with ``config.json`` and the weights as safetensors, in one file or several.

    Raises:
        InputError: Files are missing or damaged, or the model is not supported.
    """
    config = _Config(read_json(Path(folder) / CONFIG))
    config.folder = folder
    mixer = _mixer(config)
    encoder = Encoder(
        config["hidden_size"],
        config["num_hidden_layers"],
        mixer,
        mlp_size=0,
        eps=config["layer_norm_epsilon"],
    )
    task = LanguageTask(encoder, TokenSpec(config["vocab_size"]))
    weights = read_weights(Path(folder))
    found = {_name(key): x.to(torch.float32) for key, x in weights.items()}
    if config.get("tie_word_embeddings", True) and "embedding.weight" in found:
        found.setdefault("head.weight", found["embedding.weight"])
    _check_weights(found, task.state_dict(), folder)
    task.load_state_dict(found, strict=False)
    return task.eval()


def _mixer(config: _Config) -> Any:
    kind = config.get("model_type")
    if kind not in ("mamba", "mamba2"):
        raise InputError(
            f"model_type of {config.folder}", "mamba or mamba2", repr(kind), "name another folder"
        )
    for name, expected in (PLAIN if kind == "mamba" else PLAIN2).items():
        if config.get(name, expected) != expected:
            raise InputError(
                f"{name} of {config.folder}", str(expected), str(config[name]), "not supported"
            )
    shared = {"state_size": config["state_size"], "expand": config["expand"]}
    shared["kernel_size"] = config["conv_kernel"]
    if kind == "mamba":
        return partial(Mamba, dt_rank=config["time_step_rank"], **shared)
    groups, head_size = config["n_groups"], config["head_dim"]
    return partial(Mamba2, groups=groups, head_size=head_size, **shared)


def _check_weights(found: dict[str, Tensor], ours: dict[str, Tensor], folder: str) -> None:
    """Refuse missing or unknown weights, and other shapes; transformers has no scales."""
    needed = {name: x.shape for name, x in ours.items() if not name.endswith(".scale")}
    shapes = {name: x.shape for name, x in found.items()}
    if shapes != needed:
        raise InputError(
            f"weights of {folder}",
            expected="those of its config",
            got=", ".join((sorted({name for name, _ in needed.items() ^ shapes.items()}))[:3]),
            remedy=SAVE_AGAIN,
        )


def _name(key: str) -> str:
    """Return our name of a parameter of transformers."""
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
