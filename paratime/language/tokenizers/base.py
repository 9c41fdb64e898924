"""Tokenizers, and recipes that make them."""

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
"""Returns the training texts anew, for one pass."""


class TokenizerRecipe(ABC):
    """How to make a tokenizer: by learning it from text, or from files."""

    @abstractmethod
    def make(self, texts: Texts) -> "Tokenizer":
        """Return the tokenizer; most recipes need no text."""

    @abstractmethod
    def identity(self) -> str:
        """Return a short line that differs for recipes that make different tokenizers."""


class Tokenizer(TokenizerRecipe):
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
            InputError: The text cannot be encoded.
        """

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return plain data from which ``tokenizer_from_spec`` restores this tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, including the document start."""
        return len(self.pieces)

    @cached_property
    def byte_counts(self) -> NDArray[np.int64]:
        """Number of UTF-8 bytes that each id stands for, (vocab_size,)."""
        return np.array([len(piece) for piece in self.pieces], dtype=np.int64)

    def decoder(self) -> "Decoder":
        """Return a decoder for one stream of ids; invalid bytes become U+FFFD."""
        return Decoder(self.pieces, self.start)

    def make(self, texts: Texts) -> "Tokenizer":
        """Return the tokenizer itself."""
        return self

    def identity(self) -> str:
        """Return name, vocabulary size and hash."""
        return describe_tokenizer(self.spec(), self.vocab_size)


class Decoder:
    """Turns ids into text one by one, holding back the bytes of incomplete characters.

    Args:
        pieces: The bytes of each id.
        start: The id at which an incomplete character is replaced.
    """

    def __init__(self, pieces: list[bytes], start: int) -> None:
        self._pieces, self._start = pieces, start
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __call__(self, token: int) -> str:
        """Return the text that this id completes, possibly empty."""
        return self._utf8.decode(self._pieces[token], final=token == self._start)


def pack(text: str) -> str:
    """Compress a text to letters that parsers of configs leave alone."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(letters: str) -> str:
    """Return the text that was compressed."""
    return zlib.decompress(base64.b64decode(letters)).decode()


def describe_tokenizer(spec: dict[str, Any], vocab_size: int | None = None) -> str:
    """Return a short description of a tokenizer, whose spec may hold a whole vocabulary."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    size = "" if vocab_size is None else f", {vocab_size} ids"
    return f"{spec.get('name')}{size}, sha256 {digest[:12]}"
