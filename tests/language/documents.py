"""Documents, texts and corpora that tests share."""

from pathlib import Path

from paratime.language import (
    Document,
    InMemory,
    Source,
)
from paratime.language.commands.prepare import run as prepare_corpus
from paratime.language.data.corpus import shards
from paratime.language.data.split import SPLITS, HoldOut
from paratime.language.tokenizers.characters import ByteTokenizer

TOKENIZER = ByteTokenizer()
DOCUMENTS = [Document(f"d{i}", f"document {i}: " + "ab" * i) for i in range(1, 21)]


def write(folder: Path, texts: dict[str, str]) -> list[str]:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in texts]


def held_out(source) -> dict[str, list[Document]]:
    parts = list(HoldOut().parts(source))
    return {name: [d for split, d in parts if split == name] for name in SPLITS}


def tokens(folder: Path) -> shards.Shards:
    prepare_corpus(InMemory(DOCUMENTS), str(folder), processes=1, shard_tokens=77)
    return shards.open_split(folder, "train")


TEXTS = ["one\r\ntwo\n", "naïve 漢字 🙂", "x" * 1000, "last"]


def texts(source: Source) -> list[str]:
    return [document.text for document in source.documents()]
