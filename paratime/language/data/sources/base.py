"""What a source of documents is."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError

if TYPE_CHECKING:
    from paratime.language.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class Document:
    """A text, or its tokens, with a name that is unique in its source.

    Attributes:
        name: Says which one it is, and decides into which split it is drawn.
        text: The text.
        tokens: Ids (N,) instead of a text, without a document start; memory-mapped, perhaps.
        split: The split that the source puts it into; by default it is drawn.
    """

    name: str
    text: str = ""
    tokens: NDArray[Any] | None = field(default=None, compare=False)
    split: str | None = None

    def __len__(self) -> int:
        return len(self.text if self.tokens is None else self.tokens)

    def part(self, start: int, stop: int) -> "Document":
        """Return the part from one character, or token, to another."""
        tokens = None if self.tokens is None else self.tokens[start:stop]
        name, text = f"{self.name}[{start}:{stop}]", self.text[start:stop]
        return replace(self, name=name, text=text, tokens=tokens)

    def ids(self, tokenizer: "Tokenizer") -> NDArray[Any]:
        """Return the tokens (N,), without the document start.

        Raises:
            InputError: The tokenizer cannot encode the text, or does not know the ids.
        """
        if self.tokens is not None:
            self._check(tokenizer)
            return self.tokens
        try:
            return tokenizer.encode(self.text)
        except InputError as error:
            what, *others = error.args
            raise InputError(f"{self.name}: {what}", *others) from None

    def _check(self, tokenizer: "Tokenizer") -> None:
        tokens, size = self.tokens, tokenizer.vocab_size
        if tokens is None or not len(tokens):
            return
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= size:
            expected, got = f"ids from 0 to {size - 1}", str(low if low < 0 else high)
            raise InputError(self.name, expected, got, "name the tokenizer that made them")
        if (tokens == tokenizer.start).any():
            expected = f"documents without {tokenizer.start}, the tokenizer's document start"
            remedy = "give the source this id as start"
            raise InputError(self.name, expected, str(tokenizer.start), remedy)


class Source(ABC):
    """A collection of documents, in a fixed order; every source is a frozen dataclass."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yield the documents, one by one, so that not all need be in memory.

        Raises:
            InputError: One line that says file, place, what was expected and what came.
        """

    def files(self) -> list[Path]:
        """Return the files that are read; when one of them changes, so does the identity."""
        return []

    def size(self) -> int | None:
        """Return about how many bytes of text there are, for progress bars; None: unknown."""
        return None

    def identity(self) -> str:
        """Return what says that the documents are the same, without reading them."""
        digest = hashlib.sha256(repr(self).encode())
        for path in self.files():
            stat = path.stat()
            digest.update(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode())
        return f"{type(self).__name__} {digest.hexdigest()}"


@dataclass(frozen=True)
class InMemory(Source):
    """Documents that have been made already.

    Args:
        made: The documents.
    """

    made: list[Document]

    def documents(self) -> Iterator[Document]:
        """Yield them."""
        yield from self.made

    def identity(self) -> str:
        """Return the hash of all that is in them."""
        digest = hashlib.sha256()
        for d in self.made:
            content = d.text.encode() if d.tokens is None else np.asarray(d.tokens).tobytes()
            digest.update(f"{len(d.name)} {len(content)} {d.split} {d.name}".encode() + content)
        return f"InMemory {digest.hexdigest()}"


@dataclass(frozen=True)
class Splits(Source):
    """Sources that are split already: nothing is drawn.

    Args:
        train: Documents to train on.
        val: Documents for validation.
        test: Documents for testing; none by default, and then there is nothing to test on.
    """

    train: Source
    val: Source
    test: Source | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the documents of each split after another."""
        for split, source in self._parts():
            yield from (replace(document, split=split) for document in source.documents())

    def size(self) -> int | None:
        """Return the sum, if all of it is known."""
        sizes = [source.size() for _, source in self._parts()]
        return None if None in sizes else sum(size for size in sizes if size)

    def identity(self) -> str:
        """Return the identities of all of them."""
        return "; ".join(f"{split} {source.identity()}" for split, source in self._parts())

    def _parts(self) -> list[tuple[str, Source]]:
        parts = (("train", self.train), ("val", self.val), ("test", self.test))
        return [(split, source) for split, source in parts if source is not None]


def missing(package: str, what: str) -> InputError:
    """Return the error of an optional package that is not installed."""
    remedy = 'pip install "paratime[language]"'
    return InputError(what, f"the package {package}", "none installed", remedy)
