"""Tokens on disk: memory-mapped files of bounded size, described by a manifest.

A split lies end to end in its shards: documents, each begun by the document start, one behind the
other and over the ends of shards. ``SPLIT.index`` has where each document begins (uint64).
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from paratime.errors import InputError
from paratime.io.atomic import replacing
from paratime.language.data.sources.base import Document, Source
from paratime.language.tokenizers.base import Tokenizer, describe

FORMAT = 2
DAMAGES = (OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error)
"""What reading files raises that are not whole, or not what they should be."""

MANIFEST, TOKENIZER, VERIFIED = "manifest.json", "tokenizer.json", "verified.json"


class Shards:
    """The tokens of a split as if they were one array (N,); files are opened when they are read.

    Args:
        paths: The shards, all but the last of one size.
        count: Tokens in all of them.
        limit: Tokens of a whole shard.
        dtype: Type of the ids.
        index: File with the starts of documents.
    """

    def __init__(
        self, paths: list[Path], count: int, limit: int, dtype: np.dtype[Any], index: Path
    ) -> None:
        self._paths, self._count, self._limit, self._dtype = paths, count, limit, dtype
        self._index = index
        self._maps: dict[int, NDArray[Any]] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: slice) -> NDArray[Any]:
        first, stop, _ = place.indices(self._count)
        parts = []
        while first < stop:
            shard, start = divmod(first, self._limit)
            part = self._map(shard)[start : start + stop - first]
            parts.append(part)
            first += len(part)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.zeros(0, self._dtype)

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is mapped behind: it would be copied."""
        return {k: v for k, v in self.__dict__.items() if k != "starts"} | {"_maps": {}}

    @cached_property
    def starts(self) -> NDArray[np.uint64]:
        """Where each document begins, (documents,)."""
        empty = self._index.stat().st_size == 0
        return np.zeros(0, "<u8") if empty else np.memmap(self._index, "<u8", mode="r")

    def _map(self, shard: int) -> NDArray[Any]:
        if shard not in self._maps:
            self._maps[shard] = np.memmap(self._paths[shard], self._dtype, mode="r")
        return self._maps[shard]


def load(folder: Path, split: str) -> Shards:
    """Open the tokens of one split.

    Checksums are compared once: then size, time and place of each file are noted beside it, and
    it is read again only when one of these has changed.

    Raises:
        InputError: A file is not the one that the manifest describes.
    """
    about = manifest(folder)
    with _expecting(folder):
        entry = about["splits"][split]
        files = {each["file"]: each["sha256"] for each in (*entry["shards"], entry["index"])}
        paths = [folder / each["file"] for each in entry["shards"]]
        numbers = entry["tokens"], about["shard_tokens"], np.dtype(about["dtype"])
        index = folder / entry["index"]["file"]
    verify(folder, files)
    return Shards(paths, *numbers, index)


def manifest(folder: Path) -> dict[str, Any]:
    """Return what the manifest of a corpus says.

    Raises:
        InputError: There is none, or of another format.
    """
    if not (folder / MANIFEST).is_file():
        remedy = "write it with paratime language prepare"
        raise InputError(str(folder), "the folder of a corpus", f"no {MANIFEST} in it", remedy)
    with _expecting(folder):
        about: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}")
    return about


def saved_spec(folder: Path) -> dict[str, Any]:
    """Return the specification of a corpus's tokenizer."""
    manifest(folder)  # which says what is wrong with a folder of something else
    with _expecting(folder):
        spec: dict[str, Any] = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    return spec


class _expecting:
    """Says in one line that a folder is no corpus."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DAMAGES):
            if isinstance(error, InputError):
                return
            raise damaged(self._folder, "a whole corpus", f"{error!r}") from None


def damaged(folder: Path, expected: str, got: str, file: str = "") -> InputError:
    """Return the error of a corpus that is not whole."""
    remedy = f"delete {folder}, and let it be written again"
    return InputError(str(folder / file), expected, got, remedy)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path, files: dict[str, str]) -> None:
    """Compare files with their SHA-256, unless they are still as they were when this was done.

    Raises:
        InputError: A file is missing, or another one.
    """
    try:
        known = json.loads((folder / VERIFIED).read_text())
        stamps = {name: stamp_of(folder / name) for name in files}
    except FileNotFoundError as error:
        if error.filename != str(folder / VERIFIED):
            raise damaged(folder, "a whole corpus", f"no {error.filename}") from None
        known, stamps = {}, {name: [] for name in files}
    except ValueError:
        known, stamps = {}, {name: [] for name in files}
    changed = [name for name in files if not stamps[name] or known.get(name) != stamps[name]]
    for name in tqdm(changed, "verifying", unit="file", delay=2):
        try:
            found = digest_of(folder / name)
        except OSError as error:
            raise damaged(folder, "a whole corpus", str(error.strerror), name) from None
        if found != files[name]:
            raise damaged(folder, f"sha256 {files[name][:12]}", found[:12], name)
    if changed:
        note_verified(folder, known, changed)


def note_verified(folder: Path, known: dict[str, Any], names: list[str]) -> None:
    """Note that some files are as they should be; a folder that cannot be written stays so."""
    stamps = known | {name: stamp_of(folder / name) for name in names}
    try:
        with replacing(folder / VERIFIED) as draft:
            draft.write_text(json.dumps(stamps))
    except OSError:
        return


def stamp_of(path: Path) -> list[int]:
    """Return what changes when a file is written or copied."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True)
class Prepared(Source):
    """A folder that ``paratime language prepare`` wrote, with its tokenizer and its splits.

    Args:
        path: The folder.
    """

    path: str

    def documents(self) -> Iterator[Document]:
        """Yield the documents, as tokens, in the splits that they are in."""
        folder = Path(self.path)
        for split in manifest(folder)["splits"]:
            ids = load(folder, split)
            ends = [*ids.starts.tolist(), len(ids)]
            for number, (start, stop) in enumerate(pairwise(ends)):
                name = f"{self.path}:{split}:{number}"
                yield Document(name, tokens=ids[start + 1 : stop], split=split)

    def files(self) -> list[Path]:
        """Return the manifest."""
        return [Path(self.path) / MANIFEST]

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that made the tokens.

        Raises:
            InputError: There is no corpus, or its tokenizer is not the one of the manifest.
        """
        from paratime.language.tokenizers.characters import from_spec

        folder = Path(self.path)
        expected, spec = manifest(folder)["tokenizer"], saved_spec(folder)
        with _expecting(folder):
            made = from_spec(spec)
        if (found := describe(spec, made.vocab_size)) != expected:
            raise damaged(folder, expected, found, TOKENIZER)
        return made
