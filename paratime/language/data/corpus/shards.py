"""Tokens on disk: memory-mapped files of bounded size, described by a manifest.

The documents of a split are stored one after another, each after a document start, and continue
across shards. ``SPLIT.index`` holds the position at which each document begins (uint64), and
``SPLIT.bytes`` the positions of tokens that stand for another number of bytes of the text than
their pieces have, such as after a normaliser, with the difference (pairs of int64).
"""

import hashlib
import json
import logging
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
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
from paratime.io.paths import expanded
from paratime.io.saved.trust import inside
from paratime.language.data.sources.base import Document, Source
from paratime.language.tokenizers.base import Tokenizer, describe_tokenizer, keeps_bytes
from paratime.language.tokenizers.catalog import tokenizer_from_spec

FORMAT = 3
READABLE = (2, FORMAT)
"""Formats that can be read; the bytes of format 2 are those of tokens, not of texts."""

KINDS = {kind.str: kind for kind in (np.dtype("<u2"), np.dtype("<u4"))}
"""Types of token ids, by their names in a manifest."""

_log = logging.getLogger(__name__)

DAMAGES = (OSError, ValueError, KeyError, TypeError, AttributeError, zlib.error)
"""Errors of reading files that are incomplete, or of another kind."""

COUNTS = ("documents", "tokens", "bytes")
"""What a manifest has of each split."""

MANIFEST, TOKENIZER, VERIFIED = "manifest.json", "tokenizer.json", "verified.json"


