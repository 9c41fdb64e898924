"""Small language models for tests, and the command that trains one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paratime.language.data.spec import TokenSpec
from paratime.language.generation.generate import generate
from paratime.language.generation.sampling import Sampling
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.layers.encoder import Encoder
from paratime.layers.mixer import Mixer
from paratime.layers.recurrent import ParaLSTM

BYTES = ByteTokenizer()
START = BYTES.start


def make_task(mixer: Callable[[int], Mixer] = ParaLSTM, **options) -> LanguageTask:
    """Return a model of bytes whose logits are far from equal."""
    task = LanguageTask(Encoder(16, 2, mixer, mlp_size=16), TokenSpec(257, BYTES.spec()), **options)
    task.head.weight.data *= 8
    return task.eval()


def document(text: str) -> torch.Tensor:
    return torch.tensor([START, *BYTES.encode(text)])


def greedy(task: LanguageTask, prompt: str, tokens: int) -> str:
    """Return what the model writes behind a prompt at temperature 0."""
    return "".join(generate(task, prompt, Sampling(max_new_tokens=tokens, temperature=0)))


def train(folder: Path, *options: str) -> str:
    """Run ``paratime fit`` for two steps; return the checkpoint's path."""
    from paratime.__main__ import main

    (folder / "text.txt").write_text("to be or not to be. " * 200)
    config = {
        "model": "LanguageTask",
        "model.encoder.width": 16,
        "model.encoder.depth": 2,
        "model.encoder.mlp_size": 16,
        "model.encoder.mixer": "ParaLSTM",
        "data": "TokenData",
        "data.source": "TextFiles",
        "data.source.paths": f"[{folder}/text.txt]",
        "data.context_length": 32,
        "data.cache_dir": folder,
        "trainer.max_steps": 2,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": folder,
        "trainer.logger": "false",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
    }
    given = [f"--{name}={value}" for name, value in config.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["paratime", "fit", *given, *options])
        main()
    return str(next(folder.glob("**/*.ckpt")))
