"""Documents in text files, JSON Lines, Parquet files and Hugging Face datasets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from paratime.cli.arguments import unescaped
from paratime.errors import InputError, describe_error, one_line
from paratime.io.packages import import_package, missing_package
from paratime.io.paths import expanded
from paratime.language.data.sources.base import Document, Source
from paratime.language.data.sources.files import FileSource, decode_utf8, open_text

BLOCK_BYTES = 2**24
"""Bytes that are read at once from a file that is cut at separators."""

SAVED = ("dataset_dict.json", "state.json")
"""Files that ``save_to_disk`` writes, one or the other."""


@dataclass(frozen=True)
class TextFiles(FileSource):
    r"""UTF-8 text files, plain, ``.gz`` or ``.zst``.

    Args:
        paths: Files, folders, or glob patterns (``**`` descends into folders).
        separator: Text between the documents of a file, where ``\n``, ``\t``, ``\r`` and
            ``\\`` mean a newline, a tab, a return and a backslash. By default each file is one
            document, and is read whole.
    """

    separator: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield documents, files in order of their paths; each pattern must match a file.

        Raises:
            InputError: A file cannot be read, or no file has the separator (at the end).
        """
        if not self.separator:
            for name, path in self.named_files():
                with open_text(path) as file:
                    yield Document(name, decode_utf8(file.read(), path))
            return
        separator, cut = unescaped(self.separator), False
        for name, path in self.named_files():
            with open_text(path) as file:
                for number, piece in enumerate(_pieces(file, separator.encode())):
                    cut |= number > 0
                    one = f"{name}[{number}]"
                    yield Document(one, decode_utf8(piece, one))
        if not cut:
            raise InputError(
                "separator",
                expected="a text between the documents of a file",
                got=f"{separator!r}, which is in no file",
                remedy="correct it, or leave it out to read each file as one document",
            )


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
        paths: Files, folders, or glob patterns.
        text: The field with the text; ``a.b`` is field b of field a.
        name: A field that names the document; documents with the same name share a split. One
            without a name is called by its file and line, and has a split of its own.
    """

    suffixes = (".jsonl", ".json", ".ndjson")
    text: str = "text"
    name: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the lines in order, files in order of their paths; blank lines are skipped."""
        rows = _Rows(self.text, self.name)
        for name, path in self.named_files():
            with open_text(path) as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        place = f"{name}:{number}"
                        yield rows.document(self._row(place, line), place)
        rows.check()

    def _row(self, place: str, line: bytes) -> dict[str, Any]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(place, "JSON in UTF-8", one_line(error), "correct the line") from None
        if not isinstance(row, dict):
            raise InputError(place, "an object", type(row).__name__, "correct the line")
        return row


@dataclass(frozen=True)
class Parquet(FileSource):
    """Parquet files with a column of texts; a null counts as an empty text.

    Args:
        paths: Files, folders, or glob patterns.
        text: The column with the text; ``a.b`` is field b of column a.
        name: A column that names the document; documents with the same name share a split. One
            without a name is called by its file and row, and has a split of its own.
    """

    suffixes = (".parquet",)
    text: str = "text"
    name: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the rows in order, files in order of their paths."""
        pyarrow = import_package("pyarrow", what="Parquet", extra="language")
        for name, path in self.named_files():
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

        rows, number = _Rows(self.text, self.name), 0
        with ParquetFile(path) as file:
            columns = rows.columns(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    yield rows.document(row, f"{file_name}:{number}")
                    number += 1


@dataclass(frozen=True)
class HuggingFace(Source):
    """A dataset of the package ``datasets``: a folder of ``save_to_disk``, or one of the hub.

    Args:
        path: The folder, or what ``datasets.load_dataset`` accepts: an id on the hub, or a folder
            of data files.
        split: The split to read.
        text: The column with the text; ``a.b`` is field b of column a.
        name: A column that names the document; the row number by default. Documents with the same
            name share a split.
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
        rows = _Rows(self.text, self.name)
        for number, row in enumerate(self._rows(rows)):
            yield rows.document(row, f"{self.path}:{self.split}:{number}")

    def files(self) -> list[Path]:
        """Return the files of a folder; a dataset on the hub has only its revision."""
        return [path for path in sorted(Path(expanded(self.path)).rglob("*")) if path.is_file()]

    def _rows(self, wanted: "_Rows") -> Iterator[dict[str, Any]]:
        try:
            rows = self._found(import_package("datasets", what="HuggingFace", extra="language"))
            if rows.column_names is not None:
                rows = rows.select_columns(wanted.columns(self.path, rows.column_names))
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
        path = expanded(self.path)
        if any((Path(path) / name).exists() for name in SAVED):
            found = datasets.load_from_disk(path)
            return found[self.split] if isinstance(found, datasets.DatasetDict) else found
        return datasets.load_dataset(
            path,
            self.config,
            split=self.split,
            revision=self.revision,
            streaming=self.streaming,
        )


class _Rows:
    """Turns rows into documents.

    Args:
        text: The field with the text.
        name: The field with the name, if there is one.
    """

    def __init__(self, text: str, name: str | None) -> None:
        self._text, self._name = text, name
        self._others: Iterable[str] | None = None

    def columns(self, path: str, found: list[str]) -> list[str]:
        """Return the columns to read of a table.

        Raises:
            InputError: The table lacks one.
        """
        columns = []
        for field in filter(None, (self._text, self._name)):
            columns.append(field if field in found else field.split(".")[0])
            if columns[-1] not in found:
                raise InputError(
                    path,
                    expected=f"a column {field!r}",
                    got=f"columns {', '.join(found)}",
                    remedy="name that of texts as text",
                )
        return [*dict.fromkeys(columns)]

    def document(self, row: dict[str, Any], place: str) -> Document:
        """Return the document of a row.

        Args:
            row: Fields by name.
            place: Its file and number, for messages and for documents without a name.
        """
        text = _field(row, self._text)
        if text is _MISSING:
            raise InputError(
                place, f"a field {self._text!r}", f"fields {', '.join(row)}", "name one as text"
            )
        if not isinstance(text, str | None):
            raise InputError(
                f"{place}: {self._text}",
                expected="a text",
                got=type(text).__name__,
                remedy="name the field of texts as text",
            )
        name = _MISSING if self._name is None else _field(row, self._name)
        if self._others is None or name is not _MISSING:
            self._others = row if name is _MISSING else ()
        if name is _MISSING or name is None or name != name or name == "":  # or not a number
            return Document(place, text or "")
        return Document(str(name), text or "", group=str(name))

    def check(self) -> None:
        """Refuse a name that no row has.

        Raises:
            InputError: No row has it.
        """
        if self._name is not None and self._others:
            raise InputError(
                "name",
                expected="a field of the rows",
                got=f"{self._name!r}, which no row has",
                remedy=f"name one of {', '.join(self._others)}",
            )


_MISSING = object()


def _field(row: dict[str, Any], name: str) -> Any:
    """Return a field, or a field of a field: ``a.b``, and ``a.0`` of a list."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif value is None:
            return None
        else:
            return _MISSING
    return value
