"""Documents, and the sources that they come from."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError
from paratime.io.code import users_code

if TYPE_CHECKING:
    from paratime.language.tokenizers.base import Encoding, Tokenizer


HASHED = 2**22
"""Tokens that are hashed at once."""


@dataclass(frozen=True)
class Document:
    """A text, or its tokens.

    Attributes:
        name: Identifies the document in messages and tables.
        text: The text.
        tokens: Ids (N,) instead of a text, without a document start; possibly memory-mapped.
        split: The split that the source assigns it to; drawn by default.
        group: Documents of one group share a split. By default each is drawn by its content.
        corrections: Of tokens, where the text had another number of bytes than the tokenizer gives
            back: positions and differences, int64 (M, 2).
    """

    name: str
    text: str = ""
    tokens: NDArray[Any] | None = field(default=None, compare=False)
    split: str | None = None
    group: str | None = None
    corrections: NDArray[np.int64] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.text if self.tokens is None else self.tokens)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the text, or of the tokens, which are the same in any type of ids."""
        if self.tokens is None:
            return hashlib.sha256(self.text.encode(errors="surrogatepass")).digest()
        found = hashlib.sha256(b"tokens")
        for begin in range(0, len(self.tokens), HASHED):
            found.update(np.asarray(self.tokens[begin : begin + HASHED], "<u4").tobytes())
        return found.digest()

    def part(self, start: int, stop: int) -> "Document":
        """Return the characters, or tokens, from ``start`` to ``stop``."""
        tokens = None if self.tokens is None else self.tokens[start:stop]
        name, text = f"{self.name}[{start}:{stop}]", self.text[start:stop]
        corrections = self.corrections
        if corrections is not None:
            inside = (corrections[:, 0] >= start) & (corrections[:, 0] < stop)
            corrections = corrections[inside] - np.array([start, 0])
        return replace(self, name=name, text=text, tokens=tokens, corrections=corrections)

    def encoded(self, tokenizer: "Tokenizer") -> "Encoding":
        """Return the tokens, without the document start, and the bytes of each.

        Raises:
            InputError: The tokenizer cannot encode the text, or does not know the ids.
        """
        if self.tokens is not None:
            self._check(tokenizer)
            return tokenizer.counted(self.tokens, self.corrections)
        try:
            return tokenizer.measured(self.text)
        except InputError as error:
            what, *others = error.args
            raise InputError(f"{self.name}: {what}", *others) from None

    def _check(self, tokenizer: "Tokenizer") -> None:
        tokens, size = self.tokens, tokenizer.vocab_size
        if tokens is None or not len(tokens):
            return
        low, high = int(tokens.min()), int(tokens.max())
        if low < 0 or high >= size:
            raise InputError(
                self.name,
                expected=f"ids from 0 to {size - 1}",
                got=str(low if low < 0 else high),
                remedy="name the tokenizer that made them",
            )
        if (tokens == (start := tokenizer.start)).any():
            raise InputError(
                self.name,
                expected=f"documents without {start}, the tokenizer's document start",
                got=str(start),
                remedy="give the source this id as start",
            )


class Source(ABC):
    """A collection of documents, in a fixed order; every source is a frozen dataclass."""

    closed: ClassVar[bool] = False
    """Whether no document is ever added; then held-out shares are kept exactly."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yield the documents one by one, so that they need not fit in memory.

        Raises:
            InputError: A document cannot be read; the message names the file and the place.
        """

    def files(self) -> list[Path]:
        """Return the files that are read; the identity changes when one of them does."""
        return []

    def size(self) -> int | None:
        """Return the approximate bytes of text, for progress bars; None if unknown."""
        return None

    def identity(self) -> str:
        """Return a string that changes when the documents do, without reading them.

        It follows from the options, from the place of each file and its time of change, and from
        the code of a class of yours.
        """
        digest = hashlib.sha256(f"{self!r} {users_code(type(self))}".encode())
        for path in self.files():
            stat = path.stat()
            times = f"{stat.st_mtime_ns} {stat.st_ctime_ns}"
            digest.update(f"{path.resolve()} {stat.st_size} {times}".encode())
        return f"{type(self).__name__} {digest.hexdigest()}"


@dataclass(frozen=True)
class InMemory(Source):
    """Documents in memory.

    Args:
        made: The documents.
    """

    made: list[Document]

    def documents(self) -> Iterator[Document]:
        """Yield the documents in their order."""
        yield from self.made

    def identity(self) -> str:
        """Return a hash of names, splits and contents."""
        digest = hashlib.sha256()
        for d in self.made:
            content = d.text.encode() if d.tokens is None else np.asarray(d.tokens).tobytes()
            about = f"{len(d.name)} {len(content)} {d.split} {d.group} {d.name}"
            digest.update(about.encode() + content)
        return f"InMemory {digest.hexdigest()}"


@dataclass(frozen=True)
class Splits(Source):
    """A source for each split, instead of drawing them.

    Args:
        train: Documents for training.
        val: Documents for validation.
        test: Documents for testing; without them nothing can be tested.
    """

    train: Source
    val: Source
    test: Source | None = None

    def documents(self) -> Iterator[Document]:
        """Yield the documents of one split after another."""
        for split, source in self._parts():
            yield from (replace(document, split=split) for document in source.documents())

    def size(self) -> int | None:
        """Return the sum of the sizes; None if one is unknown."""
        sizes = [source.size() for _, source in self._parts()]
        return None if None in sizes else sum(size for size in sizes if size)

    def identity(self) -> str:
        """Return the identities of the sources."""
        return "; ".join(f"{split} {source.identity()}" for split, source in self._parts())

    def _parts(self) -> list[tuple[str, Source]]:
        parts = (("train", self.train), ("val", self.val), ("test", self.test))
        return [(split, source) for split, source in parts if source is not None]
