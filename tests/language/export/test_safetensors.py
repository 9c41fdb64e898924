"""Exported folders: what comes back is what went in, to the bit."""

import json
import warnings

import pytest
import torch
from language.models import BYTES, make_task, train
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import save as save_parts

from paratime.baselines.attention import Attention
from paratime.errors import InputError
from paratime.language.data.spec import TokenSpec
from paratime.language.export.safetensors import (
    build_task,
    export_checkpoint,
    export_task,
    from_exported,
    load_task,
)
from paratime.language.model.task import LanguageTask
from paratime.language.model.weights import CONFIG, WEIGHTS
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU, ParaLSTM

IDS = torch.arange(60).view(2, 30)
LSTM = {"width": 16, "depth": 2, "mlp_size": 16, "mixer": "ParaLSTM"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"))


def same(task: LanguageTask, twin: LanguageTask) -> None:
    weights = twin.state_dict()
    assert weights.keys() == task.state_dict().keys()
    for name, x in task.state_dict().items():
        assert torch.equal(x, weights[name]) and x.dtype == weights[name].dtype, name
    assert torch.equal(task(IDS)[0], twin(IDS)[0]) and twin.tokenizer == task.tokenizer


class TestCheckpoint:
    def test_the_model_comes_back_to_the_bit(self, checkpoint, tmp_path, paratime):
        folder = tmp_path / "exported"
        command = "language", "export", "--ckpt_path", checkpoint, "--out", folder
        status, text, _ = paratime(*command)
        assert status == 0 and text.split() == ["model", str(folder)]
        names = {CONFIG, WEIGHTS, "tokenizer.json", "tokenizer_config.json"}
        assert {path.name for path in folder.iterdir()} == names
        task = LanguageTask.load_from_checkpoint(checkpoint).eval()
        same(task, from_exported(folder))
        same(task, load_task(checkpoint))
        same(task, load_task(str(folder)))
        status, _, error = paratime(*command)
        assert status == 2 and "expected a new or an empty folder" in error

    def test_text_and_scores_from_a_folder(self, checkpoint, tmp_path, paratime):
        folder = tmp_path / "exported"
        export_checkpoint(checkpoint, folder)
        tables = [
            paratime("language", "evaluate", "--ckpt_path", path, "--data", __file__)[1]
            for path in (checkpoint, folder)
        ]
        assert tables[0] == tables[1] and "total" in tables[0]
        options = ("--prompt", "to be", "--temperature", 0, "--max_new_tokens", 20)
        texts = [
            paratime("language", "generate", "--ckpt_path", path, *options)[1]
            for path in (checkpoint, folder)
        ]
        assert texts[0] == texts[1] and texts[0].startswith("to be")

    def test_a_checkpoint_in_parts(self, checkpoint, tmp_path, paratime):
        saved, folder = torch.load(checkpoint, weights_only=True), tmp_path / "parts.ckpt"
        with warnings.catch_warnings(action="ignore"):
            parts = {"state_dict": saved.pop("state_dict"), "optimizer_0": {"state": IDS}}
            save_parts(parts, checkpoint_id=folder)
        torch.save(saved, folder / "meta.pt")
        same(load_task(checkpoint), load_task(str(folder)))
        given = "--prompt", "to", "--max_new_tokens", 3, "--temperature", 0
        texts = [
            paratime("language", "generate", "--ckpt_path", path, *given)
            for path in (checkpoint, folder)
        ]
        assert texts[0] == texts[1] and texts[0][0] == 0
        (folder / ".metadata").unlink()
        with pytest.raises(InputError, match="expected a checkpoint of paratime fit"):
            load_task(str(folder))

    def test_a_checkpoint_that_was_made_in_python(self, checkpoint, tmp_path, paratime):
        saved = torch.load(checkpoint, weights_only=True)
        del saved["hyper_parameters"]["encoder"]
        torch.save(saved, tmp_path / "python.ckpt")
        given = "--ckpt_path", tmp_path / "python.ckpt", "--out", tmp_path / "out"
        status, _, error = paratime("language", "export", *given)
        assert status == 2 and "expected a language model of paratime fit" in error
        assert error.count("\n") == 1 and not (tmp_path / "out").exists()

    def test_a_checkpoint_of_something_else(self, checkpoint, tmp_path):
        saved = torch.load(checkpoint, weights_only=True)
        saved["hyper_parameters"]["_class_path"] = "paratime.forecast.model.task.ForecastTask"
        torch.save(saved, tmp_path / "other.ckpt")
        torch.save([1], tmp_path / "list.ckpt")
        for name, message in {"other": "a language model", "list": "a checkpoint of"}.items():
            with pytest.raises(InputError, match=f"expected {message}"):
                load_task(str(tmp_path / f"{name}.ckpt"))


class TestModelsMadeInPython:
    @pytest.mark.parametrize("dtype", (torch.float64, torch.float32, torch.bfloat16), ids=str)
    def test_they_come_back_to_the_bit(self, dtype, tmp_path):
        task = make_task(z_loss=0.5).to(dtype)
        export_task(task, tmp_path / "out", LSTM)
        twin = from_exported(tmp_path / "out")
        same(task, twin)
        assert twin.z_loss == 0.5 and not twin.training

    def test_weights_of_several_precisions(self, tmp_path):
        task = make_task()
        export_task(task, tmp_path / "out", LSTM)
        weights = load_file(tmp_path / "out" / WEIGHTS)
        weights["model.head.weight"] = weights["model.head.weight"].half()
        save_file(weights, tmp_path / "out" / WEIGHTS)
        twin = from_exported(tmp_path / "out")
        assert twin.head.weight.dtype == torch.float16
        assert twin.embedding.weight.dtype == torch.float32

    def test_options_of_the_mixer(self, tmp_path):
        task = make_task(lambda width: ParaGRU(width, heads=2, block_size=4))
        mixer = {"class_path": "paratime.ParaGRU", "init_args": {"heads": 2, "block_size": 4}}
        export_task(task, tmp_path / "out", LSTM | {"mixer": mixer})
        same(task, from_exported(tmp_path / "out"))

    def test_shared_weights(self, tmp_path):
        task = make_task()
        task.head.weight = task.embedding.weight
        export_task(task, tmp_path / "out", LSTM)
        same(task, from_exported(tmp_path / "out"))

    def test_a_wrong_description_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"encoder: expected .*peephole no such weight, got"):
            export_task(make_task(), tmp_path / "out", LSTM | {"mixer": "ParaGRU"})
        task = make_task(lambda width: Attention(width, heads=2))
        with pytest.raises(
            InputError, match=r"encoder: expected one with these logits, got others"
        ):
            export_task(task, tmp_path / "out", LSTM | {"mixer": "Attention"})  # of four heads
        with pytest.raises(
            InputError, match=r"model: expected classes and arguments, got .*NoSuch"
        ):
            export_task(task, tmp_path / "out", LSTM | {"mixer": "paratime.NoSuch"})
        assert not list(tmp_path.iterdir())

    def test_without_a_tokenizer(self, tmp_path):
        task = LanguageTask(Encoder(16, 2, ParaLSTM, mlp_size=16), TokenSpec(100)).eval()
        export_task(task, tmp_path / "out", LSTM)
        same(task, from_exported(tmp_path / "out"))
        assert not (tmp_path / "out" / "tokenizer.json").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no space")

    monkeypatch.setattr("paratime.language.export.safetensors.write_weights", fail)
    with pytest.raises(OSError, match="no space"):
        export_task(make_task(), tmp_path / "out", LSTM)
    assert not list(tmp_path.iterdir())


