"""Text files, given by patterns, possibly compressed."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import IO

from paratime.errors import InputError, one_line
from paratime.io.packages import import_package
from paratime.language.data.sources.base import Source

COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class FileSource(Source):
    """A source that reads the files that match some patterns."""

    paths: list[str]

    def files(self) -> list[Path]:
        """Return the files that match."""
        return [Path(name) for name in matching_files(self.paths)]

    def size(self) -> int | None:
        """Return the bytes of the files; None if one is compressed."""
        if any(path.name.endswith(COMPRESSED) for path in self.files()):
            return None
        return sum(path.stat().st_size for path in self.files())


def matching_files(patterns: list[str]) -> list[str]:
    """Return the files that match patterns (``**`` descends into folders), sorted, each once.

    Raises:
        InputError: No pattern, or one that matches no file.
    """
    if not patterns:
        raise InputError("paths", "at least one file or pattern", "none", "name some")
    names = {Path(name).resolve(): name for p in patterns for name in _match(p)}
    return sorted(names.values())


def named_files(patterns: list[str]) -> list[tuple[str, str]]:
    """Return pairs (name, file), where names are relative to the folder that contains all files.

    Splits are drawn by these names, so they do not depend on the working directory.
    """
    files = matching_files(patterns)
    whole = [Path(file).resolve() for file in files]
    root = os.path.commonpath([path.parent for path in whole])
    pairs = zip(whole, files, strict=True)
    return sorted((str(path.relative_to(root)), file) for path, file in pairs)


def _match(pattern: str) -> list[str]:
    if Path(pattern).is_file():  # its name may contain brackets
        return [pattern]
    found = [name for name in glob(pattern, recursive=True) if Path(name).is_file()]
    if not found:
        raise InputError(
            "paths", "an existing file or pattern", repr(pattern), f"paths start at {Path.cwd()}"
        )
    return found


@contextmanager
def open_text(name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes; decompress ``.gz`` and ``.zst``, skip a byte order mark.

    Raises:
        InputError: The compressed file is truncated or damaged, or pyarrow is missing for ``.zst``.
    """
    try:
        with _stream(name) as stream:
            if stream.peek(3).startswith(codecs.BOM_UTF8):
                stream.read(3)
            yield stream
    except InputError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        if not name.endswith(COMPRESSED):
            raise
        suffix = Path(name).suffix
        raise InputError(
            name, expected=f"a whole {suffix} file", got=one_line(error), remedy="write it again"
        ) from None


def _stream(name: str) -> io.BufferedReader:
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.open(name, "rb"))
    if not name.endswith(".zst"):
        return open(name, "rb")
    pyarrow = import_package("pyarrow", what=name, extra="language")
    # The package zstandard does not notice a truncated file.
    packed = pyarrow.CompressedInputStream(pyarrow.OSFile(name), "zstd")
    return io.BufferedReader(packed)


def decode_utf8(content: bytes, name: str) -> str:
    """Decode UTF-8 text.

    Raises:
        InputError: It is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte {content[error.start]:#04x} at position {error.start}"
        raise InputError(name, "UTF-8 text", found, "convert the file") from None
