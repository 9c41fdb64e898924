"""Tokenizers of bytes and of characters."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.cli.arguments import unescaped
from paratime.errors import InputError
from paratime.language.tokenizers.base import Texts, Tokenizer, TokenizerRecipe, pack, unpack


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes as ids 0 to 255, and 256 as the document start."""

    start = 256
    reversible = True
    pieces = [*(bytes([byte]) for byte in range(256)), b""]  # noqa: RUF012 (never changed)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the UTF-8 bytes."""
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)

    def spec(self) -> dict[str, Any]:
        """Return the name."""
        return {"name": "bytes"}


class CharacterTokenizer(Tokenizer):
    """Characters (Unicode code points) as ids, in order, then the document start.

    Args:
        characters: The vocabulary.
    """

    reversible = True

    def __init__(self, characters: str) -> None:
        self._characters = "".join(sorted(set(characters)))
        self._codes = np.array([ord(c) for c in self._characters], dtype=np.uint32)
        self.start = len(self._codes)
        self.pieces = [*(character.encode() for character in self._characters), b""]

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids; the error for an unknown character names its position."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        ids = np.searchsorted(self._codes, codes)
        known = np.append(self._codes, 0)[ids] == codes
        known &= ids < self.start
        if not known.all():
            place = int(np.argmin(known))
            raise InputError(
                f"line {text.count(chr(10), 0, place) + 1}, position {place}",
                expected=f"one of the {self.start} characters of the vocabulary",
                got=f"{text[place]!r} (U+{codes[place]:04X})",
                remedy="add it to --data.tokenizer.extra, or use ByteTokenizer",
            )
        return ids.astype(np.int64)

    def spec(self) -> dict[str, Any]:
        """Return the characters."""
        return {"name": "characters", "characters": pack(self._characters)}

    @classmethod
    def restored(cls, characters: str) -> "CharacterTokenizer":
        """Return the tokenizer of a spec."""
        return cls(unpack(characters))


@dataclass(frozen=True)
class Characters(TokenizerRecipe):
    r"""The characters of the training text; held-out text must contain no others.

    There is no id for unknown characters, because bits per byte would lose their meaning.

    Args:
        extra: Additional characters of the vocabulary, where ``\n``, ``\t``, ``\r`` and
            ``\\`` mean a newline, a tab, a return and a backslash.
    """

    extra: str = ""

    def make(self, texts: Texts) -> Tokenizer:
        """Collect the characters of texts."""
        found = set(unescaped(self.extra))
        for text in texts():
            found.update(text)
        return CharacterTokenizer("".join(found))

    def identity(self) -> str:
        """Return the options."""
        return repr(self)