def test_folders_that_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError, match=r"config\.json: expected a file, got none"):
        from_exported(tmp_path)
    folder = tmp_path / "out"
    export_task(make_task(), folder, LSTM)
    text = (folder / CONFIG).read_text()
    config = json.loads(text)
    config["model"]["init_args"]["encoder"]["width"] = 32
    for content, message in {
        text[:50]: r"config\.json: expected JSON",
        text.replace('"model_type": "paratime"', '"model_type": "mamba"'): "expected paratime",
        json.dumps(
            config
        ): r"weights of .*: expected embedding\.weight \(257, 32\), got \(257, 16\)",
        text.replace("task.LanguageTask", "data.TokenData"): "model of .*: expected classes",
        text.replace('"model":', '"modell":'): "model of .*: expected classes",
    }.items():
        (folder / CONFIG).write_text(content)
        with pytest.raises(InputError, match=message):
            from_exported(folder)
    (folder / CONFIG).write_text(text)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors: expected safetensors, got"):
        from_exported(folder)


def test_a_config_builds_without_weights():
    arguments = {"encoder": LSTM, "spec": {"vocab_size": 257, "tokenizer": BYTES.spec()}}
    recipe = {"class_path": "paratime.language.model.task.LanguageTask", "init_args": arguments}
    assert build_task(recipe)(IDS)[0].shape == (2, 30, 257)


@pytest.mark.parametrize("text", ('{"a": 1}', "12", "null", "a: b"))
def test_texts_in_a_tokenizer_stay_texts(text):
    spec = {"name": "another", "content": text}
    arguments = {"encoder": LSTM, "spec": {"vocab_size": 257, "tokenizer": spec}}
    task = build_task(
        {"class_path": "paratime.language.model.task.LanguageTask", "init_args": arguments}
    )
    for kept in (task.tokenizer, task.hparams["spec"]["tokenizer"], spec):
        assert kept == {"name": "another", "content": text}
