"""Language models of transformers, loaded: their logits, and what cannot be loaded."""

import json

import pytest
import torch

from paratime.errors import InputError
from paratime.language.model.pretrained import from_transformers
from paratime.language.model.weights import INDEX

CLOSE = 1e-5
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 31}


def made(kind: str, **options: object) -> torch.nn.Module:
    transformers = pytest.importorskip("transformers")
    more = {"num_heads": 4, "head_dim": 8, "n_groups": 2} if kind == "Mamba2" else {}
    config = getattr(transformers, f"{kind}Config")(**SMALL, **more, **options)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("tied", (True, False), ids=("tied", "untied"))
@pytest.mark.parametrize("kind", ("Mamba", "Mamba2"))
@torch.no_grad()
def test_logits_are_those_of_transformers(kind, tied, tmp_path):
    model = made(kind, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    assert (tmp_path / INDEX).exists(), "weights in several files are read"
    ids = torch.randint(31, (2, 70))
    expected = model(ids).logits
    task = from_transformers(str(tmp_path))
    logits, _ = task(ids)
    assert (logits - expected).abs().max() <= CLOSE * (1 + expected.abs().max())
    state = None
    for token in ids.unbind(1):
        last, state = task.step(token, state)
    assert (last - expected[:, -1]).abs().max() <= CLOSE * (1 + expected.abs().max())


def test_what_cannot_be_loaded_is_said(tmp_path):
    folder = str(tmp_path)
    with pytest.raises(InputError, match=r"config\.json: expected a file, got none"):
        from_transformers(folder)
    made("Mamba").save_pretrained(folder)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in {
        ("model_type", "gpt2"): "model_type of .*: expected mamba or mamba2, got 'gpt2'",
        ("use_bias", True): "use_bias of .*: expected False, got True",
        ("num_hidden_layers", 3): r"weights of .*: expected those of its config, got encoder\.bl",
        ("state_size", 8): r"weights of .*: expected those of its config, got .*A_log",
        ("tie_word_embeddings", False): r"weights of .*, got head\.weight; save the model anew",
    }.items():
        (tmp_path / "config.json").write_text(json.dumps(config | dict([change])))
        with pytest.raises(InputError, match=message):
            from_transformers(folder)
    del config["conv_kernel"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"conv_kernel of .*: expected a value, got none"):
        from_transformers(folder)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: expected JSON, got Expecting"):
        from_transformers(folder)
    (tmp_path / "config.json").write_text(json.dumps(config | {"conv_kernel": 4}))
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(
        InputError, match=r"model\.safetensors: expected safetensors, got .*; fetch"
    ):
        from_transformers(folder)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: expected weights, got no such file"):
        from_transformers(folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time_step_limit", (0.0, 0.05), r"time_step_limit of .*: expected \[0\.0, inf\], got"),
        ("layer_norm_epsilon", 1e-3, "layer_norm_epsilon of .*: expected 1e-05, got 0.001"),
        ("norm_before_gate", True, "norm_before_gate of .*: expected False, got True"),
    ],
)
def test_a_mamba2_that_computes_something_else_is_refused(name, value, message, tmp_path):
    made("Mamba2", **{name: value}).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=message):
        from_transformers(str(tmp_path))
