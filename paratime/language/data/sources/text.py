"""Documents in text files, JSON Lines, Parquet files and Hugging Face datasets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from paratime.errors import InputError, describe_error, one_line
from paratime.io.packages import import_package, missing_package
from paratime.language.data.sources.base import Document, Source
from paratime.language.data.sources.files import (
    FileSource,
    decode_utf8,
    named_files,
    open_text,
)

BLOCK_BYTES = 2**24
"""Bytes that are read at once from a file that is cut at separators."""

SAVED = ("dataset_dict.json", "state.json")
"""Files that ``save_to_disk`` writes, one or the other."""


@dataclass(frozen=True)
class TextFiles(FileSource):
    """UTF-8 text files, plain, ``.gz`` or ``.zst``.

    Args:
        paths: Files, or glob patterns (``**`` descends into folders).
        separator: Text between the documents of a file. By default each file is one document, and
            is read whole.
    """

    separator: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield documents, files in order of their paths; each pattern must match a file."""
        for name, path in named_files(self.paths):
            with open_text(path) as file:
                if not self.separator:
                    yield Document(name, decode_utf8(file.read(), path))
                    continue
                for number, piece in enumerate(_pieces(file, self.separator.encode())):
                    one = f"{name}[{number}]"
                    yield Document(one, decode_utf8(piece, one))


def _pieces(file: IO[bytes], separator: bytes) -> Iterator[bytes]:
    rest = b""
    while block := file.read(BLOCK_BYTES):
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest


@dataclass(frozen=True)
class JsonLines(FileSource):
    """JSON Lines, plain, ``.gz`` or ``.zst``: one object per line, with the text in a field.

    Args:
        paths: Files, or glob patterns.
        text: The field with the text.
        name: A field that names the document; documents with the same name share a split. By
            default the file and the line.
    """

    text: str = "text"
    name: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the lines in order, files in order of their paths; blank lines are skipped."""
        for name, path in named_files(self.paths):
            with open_text(path) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield self._document(f"{name}:{number}", line)

    def _document(self, place: str, line: bytes) -> Document:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(place, "JSON in UTF-8", one_line(error), "correct the line") from None
        if not isinstance(row, dict):
            raise InputError(place, "an object", type(row).__name__, "correct the line")
        return _document(row, place, self.text, self.name)


@dataclass(frozen=True)
class Parquet(FileSource):
    """Parquet files with a column of texts; a null counts as an empty text.

    Args:
        paths: Files, or glob patterns.
        text: The column with the text.
        name: A column that names the document; documents with the same name share a split. By
            default the file and the row.
    """

    text: str = "text"
    name: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the rows in order, files in order of their paths."""
        pyarrow = import_package("pyarrow", what="Parquet", extra="language")
        for name, path in named_files(self.paths):
            try:
                yield from self._rows(name, path)
            except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
                raise InputError(
                    path, "a Parquet file with texts in UTF-8", one_line(error), "write it again"
                ) from None

    def size(self) -> None:
        """Return None: the files are compressed."""

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
        path: The folder, or what ``datasets.load_dataset`` accepts: an id on the hub, or a folder
            of data files.
        split: The split to read.
        text: The column with the text.
        name: A column that names the document; the row number by default.
        config: The dataset's configuration, if it has several.
        revision: Branch, tag or commit on the hub; only a commit never changes.
        streaming: Whether to download rows as they are read, without keeping them.
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
        """Return the files of a folder; a dataset on the hub has only its revision."""
        return [path for path in sorted(Path(self.path).rglob("*")) if path.is_file()]

    def _rows(self) -> Iterator[dict[str, Any]]:
        columns = [self.text, *([self.name] if self.name else [])]
        try:
            rows = self._found(import_package("datasets", what="HuggingFace", extra="language"))
            if rows.column_names is not None:
                _check_columns(self.path, columns, rows.column_names)
                rows = rows.select_columns(columns)
            yield from rows
        except InputError:
            raise
        except ModuleNotFoundError as error:
            raise missing_package(str(error.name), what="HuggingFace", extra="language") from None
        except Exception as error:  # from the network to the dataset's own code
            raise InputError(
                self.path, "a dataset", describe_error(error), "check path, split, network"
            ) from None

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


def _check_columns(path: str, needed: list[str], found: list[str]) -> None:
    for column in needed:
        if column not in found:
            raise InputError(
                path,
                expected=f"a column {column!r}",
                got=f"columns {', '.join(found)}",
                remedy="name that of texts as text",
            )


def _document(row: dict[str, Any], place: str, text: str, name: str | None) -> Document:
    for key in (text, name):
        if key is not None and key not in row:
            raise InputError(
                place, f"a field {key!r}", f"fields {', '.join(row)}"[:80], "name one of them"
            )
    found = "" if row[text] is None else row[text]
    if not isinstance(found, str):
        raise InputError(
            f"{place}: {text}", "a text", type(found).__name__, "name the field of texts as text"
        )
    return Document(place if name is None else str(row[name]), found)
