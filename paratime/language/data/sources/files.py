"""Text files as users name them: patterns, and compression by suffix."""

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import IO

from paratime.errors import InputError, one_line
from paratime.language.data.sources.base import missing

COMPRESSED = (".gz", ".zst")


def matched(patterns: list[str]) -> list[str]:
    """Return the files of some patterns (``**`` descends into folders), sorted, each once.

    Raises:
        InputError: No pattern, or one that matches no file.
    """
    if not patterns:
        raise InputError("paths", "at least one file or pattern", "none", "name some")
    names = {Path(name).resolve(): name for p in patterns for name in _match(p)}
    return sorted(names.values())


def named(patterns: list[str]) -> list[tuple[str, str]]:
    """Return the files of some patterns, each behind its name from the folder that all are in.

    Documents are drawn by these names, so that it does not matter from where one looks at them.
    """
    files = matched(patterns)
    whole = [Path(file).resolve() for file in files]
    root = os.path.commonpath([path.parent for path in whole])
    pairs = zip(whole, files, strict=True)
    return sorted((str(path.relative_to(root)), file) for path, file in pairs)


def _match(pattern: str) -> list[str]:
    if Path(pattern).is_file():  # whose name may have brackets
        return [pattern]
    found = [name for name in glob(pattern, recursive=True) if Path(name).is_file()]
    if not found:
        remedy = f"paths are taken from the working directory, {Path.cwd()}"
        raise InputError("paths", "an existing file or pattern", repr(pattern), remedy)
    return found


def plain_size(names: list[str]) -> int | None:
    """Return the bytes of some files; None if any is compressed."""
    if any(name.endswith(COMPRESSED) for name in names):
        return None
    return sum(Path(name).stat().st_size for name in names)


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """Open a file to read the bytes that are in it, or in its ``.gz`` or ``.zst`` compression.

    A byte order mark at its beginning, which is no text, is passed over.

    Raises:
        InputError: The compression is cut or damaged, or pyarrow is missing for ``.zst``.
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
        expected = f"a whole {Path(name).suffix} file"
        raise InputError(name, expected, one_line(error), "write it again") from None


def _stream(name: str) -> io.BufferedReader:
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.open(name, "rb"))
    if not name.endswith(".zst"):
        return open(name, "rb")
    try:
        import pyarrow
    except ImportError:
        raise missing("pyarrow", name) from None
    # The package zstandard would take a cut file for a whole one.
    packed = pyarrow.CompressedInputStream(pyarrow.OSFile(name), "zstd")
    return io.BufferedReader(packed)


def decoded(content: bytes, name: str) -> str:
    """Return UTF-8 text.

    Raises:
        InputError: It is none.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        got = f"byte {content[error.start]:#04x} at position {error.start}"
        raise InputError(name, "UTF-8 text", got, "convert the file") from None
