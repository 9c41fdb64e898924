"""``--trust``: models may name classes of the user's module only if the command line says so."""

import sys

import pytest
import torch

from paratime.cli.arguments import trusted
from paratime.errors import InputError
from paratime.io.saved import trust
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.layers.encoder import Encoder

MODULE = "own_of_trusting"
SPEC = TokenSpec(257, ByteTokenizer().spec())


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Write a checkpoint that names a class of a module in the working directory."""
    monkeypatch.setattr(trust, "_trusted", set())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from paratime import ParaGRU\nclass MyMixer(ParaGRU):\n    pass\n"
    (tmp_path / f"{MODULE}.py").write_text(text)
    parameters = {
        "_class_path": "paratime.language.model.task.LanguageTask",
        "encoder": {"width": 8, "depth": 1, "mlp_size": 0, "mixer": f"{MODULE}.MyMixer"},
        "spec": SPEC.plain(),
    }
    weights = LanguageTask(Encoder(8, 1, mlp_size=0), SPEC).state_dict()
    torch.save({"hyper_parameters": parameters, "state_dict": weights}, "a.ckpt")
    yield "a.ckpt"
    sys.modules.pop(MODULE, None)


def test_a_users_class_needs_the_flag(checkpoint, paratime):
    command = "language", "generate", "--ckpt_path", checkpoint, "--max_new_tokens", 3
    status, _, error = paratime(*command)
    assert status == 2 and f"{MODULE}.MyMixer of " in error and f"add --trust {MODULE}" in error
    assert error.count("\n") == 1 and MODULE not in sys.modules
    assert paratime(*command, "--trust", MODULE)[0] == 0
    assert paratime(f"--trust={MODULE}", *command)[0] == 0


def test_a_module_of_python_is_not_trusted(checkpoint, paratime):
    status, _, error = paratime("language", "generate", "--ckpt_path", checkpoint, "--trust", "os")
    assert status == 2 and error.startswith("paratime: trust: expected a module that you wrote")


def test_help_names_the_flag(paratime):
    for command in ((), ("language", "generate"), ("forecast", "predict"), ("world", "plan")):
        assert "--trust MODULE" in paratime(*command, "--help")[1]


def test_the_flag_is_found_anywhere():
    words = ["fit", "--trust", "a,b", "-c", "x", "--trust=c.d"]
    assert trusted(words) == (["a", "b", "c.d"], ["fit", "-c", "x"])
    for wrong in (["fit", "--trust"], ["fit", "--trust", "-c"], ["--trust="]):
        with pytest.raises(InputError, match="--trust: expected a module"):
            trusted(wrong)
