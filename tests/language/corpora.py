"""Corpora of a few hundred short documents."""

from pathlib import Path

from paratime.language import (
    Document,
    InMemory,
)
from paratime.language.data.corpus import shards
from paratime.language.data.corpus.builder import CorpusBuilder
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.characters import ByteTokenizer

DOCUMENTS = [Document(f"d{i}", f"document {i}: " + "abc" * (i % 50)) for i in range(1, 400)]
SOURCE = InMemory(DOCUMENTS)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a corpus, but for the notes on their times, and drafts of killed runs."""
    return {
        p.name: p.read_bytes()
        for p in folder.iterdir()
        if p.is_file() and p.name != shards.VERIFIED
    }


def write(folder: Path, source=SOURCE, recipe=None, **options) -> Path:
    options = {"shard_tokens": 1000} | options
    recipe = recipe or ByteTokenizer()
    return CorpusBuilder(source, recipe, HoldOut(), **options).write(folder)
