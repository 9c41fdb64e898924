"""Every kind of file that paratime reads: a small valid one, and how a user reads it."""

import gzip
import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from paratime.errors import InputError

TEXT = "the quick brown fox\njumps over the lazy dog, twice: äöü\n" * 6
STEPS = 12


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        write: Writes a valid one into a folder.
        read: Reads it, as a command would.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]


def _documents(kind: str, pattern: str, **options: object) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        from paratime.language.data.sources import text, tokens

        source = getattr(tokens if kind == "TokenFiles" else text, kind)(
            paths=[str(folder / pattern)], **options
        )
        return [document for document in source.documents()]

    return read


def _json_lines(folder: Path) -> None:
    rows = [{"text": TEXT, "name": f"n{i}", "nested": {"a": i}} for i in range(4)]
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def _parquet_texts(folder: Path) -> None:
    pd.DataFrame({"text": [TEXT] * 4, "name": list("abcd")}).to_parquet(folder / "texts.parquet")


def _tokens(folder: Path) -> None:
    np.arange(300, dtype="<u2").tofile(folder / "train.bin")


def _prepared(folder: Path) -> None:
    from paratime.language.commands.prepare import run
    from paratime.language.data.sources.text import TextFiles

    texts = folder.parent / f"{folder.name}-texts"
    texts.mkdir()
    for i in range(6):
        (texts / f"{i}.txt").write_text(TEXT * (i + 1))
    run(TextFiles(paths=[str(texts / "*.txt")]), str(folder / "corpus"), processes=1)


def _read_prepared(folder: Path) -> object:
    from paratime.language.data import TokenData
    from paratime.language.data.corpus.shards import PreparedCorpus

    data = TokenData(PreparedCorpus(str(folder / "corpus")), context_length=16, batch_size=2)
    data.prepare_data()
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def _tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>"])
    made.save(str(folder / "tokenizer.json"))


def _read_tokenizer(folder: Path) -> object:
    from paratime.language.tokenizers.bpe import TokenizerFile

    tokenizer = TokenizerFile(str(folder / "tokenizer.json")).make(lambda: iter([TEXT]))
    return tokenizer.encode("the quick fox")


def _series() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=30)
    return pd.concat(
        pd.DataFrame({"item_id": name, "timestamp": days, "target": np.arange(30.0)})
        for name in "ab"
    )


def _table(folder: Path, name: str) -> object:
    from paratime.forecast.data.sources.table import Table

    return list(Table(str(folder / name)).read().entries)


