"""Tokenizers, and recipes that make them."""

import base64
import codecs
import hashlib
import json
import logging
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError

_log = logging.getLogger(__name__)

SHOWN = 24
"""Most bytes of a text that an example shows."""

CHANGED = "A e\u0301 \ufb01  b\n"
"""A text that normalisers change: letter case, composed characters, ligatures, spaces."""

Texts = Callable[[], Iterator[str]]
"""Returns the training texts anew, for one pass."""


class Encoding(NamedTuple):
    """A text as tokens.

    Attributes:
        ids: The tokens (N,).
        num_bytes: Bytes of the text that each stands for, int64 (N,); their sum is that of the
            text, also where the tokens give back another one.
        altered: An example of what the tokens do not give back; empty if they give back the text.
    """

    ids: NDArray[Any]
    num_bytes: NDArray[np.int64]
    altered: str = ""


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

    reversible: ClassVar[bool] = False
    """Whether tokens give back any text that can be encoded."""

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

    def measured(self, text: str) -> Encoding:
        """Return the tokens of a text, and how many of its own bytes each stands for.

        What a normaliser changes is described in ``altered``.

        Raises:
            InputError: The text cannot be encoded, or its tokens lack a part of it.
        """
        ids = self.encode(text)
        found = self.counted(ids)
        if self.reversible:
            return found
        given, back = text.encode(), b"".join(self.pieces[i] for i in ids.tolist())
        if back != given and back == b" " + given:  # a space that is not of the text
            found.num_bytes[0] -= 1
            return found
        if back == given:
            return found
        example = difference(given, back)
        if _comparable(back.decode(errors="replace")) != _comparable(self.normalized(text)):
            raise InputError(
                "text",
                expected="tokens that give it back",
                got=example,
                remedy="use a tokenizer of all bytes, or leave such text out",
            )
        return found._replace(num_bytes=_own_bytes(found.num_bytes, given, back), altered=example)

    def counted(self, ids: NDArray[Any], corrections: NDArray[np.int64] | None = None) -> Encoding:
        """Return tokens (N,) with the bytes of each.

        Args:
            ids: The tokens.
            corrections: Positions and differences, int64 (M, 2), where a text had other bytes.
        """
        counts = self.byte_counts[ids]
        if corrections is not None:
            np.add.at(counts, corrections[:, 0], corrections[:, 1])
        return Encoding(ids, counts)

    def normalized(self, text: str) -> str:
        """Return what the tokenizer makes of a text before it looks for tokens."""
        return text

    def decoder(self) -> "Decoder":
        """Return a decoder for one stream of ids; invalid bytes become U+FFFD."""
        return Decoder(self.pieces, self.start)

    def make(self, texts: Texts) -> "Tokenizer":
        """Return the tokenizer itself."""
        return self

    def identity(self) -> str:
        """Return name, vocabulary size and hash."""
        return describe_tokenizer(self.spec(), self.vocab_size)


def keeps_bytes(tokenizer: Tokenizer) -> bool:
    """Return whether the pieces of tokens have the bytes of a text that normalisers change."""
    try:
        found = tokenizer.measured(CHANGED)
    except InputError:
        return False
    return not found.altered and found.num_bytes.sum() == tokenizer.byte_counts[found.ids].sum()


def warn_of_altered(count: int, total: int, example: str) -> None:
    """Say in one line that some texts do not come back, and how their bytes are counted."""
    if count:
        _log.warning(
            "%s of %s texts do not come back from their tokens, such as %s; bits per byte are of"
            " the texts' own bytes",
            *(f"{count:,}", f"{total:,}", example),
        )


def difference(given: bytes, back: bytes) -> str:
    """Return where a text and what its tokens give back begin to differ, and how."""
    first, last = _alike(given, back)
    while first and any(x[first : first + 1] and x[first] & 0xC0 == 0x80 for x in (given, back)):
        first -= 1
    where = len(given[:first].decode(errors="replace"))
    was, now = (x[first : max(first, len(x) - last)] for x in (given, back))
    return f"{_shown(was)} as {_shown(now)} at character {where}"


def _shown(part: bytes) -> str:
    if len(part) > SHOWN:
        return ascii(part[:SHOWN].decode(errors="ignore")) + "..."
    return ascii(part.decode(errors="replace"))


def _alike(given: bytes, back: bytes) -> tuple[int, int]:
    """Return how many bytes at the beginnings are the same, and how many at the ends."""
    least = min(len(given), len(back))
    a, b = (np.frombuffer(x, np.uint8) for x in (given, back))
    first = int(np.append(a[:least] == b[:least], False).argmin())
    left = least - first
    after = a[len(a) - left :][::-1] == b[len(b) - left :][::-1]
    return first, int(np.append(after, False).argmin())


def _own_bytes(counts: NDArray[np.int64], given: bytes, back: bytes) -> NDArray[np.int64]:
    """Return the bytes of the text for each token, whose pieces have other ones.

    Those before the first and after the last difference are known; in between, what the text has
    more or less is spread evenly.
    """
    first, last = _alike(given, back)
    ends, middle = counts.cumsum(), max(1, len(back) - last - first)
    share = ((ends - first) / middle).clip(0, 1)
    share[ends >= len(back) - last] = 1
    more = np.round(share * (len(given) - len(back))).astype(np.int64)
    return np.diff(ends + more, prepend=0)


def _comparable(text: str) -> str:
    return text.replace("\u2581", " ").removeprefix(" ")


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
