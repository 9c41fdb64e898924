"""Tokens on disk: one memory-mapped file a split, described by a manifest.

A corpus is a folder named after the hash of everything that went into it. It is written under a
temporary name and renamed when complete, so that a folder with that name is a whole corpus.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError
from paratime.language.sources import Document
from paratime.language.tokenizer import Tokenizer

FORMAT = 1
SPLITS = ("train", "val", "test")
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class HoldOut:
    """Which documents are held out, drawn at random but the same for the same names and seed.

    Where there are fewer than three documents, each is cut instead: its end is held out.

    Args:
        val: Share of the text for validation.
        test: Share of the text for testing.
        seed: Seed of the draw.
    """

    val: float = 0.05
    test: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.val > 0 and self.test > 0 and self.val + self.test < 1):
            got = f"val {self.val} and test {self.test}"
            raise InputError(
                "hold_out", "shares above 0 that sum to less than 1", got, "lower them"
            )

    def assign(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents of each split, in their order."""
        if len(documents) < 3:
            return self._cut(documents)
        total = sum(len(d.text) for d in documents)
        drawn = sorted(documents, key=self._draw)
        split: dict[str, list[Document]] = {}
        for name, share, spare in (("test", self.test, 2), ("val", self.val, 1)):
            split[name] = []
            while sum(len(d.text) for d in split[name]) < share * total and len(drawn) > spare:
                split[name].append(drawn.pop())
        split["train"] = [d for d in documents if d in drawn]
        return split

    def _draw(self, document: Document) -> bytes:
        return hashlib.sha256(f"{self.seed}:{document.name}".encode()).digest()

    def _cut(self, documents: list[Document]) -> dict[str, list[Document]]:
        split: dict[str, list[Document]] = {name: [] for name in SPLITS}
        shares = (0.0, 1 - self.val - self.test, 1 - self.test, 1.0)
        for d in documents:
            for name, ends in zip(SPLITS, pairwise(shares), strict=True):
                start, end = (round(share * len(d.text)) for share in ends)
                split[name].append(Document(f"{d.name}[{start}:{end}]", d.text[start:end]))
        return split


def prepare(
    documents: Iterable[Document], tokenizer: Tokenizer, hold_out: HoldOut, root: Path
) -> Path:
    """Write the corpus of some documents under ``root`` unless it is there; return its folder.

    Raises:
        InputError: There is no text.
    """
    documents = [d for d in documents if d.text]
    if not documents:
        remedy = "check the source's paths and that the files are not empty"
        raise InputError("text", "at least one document with text", "none", remedy)
    folder = root / _fingerprint(documents, tokenizer, hold_out)
    if (folder / MANIFEST).is_file():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=root))
        draft.chmod(0o755)  # others may share the cache
    except OSError as error:
        remedy = "set cache_dir or $PARATIME_CACHE"
        raise InputError(str(root), "a folder to write to", str(error.strerror), remedy) from None
    try:
        _write(draft, hold_out.assign(documents), tokenizer)
        os.replace(draft, folder)
    except OSError as error:  # another process was first, or there is no space
        if not (folder / MANIFEST).is_file():
            remedy = "delete the folder if it exists, or make space"
            got = str(error.strerror or error)
            raise InputError(str(folder), "a corpus written whole", got, remedy) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def load(folder: Path, split: str) -> NDArray[Any]:
    """Map the ids (N,) of one split into memory: documents end to end, each begun by its start.

    Raises:
        InputError: The file is not the one that the manifest describes.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}")
        entry = manifest["splits"][split]
        path = folder / entry["file"]
        ids = np.memmap(path, dtype=manifest["dtype"], mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "delete the folder, it will be written again"
        raise InputError(str(folder), "a whole corpus", f"{error!r}", remedy) from None
    digest = hashlib.sha256(ids.data).hexdigest()
    if digest != entry["sha256"] or len(ids) != entry["tokens"]:
        expected, got = f"sha256 {entry['sha256'][:12]}", digest[:12]
        raise InputError(str(path), expected, got, f"delete {folder}, it will be written again")
    return ids


def _fingerprint(documents: list[Document], tokenizer: Tokenizer, hold_out: HoldOut) -> str:
    digest = hashlib.sha256(f"{FORMAT} {tokenizer.spec()} {hold_out}".encode())
    for document in documents:
        sizes = f"{len(document.name)} {len(document.text)} "
        digest.update(f"{sizes}{document.name}{document.text}".encode())
    return digest.hexdigest()[:16]


def _write(folder: Path, split: dict[str, list[Document]], tokenizer: Tokenizer) -> None:
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    splits = {
        name: _write_split(folder, name, documents, tokenizer, dtype)
        for name, documents in split.items()
    }
    manifest = {
        "format": FORMAT,
        "tokenizer": tokenizer.spec(),
        "dtype": dtype.name,
        "splits": splits,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _write_split(
    folder: Path, name: str, documents: list[Document], tokenizer: Tokenizer, dtype: np.dtype[Any]
) -> dict[str, Any]:
    file, digest, entries, total = f"{name}.bin", hashlib.sha256(), [], 0
    with open(folder / file, "wb") as out:
        for document in documents:
            ids = np.concatenate([[tokenizer.start], tokenizer.encode(document.text)]).astype(dtype)
            out.write(ids.tobytes())
            digest.update(ids.tobytes())
            entries.append({"name": document.name, "start": total, "tokens": len(ids)})
            total += len(ids)
    return {"file": file, "tokens": total, "sha256": digest.hexdigest(), "documents": entries}