def _entries(folder: Path) -> None:
    rows = [{"start": "2024-01-01", "target": [*range(20)], "item_id": x} for x in "ab"]
    (folder / "series.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


def _read_entries(folder: Path) -> object:
    from paratime.forecast.data.sources.json_lines import JsonLines

    return list(JsonLines(str(folder / "series.jsonl"), freq="D").read().entries)


def _forecaster(folder: Path) -> None:
    from test_payloads import write_forecaster

    (folder / "model").mkdir()
    write_forecaster(str(folder / "model"))


def _read_forecaster(folder: Path) -> object:
    from paratime.forecast.gluonts.loading import load_network

    return load_network(str(folder / "model"))


def _episode() -> dict[str, np.ndarray]:
    first, last = np.arange(STEPS) == 0, np.arange(STEPS) == STEPS - 1
    return {
        "is_first": first,
        "is_last": last,
        "is_terminal": last,
        "reward": np.ones(STEPS, np.float32),
        "action": np.zeros((STEPS, 2), np.float32),
        "position": np.random.default_rng(0).normal(size=(STEPS, 3)).astype(np.float32),
    }


def _npz(folder: Path) -> None:
    np.savez(folder / "episode.npz", **_episode())


def _npz_packed(folder: Path) -> None:
    np.savez_compressed(folder / "episode.npz", **_episode())


def _read_npz(folder: Path) -> object:
    from paratime.world import Npz

    return Npz(str(folder / "*.npz")).read().episodes


def _d4rl(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "data.hdf5", "w") as file:
        file["observations"] = np.random.default_rng(0).normal(size=(STEPS, 3))
        file["actions"] = np.zeros((STEPS, 2))
        file["rewards"] = np.ones(STEPS)
        file["terminals"] = np.arange(STEPS) == STEPS - 1
        file["timeouts"] = np.zeros(STEPS, bool)


def _read_d4rl(folder: Path) -> object:
    from paratime.world import D4RL

    return D4RL(str(folder / "data.hdf5")).read().episodes


def _minari(folder: Path) -> None:
    from paratime.world.data.sources.minari import write_minari

    _npz(folder)
    write_minari(_recording(folder), folder / "set-v0")
    (folder / "episode.npz").unlink()


def _recording(folder: Path) -> object:
    from paratime.world import Npz

    return Npz(str(folder / "*.npz")).read()


def _read_minari(folder: Path) -> object:
    from paratime.world import Minari

    return Minari(str(folder / "set-v0")).read().episodes


def _lerobot(folder: Path) -> None:
    place = folder / "data" / "chunk-000"
    place.mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(STEPS, 3))
    frame = pd.DataFrame(
        {
            "observation.state": list(rows),
            "action": list(rows[:, :2]),
            "episode_index": np.repeat([0, 1], STEPS // 2),
            "frame_index": [*range(STEPS // 2)] * 2,
            "next.reward": np.ones(STEPS),
            "next.done": np.arange(STEPS) % (STEPS // 2) == STEPS // 2 - 1,
        }
    )
    frame.to_parquet(place / "episode_000000.parquet")


def _read_lerobot(folder: Path) -> object:
    from paratime.world import LeRobot

    return LeRobot(str(folder)).read().episodes


def _checkpoint(folder: Path) -> None:
    from paratime.world import DynamicsTask  # noqa: F401 (what the checkpoint names)

    weights = {"a": torch.arange(64.0), "b": torch.ones(3, 4)}
    parameters = {"_class_path": "paratime.world.model.task.DynamicsTask", "encoder": {"width": 8}}
    saved = {"hyper_parameters": parameters, "state_dict": weights, "global_step": 3}
    torch.save(saved, folder / "model.ckpt")


def _read_checkpoint(folder: Path) -> object:
    from paratime.io.saved.checkpoint import read_checkpoint

    return read_checkpoint(folder / "model.ckpt")


def _export(folder: Path) -> None:
    from paratime.language import LanguageTask, TokenSpec, export_task
    from paratime.layers.encoder import Encoder

    task = LanguageTask(Encoder(8, 1, mlp_size=8), TokenSpec(257))
    export_task(task, folder / "exported", {"width": 8, "depth": 1, "mlp_size": 8}, step=True)


def _read_export(folder: Path) -> object:
    from paratime.language import from_exported

    return from_exported(folder / "exported")


def _read_step(folder: Path) -> object:
    from paratime.language import load_step

    return load_step(folder / "exported").step(torch.tensor([1]))


def _pretrained(folder: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "state_size": 4}
    MambaForCausalLM(MambaConfig(**sizes, time_step_rank=2)).save_pretrained(folder / "mamba")


def _read_pretrained(folder: Path) -> object:
    from paratime.language import from_transformers

    return from_transformers(str(folder / "mamba"))


def _npz_images(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (STEPS, 8, 8, 3), dtype=np.uint8)
    np.savez_compressed(folder / "episode.npz", **_episode() | {"image": images})


def _minari_images(folder: Path) -> None:
    from paratime.world.data.sources.minari import write_minari

    _npz_images(folder)
    write_minari(_recording(folder), folder / "set-v0")
    (folder / "episode.npz").unlink()


CONFIG = """\
seed_everything: 0
model:
  class_path: ForecastTask
  init_args:
    encoder: {width: 8, depth: 1, mixer: {class_path: ParaGRU, init_args: {heads: 2}}}
    optimizer: {lr: 3.0e-3, decay: {class_path: StableDecay, init_args: {cooldown: 0.3}}}
data:
  class_path: SeriesData
  init_args: {source: {class_path: Table, init_args: {path: series.csv}}, prediction_length: 4}
trainer: {max_steps: 3, accelerator: cpu, logger: false, callbacks: [{class_path: CompileBlocks}]}
"""


class Refused(InputError):
    """What the command line says, which names the option or the place in the config."""

    def __init__(self, path: Path, said: str) -> None:
        super().__init__(str(path), "", said, "")

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[2]}"


def _read_config(folder: Path) -> object:
    from paratime.cli.parser import mistakes_in_one_line
    from paratime.main import build

    said, path = io.StringIO(), folder / "config.yaml"
    try:
        with redirect_stderr(said), mistakes_in_one_line():
            return build(["-c", str(path)])
    except SystemExit as error:
        assert error.code == 2
        raise Refused(path, said.getvalue().rstrip("\n")) from None


FORMATS = {
    "text": Format(
        lambda folder: (folder / "a.txt").write_text(TEXT), _documents("TextFiles", "*.txt")
    ),
    "text.gz": Format(
        lambda folder: (folder / "a.gz").write_bytes(gzip.compress(TEXT.encode())),
        _documents("TextFiles", "*.gz"),
    ),
    "texts.jsonl": Format(_json_lines, _documents("JsonLines", "*.jsonl")),
    "texts.parquet": Format(_parquet_texts, _documents("Parquet", "*.parquet")),
    "tokens.bin": Format(_tokens, _documents("TokenFiles", "*.bin")),
    "corpus": Format(_prepared, _read_prepared),
    "tokenizer.json": Format(_tokenizer, _read_tokenizer),
    "series.csv": Format(
        lambda folder: _series().to_csv(folder / "series.csv", index=False),
        lambda folder: _table(folder, "series.csv"),
    ),
    "series.parquet": Format(
        lambda folder: _series().to_parquet(folder / "series.parquet"),
        lambda folder: _table(folder, "series.parquet"),
    ),
    "series.jsonl": Format(_entries, _read_entries),
    "forecaster": Format(_forecaster, _read_forecaster),
    "npz": Format(_npz, _read_npz),
    "npz, packed": Format(_npz_packed, _read_npz),
    "d4rl.hdf5": Format(_d4rl, _read_d4rl),
    "minari": Format(_minari, _read_minari),
    "lerobot": Format(_lerobot, _read_lerobot),
    "checkpoint": Format(_checkpoint, _read_checkpoint),
    "config.yaml": Format(lambda folder: (folder / "config.yaml").write_text(CONFIG), _read_config),
    "export": Format(_export, _read_export),
    "step.pt2": Format(_export, _read_step),
    "pretrained": Format(_pretrained, _read_pretrained),
    "npz, images": Format(_npz_images, _read_npz),
    "minari, images": Format(_minari_images, _read_minari),
}
