"""Text to token ids and back."""

import codecs
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError


class Tokenizer(ABC):
    """A reversible map from text to token ids, with one id that starts every document."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids, the document start included."""

    @property
    @abstractmethod
    def start(self) -> int:
        """Id that starts a document."""

    @property
    @abstractmethod
    def byte_counts(self) -> NDArray[np.int64]:
        """Number of UTF-8 bytes that each id stands for, (vocab_size,)."""

    @abstractmethod
    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids of a text, without the document start."""

    @abstractmethod
    def decoder(self) -> "Decoder":
        """Return a decoder of one stream of ids."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return plain data from which ``from_spec`` makes this tokenizer again."""


class Decoder(ABC):
    """Turns ids into text one by one, holding back bytes of unfinished characters."""

    @abstractmethod
    def __call__(self, token: int) -> str:
        """Return the text that this id completes, possibly none."""


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes as ids 0 to 255, and 256 as the document start."""

    vocab_size = 257
    start = 256

    @property
    def byte_counts(self) -> NDArray[np.int64]:
        """One byte an id, none for the document start."""
        return np.repeat([1, 0], [256, 1])

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the UTF-8 bytes."""
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)

    def decoder(self) -> Decoder:
        """Return an incremental UTF-8 decoder; invalid bytes become U+FFFD."""
        return _ByteDecoder()

    def spec(self) -> dict[str, Any]:
        """Return the name alone."""
        return {"name": "bytes"}


class _ByteDecoder(Decoder):
    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __call__(self, token: int) -> str:
        if token == ByteTokenizer.start:
            return self._utf8.decode(b"", final=True)
        return self._utf8.decode(bytes([token]))


def from_spec(spec: dict[str, Any]) -> Tokenizer:
    """Make the tokenizer that ``Tokenizer.spec`` described."""
    if spec.get("name") != "bytes":
        remedy = "use the version of paratime that wrote it"
        raise InputError("tokenizer", "one of: bytes", str(spec.get("name")), remedy)
    return ByteTokenizer()
