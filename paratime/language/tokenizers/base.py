"""What a tokenizer is, and how one is made."""

import base64
import codecs
import hashlib
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Texts = Callable[[], Iterator[str]]
"""Returns the texts to train on, to read them once."""


class Recipe(ABC):
    """How to come by a tokenizer: by learning it from text, or from files."""

    @abstractmethod
    def make(self, texts: Texts) -> "Tokenizer":
        """Return the tokenizer; most recipes need no text."""

    @abstractmethod
    def identity(self) -> str:
        """Return what says that the same texts give the same tokenizer, in one short line."""


class Tokenizer(Recipe):
    """A reversible map from text to token ids, with one id that starts every document.

    Attributes:
        pieces: The bytes of each id, (vocab_size,); the document start and special ids have none.
        start: Id that starts a document.
    """

    pieces: list[bytes]
    start: int

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids of a text, without the document start.

        Raises:
            InputError: A text that it cannot encode.
        """

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return plain data from which ``from_spec`` makes this tokenizer again, without files."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, the document start included."""
        return len(self.pieces)

    @cached_property
    def byte_counts(self) -> NDArray[np.int64]:
        """Number of UTF-8 bytes that each id stands for, (vocab_size,)."""
        return np.array([len(piece) for piece in self.pieces], dtype=np.int64)

    def decoder(self) -> "Decoder":
        """Return a decoder of one stream of ids; invalid bytes become U+FFFD."""
        return Decoder(self.pieces, self.start)

    def make(self, texts: Texts) -> "Tokenizer":
        """Return the tokenizer itself."""
        return self

    def identity(self) -> str:
        """Return name, size and hash."""
        return describe(self.spec(), self.vocab_size)


class Decoder:
    """Turns ids into text one by one, holding back bytes of unfinished characters.

    Args:
        pieces: The bytes of each id.
        start: The id at which unfinished characters are given up.
    """

    def __init__(self, pieces: list[bytes], start: int) -> None:
        self._pieces, self._start = pieces, start
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __call__(self, token: int) -> str:
        """Return the text that this id completes, possibly none."""
        return self._utf8.decode(self._pieces[token], final=token == self._start)


def packed(text: str) -> str:
    """Return a text compressed, in letters that no parser of configs takes for anything else."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(letters: str) -> str:
    """Return the text that was packed."""
    return zlib.decompress(base64.b64decode(letters)).decode()


def describe(spec: dict[str, Any], vocab_size: int | None = None) -> str:
    """Return a tokenizer's description in a few words: specs may hold a whole vocabulary."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    size = "" if vocab_size is None else f", {vocab_size} ids"
    return f"{spec.get('name')}{size}, sha256 {digest[:12]}"
