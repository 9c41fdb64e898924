"""Documents in files of text, and in the rows of JSON Lines, Parquet and Hugging Face datasets."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import orjson

from paratime.errors import InputError, one_line
from paratime.language.reading import decoded, matched, opened, plain_size
from paratime.language.source import Document, Source, missing

BLOCK = 2**24
"""Bytes that are read at once where a file is cut at separators."""

SAVED = ("dataset_dict.json", "state.json")
"""One of them is in a folder of ``save_to_disk``."""


@dataclass(frozen=True)
class TextFiles(Source):
    """UTF-8 text files, plain, ``.gz`` or ``.zst``.

    Args:
        paths: Files, or glob patterns (``**`` descends into folders).
        separator: Text between documents of one file; each file is one document by default.
    """

    paths: list[str]
    separator: str | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the files in order of their paths; each pattern must match something."""
        for name in matched(self.paths):
            with opened(name) as file:
                if any((Path(self.path) / name).exists() for name in SAVED):
                found = datasets.load_from_disk(self.path)
                return found[self.split] if isinstance(found, datasets.DatasetDict) else found
            options = {"split": self.split, "revision": self.revision}
            return datasets.load_dataset(
                self.path, self.config, streaming=self.streaming, **options
            )
        except Exception as error:  # anything, from the network to the dataset's own code
            got, remedy = f"{type(error).__name__}: {one_line(error)[:200]}", "check path and split"
            raise InputError(f"path {self.path}", "a dataset", got, remedy) from None


def check_columns(path: str, columns: list[str], there: list[str]) -> None:
    """Refuse columns that are not there."""
    for column in columns:
        if column not in there:
            remedy = "name the column of texts with --data.source.text"
            raise InputError(path, f"a column {column!r}", f"columns {', '.join(there)}", remedy)


def _document(row: dict[str, Any], place: str, text: str, name: str | None) -> Document:
    found = row.get(text)
    if found is None and text in row:
        found = ""
    if not isinstance(found, str):
        got = f"fields {', '.join(row)[:60]}" if text not in row else type(found).__name__
        raise InputError(place, f"a field {text!r} with a text", got, "name it as text")
    return Document(place if name is None else str(row[name]), found)
