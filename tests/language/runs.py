"""Training runs of a small model of bytes."""

import torch
from lightning.pytorch import Trainer

from paratime.language import TextFiles
from paratime.language.data.datamodule import TokenData
from paratime.language.data.spec import TokenSpec
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaLSTM

BYTES = ByteTokenizer()


def make_task(**options) -> LanguageTask:
    encoder = Encoder(16, 2, ParaLSTM, mlp_size=16)
    return LanguageTask(encoder, TokenSpec(BYTES.vocab_size, BYTES.spec()), **options)


def make_data(folder, text="to be or not to be. " * 200, context_length=32) -> TokenData:
    (folder / "text.txt").write_text(text)
    source = TextFiles([str(folder / "text.txt")])
    return TokenData(source, context_length=context_length, batch_size=8, cache_dir=str(folder))


def make_trainer(folder, **options) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return Trainer(default_root_dir=folder, accelerator="cpu", **quiet, **options)


def batch_of(ids: torch.Tensor) -> dict[str, torch.Tensor]:
    inputs, targets = ids[:, :-1], ids[:, 1:]
    return {
        "inputs": inputs,
        "targets": targets,
        "reset": inputs == BYTES.start,
        "num_bytes": torch.tensor([targets.shape[1]] * len(ids)),
    }
