"""Documents in files of text, and in the rows of JSON Lines, Parquet and Hugging Face datasets."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import orjson

from paratime.errors import InputError, one_line
from paratime.language.data.sources.base import Document, Source, missing
from paratime.language.data.sources.files import decoded, matched, named, opened, plain_size

BLOCK = 2**24
"""Bytes that are read at once where a file is cut at separators."""

SAVED = ("dataset_dict.json", "state.json")
"""One of them is in a folder of ``save_to_disk``."""


@dataclass(frozen=True)
class TextFiles(Source):
    """UTF-8 text files, plain, ``.gz`` or ``.zst``.

    Args:
        paths: Files, or glob patterns (``**`` descends into folders).
        separator: Text between documents of one file; each file is one document by default, and is
            read whole.
    """

    paths: list[str]
    separator: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the files in order of their paths; each pattern must match something."""
        for name, path in named(self.paths):
            with opened(path) as file:
                if not self.separator:
                    yield Document(name, decoded(file.read(), path))
                    continue
                for number, piece in enumerate(_pieces(file, self.separator.encode())):
                    one = f"{name}[{number}]"
                    yield Document(one, decoded(piece, one))

    def files(self) -> list[Path]:
        """Return the files that match."""
        return [Path(name) for name in matched(self.paths)]

    def size(self) -> int | None:
        """Return the bytes of the files, if they are plain."""
        return plain_size(matched(self.paths))


def _pieces(file: IO[bytes], separator: bytes) -> Iterator[bytes]:
    rest = b""
    while block := file.read(BLOCK):
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest


@dataclass(frozen=True)
class JsonLines(Source):
    """JSON Lines, plain, ``.gz`` or ``.zst``: an object a line, one field of which is the text.

    Args:
        paths: Files, or glob patterns.
        text: The field with the text.
        name: A field that names documents; those of one name fall into the same split. By default
            the file and the line.
    """

    paths: list[str]
    text: str = "text"
    name: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the lines in order, files in order of their paths; blank lines are passed over."""
        for name, path in named(self.paths):
            with opened(path) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield self._document(f"{name}:{number}", line)

    def files(self) -> list[Path]:
        """Return the files that match."""
        return [Path(name) for name in matched(self.paths)]

    def size(self) -> int | None:
        """Return the bytes of the files, if they are plain: somewhat more than the text's."""
        return plain_size(matched(self.paths))

    def _document(self, place: str, line: bytes) -> Document:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(place, "JSON in UTF-8", one_line(error), "correct the line") from None
        if not isinstance(row, dict):
            raise InputError(place, "an object", type(row).__name__, "correct the line")
        return _document(row, place, self.text, self.name)


@dataclass(frozen=True)
class Parquet(Source):
    """Parquet files with a column of texts; a missing text is an empty one.

    Args:
        paths: Files, or glob patterns.
        text: The column with the text.
        name: A column that names documents; those of one name fall into the same split. By default
            the file and the row.
    """

    paths: list[str]
    text: str = "text"
    name: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the rows in order, files in order of their paths."""
        try:
            from pyarrow import ArrowException
        except ImportError:
            raise missing("pyarrow", "Parquet") from None
        for name, path in named(self.paths):
            try:
                yield from self._rows(name, path)
            except (ArrowException, OSError, UnicodeDecodeError) as error:
                expected, got = "a Parquet file with texts in UTF-8", one_line(error)
                raise InputError(path, expected, got, "write it again") from None

    def files(self) -> list[Path]:
        """Return the files that match."""
        return [Path(name) for name in matched(self.paths)]

    def _rows(self, file_name: str, path: str) -> Iterator[Document]:
        from pyarrow.parquet import ParquetFile

        columns, number = [self.text, *([self.name] if self.name else [])], 0
        with ParquetFile(path) as file:
            _check_columns(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    yield _document(row, f"{file_name}:{number}", self.text, self.name)
                    number += 1


@dataclass(frozen=True)
class HuggingFace(Source):
    """A dataset of the package ``datasets``: a folder of ``save_to_disk``, or one of the hub.

    Args:
        path: The folder, or what ``datasets.load_dataset`` takes: an id of the hub, or a folder of
            data files.
        split: The split to read.
        text: The column with the text.
        name: A column that names documents; the row by default.
        config: The dataset's configuration, if it has several.
        revision: Branch, tag or commit at the hub; a commit never changes.
        streaming: Whether rows are downloaded as they are read, and not kept.
    """

    path: str
    split: str = "train"
    text: str = "text"
    name: str | None = None
    config: str | None = None
    revision: str | None = None
    streaming: bool = False

    def documents(self) -> Iterator[Document]:
        """Yield the rows in order."""
        for number, row in enumerate(self._rows()):
            yield _document(row, f"{self.path}:{self.split}:{number}", self.text, self.name)

    def files(self) -> list[Path]:
        """Return the files of a folder; what the hub has is known by the revision."""
        return [path for path in sorted(Path(self.path).rglob("*")) if path.is_file()]

    def _rows(self) -> Iterator[dict[str, Any]]:
        columns = [self.text, *([self.name] if self.name else [])]
        try:
            rows = self._found(import_module("datasets"))
            if rows.column_names is not None:
                _check_columns(self.path, columns, rows.column_names)
                rows = rows.select_columns(columns)
            yield from rows
        except InputError:
            raise
        except ModuleNotFoundError as error:
            raise missing(str(error.name), "HuggingFace") from None
        except Exception as error:  # anything, from the network to the dataset's own code
            got = f"{type(error).__name__}: {one_line(error)[:200]}"
            remedy = "check path, split and network"
            raise InputError(f"path {self.path}", "a dataset", got, remedy) from None

    def _found(self, datasets: Any) -> Any:
        if any((Path(self.path) / name).exists() for name in SAVED):
            found = datasets.load_from_disk(self.path)
            return found[self.split] if isinstance(found, datasets.DatasetDict) else found
        return datasets.load_dataset(
            self.path,
            self.config,
            split=self.split,
            revision=self.revision,
            streaming=self.streaming,
        )


def _check_columns(path: str, columns: list[str], there: list[str]) -> None:
    """Refuse columns that are not there."""
    for column in columns:
        if column not in there:
            got, remedy = f"columns {', '.join(there)}", "name the one with texts as text"
            raise InputError(path, f"a column {column!r}", got, remedy)


def _document(row: dict[str, Any], place: str, text: str, name: str | None) -> Document:
    """Return the document of a row."""
    for key in (text, name):
        if key is not None and key not in row:
            got = f"fields {', '.join(row)}"[:80]
            raise InputError(place, f"a field {key!r}", got, "name the one that is meant")
    found = "" if row[text] is None else row[text]
    if not isinstance(found, str):
        remedy = "name the field with texts as text"
        raise InputError(f"{place}: {text}", "a text", type(found).__name__, remedy)
    return Document(place if name is None else str(row[name]), found)