class Shards:
    """The tokens of a split as one array (N,); files are opened when they are first read.

    Args:
        paths: The shards; all but the last have the same size.
        index: File with the starts of documents.
        corrected: File with the corrections of bytes; None in format 2.
        count: Tokens in all shards.
        limit: Tokens in a full shard.
        dtype: Type of the ids.
    """

    def __init__(
        self,
        paths: list[Path],
        index: Path,
        corrected: Path | None = None,
        *,
        count: int,
        limit: int,
        dtype: np.dtype[Any],
    ) -> None:
        self._paths, self._count, self._limit, self._dtype = paths, count, limit, dtype
        self._index, self._corrected = index, corrected
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
        """Leave out memory maps, which would be copied."""
        mapped = ("starts", "_corrections")
        return {k: v for k, v in self.__dict__.items() if k not in mapped} | {"_maps": {}}

    @cached_property
    def starts(self) -> NDArray[np.uint64]:
        """Positions at which documents begin, (documents,)."""
        return _mapped(self._index, "<u8")

    def corrections(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return corrections of the bytes of tokens: positions from ``start``, differences."""
        known = self._corrections
        first, last = (bisect_left(known[:, 0], place) for place in (start, stop))
        return known[first:last].astype(np.int64) - np.array([start, 0])

    @cached_property
    def _corrections(self) -> NDArray[np.int64]:
        none = np.zeros(0, "<i8")
        return (none if self._corrected is None else _mapped(self._corrected, "<i8")).reshape(-1, 2)

    def _map(self, shard: int) -> NDArray[Any]:
        if shard not in self._maps:
            self._maps[shard] = np.memmap(self._paths[shard], self._dtype, mode="r")
        return self._maps[shard]


def _mapped(path: Path, dtype: str) -> NDArray[Any]:
    """Return the content of a file, which may be empty."""
    return np.memmap(path, dtype, mode="r") if path.stat().st_size else np.zeros(0, dtype)


def open_split(folder: Path, split: str) -> Shards:
    """Open the tokens of one split.

    Checksums are verified once. Then size, modification time and inode of each file are recorded
    in the folder, and a file is verified again only when one of these has changed.

    Raises:
        InputError: A file does not match the manifest.
    """
    about = manifest(folder)
    with _expecting(folder):
        entry = about["splits"][split]
        files = {each["file"]: each["sha256"] for each in split_files(entry)}
        corrected = entry.get("corrected")
        found = Shards(
            [inside(folder, each["file"]) for each in entry["shards"]],
            inside(folder, entry["index"]["file"]),
            corrected and inside(folder, corrected["file"]),
            count=entry["tokens"],
            limit=about["shard_tokens"],
            dtype=KINDS[about["dtype"]],
        )
    verify_checksums(folder, files)
    return found


def split_files(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of all files of a split."""
    return [*entry["shards"], entry["index"], *filter(None, [entry.get("corrected")])]


def manifest(folder: Path) -> dict[str, Any]:
    """Return the content of a corpus's manifest.

    Raises:
        InputError: There is none, or it has another format.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(
            str(folder),
            expected="the folder of a corpus",
            got=f"no {MANIFEST} in it",
            remedy="write it with paratime language prepare",
        )
    with _expecting(folder):
        about: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if about["format"] not in READABLE:
            raise ValueError(f"format {about['format']}")
        counts = [x[name] for x in about["splits"].values() for name in COUNTS]
        for count in (about["shard_tokens"] - 1, *counts):
            if type(count) is not int or count < 0:
                raise ValueError(f"a count of {count!r}")
    return about


def saved_spec(folder: Path) -> dict[str, Any]:
    """Return the specification of a corpus's tokenizer."""
    manifest(folder)  # refuses a folder that is no corpus
    with _expecting(folder):
        spec: dict[str, Any] = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    return spec


@contextmanager
def _expecting(folder: Path) -> Iterator[None]:
    """Turn the errors of reading a damaged corpus into an InputError."""
    try:
        yield
    except InputError:
        raise
    except DAMAGES as error:
        raise damaged(folder, "a whole corpus", f"{error!r}") from None


def damaged(folder: Path, expected: str, got: str, file: str = "") -> InputError:
    """Return the error for a damaged corpus."""
    remedy = f"delete {folder}, and let it be written again"
    return InputError(str(folder / file), expected, got, remedy)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_checksums(folder: Path, files: dict[str, str]) -> None:
    """Compare files with their SHA-256, unless they are unchanged since the last time.

    Raises:
        InputError: A file is missing, or has another checksum.
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
    """Record that files are verified; do nothing if the folder cannot be written."""
    stamps = known | {name: stamp_of(folder / name) for name in names}
    try:
        with replacing(folder / VERIFIED) as draft:
            draft.write_text(json.dumps(stamps))
    except OSError:
        return


def stamp_of(path: Path) -> list[int]:
    """Return values that change when a file is written or copied."""
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


@dataclass(frozen=True)
class PreparedCorpus(Source):
    """A folder that ``paratime language prepare`` wrote, with its tokenizer and splits.

    Args:
        path: The folder.
    """

    path: str

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(expanded(self.path))

    def documents(self) -> Iterator[Document]:
        """Yield the documents as tokens, in their splits."""
        folder = self.folder
        for split in manifest(folder)["splits"]:
            ids = open_split(folder, split)
            ends = [*ids.starts.tolist(), len(ids)]
            for number, (start, stop) in enumerate(pairwise(ends)):
                name = f"{self.path}:{split}:{number}"
                more = ids.corrections(start + 1, stop)
                yield Document(name, tokens=ids[start + 1 : stop], split=split, corrections=more)

    def files(self) -> list[Path]:
        """Return the manifest."""
        return [self.folder / MANIFEST]

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer that made the tokens.

        Raises:
            InputError: There is no corpus, or its tokenizer is not that of the manifest.
        """
        folder = self.folder
        expected, spec = manifest(folder)["tokenizer"], saved_spec(folder)
        with _expecting(folder):
            made = tokenizer_from_spec(spec)
        if (found := describe_tokenizer(spec, made.vocab_size)) != expected:
            raise damaged(folder, expected, found, TOKENIZER)
        if manifest(folder)["format"] < FORMAT and not keeps_bytes(made):
            _log.warning(
                "%s is of an earlier version: its bytes are those of tokens, which are not those of"
                " the texts where the tokenizer alters them; to count those, write it again",
                folder,
            )
        return made


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """``PreparedCorpus`` by its name in version 0.1, which configs may use."""
