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
from typing import IO, ClassVar

from paratime.errors import InputError, one_line
from paratime.io.packages import import_package
from paratime.io.paths import expanded
from paratime.language.data.sources.base import Source

COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class FileSource(Source):
    """A source that reads the files that match some patterns, or lie in some folders."""

    suffixes: ClassVar[tuple[str, ...]] = ("",)
    """How the names of the files end that are read of a folder."""

    paths: list[str]

    def files(self) -> list[Path]:
        """Return the files that match."""
        return [Path(name) for name in matching_files(self.paths, self.suffixes)]

    def named_files(self) -> list[tuple[str, str]]:
        """Return pairs (name, file), where names are relative to the folder that contains all."""
        files = matching_files(self.paths, self.suffixes)
        whole = [Path(file).resolve() for file in files]
        root = os.path.commonpath([path.parent for path in whole])
        pairs = zip(whole, files, strict=True)
        return sorted((str(path.relative_to(root)), file) for path, file in pairs)

    def size(self) -> int | None:
        """Return the bytes of the files; None if one is compressed."""
        if any(path.name.endswith(COMPRESSED) for path in self.files()):
            return None
        return sum(path.stat().st_size for path in self.files())


def matching_files(patterns: list[str], suffixes: tuple[str, ...] = ("",)) -> list[str]:
    """Return the files that match, sorted, each once.

    Args:
        patterns: Files, folders, or patterns (``**`` descends into folders); ``~`` and
            ``$VARIABLES`` are replaced.
        suffixes: How the names of files in folders end; hidden ones are left out.

    Raises:
        InputError: No pattern, or one that matches no file.
    """
    if not patterns:
        raise InputError("paths", "at least one file or pattern", "none", "name some")
    names = {Path(name).resolve(): name for p in patterns for name in _match(p, suffixes)}
    return sorted(names.values())


def _match(pattern: str, suffixes: tuple[str, ...]) -> list[str]:
    path = expanded(pattern)
    if Path(path).is_file():  # its name may contain brackets
        return [path]
    if Path(path).is_dir():
        found = _inside(Path(path), suffixes)
    else:
        found = [name for name in glob(path, recursive=True) if Path(name).is_file()]
    if not found:
        known = ", ".join(filter(None, suffixes))
        raise InputError(
            "paths",
            expected=f"an existing file, folder{f' of {known}' * bool(known)} or pattern",
            got=repr(path),
            remedy=f"paths start at {Path.cwd()}",
        )
    return found


def _inside(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """Return the files in a folder and below, none hidden."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file()
        and path.name.removesuffix(".gz").removesuffix(".zst").endswith(suffixes)
        and not any(part[0] == "." for part in path.relative_to(folder).parts)
    ]


@contextmanager
def open_text(name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes; decompress ``.gz`` and ``.zst``, skip a byte order mark.

    Raises:
        InputError: The compressed file is empty, truncated or damaged, or pyarrow is missing for
            ``.zst``.
    """
    if name.endswith(COMPRESSED) and not os.path.getsize(name):
        raise _not_whole(name, "an empty file")
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
        raise _not_whole(name, one_line(error)) from None


def _not_whole(name: str, got: str) -> InputError:
    return InputError(name, f"a whole {Path(name).suffix} file", got, "write it again")


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
