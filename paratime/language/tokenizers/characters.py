"""Text to token ids and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError
from paratime.language.tokenizers.base import Recipe, Texts, Tokenizer, packed, unpacked
from paratime.language.tokenizers.bpe import BPE, JsonTokenizer, TokenizerFile
from paratime.language.tokenizers.tiktoken import RankTokenizer, Tiktoken


class ByteTokenizer(Tokenizer):
    """UTF-8 bytes as ids 0 to 255, and 256 as the document start."""

    start = 256
    pieces = [*(bytes([byte]) for byte in range(256)), b""]  # noqa: RUF012 (never changed)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the UTF-8 bytes."""
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)

    def spec(self) -> dict[str, Any]:
        """Return the name alone."""
        return {"name": "bytes"}


class CharacterTokenizer(Tokenizer):
    """Characters (Unicode code points) as ids in their order, and then the document start.

    Args:
        characters: All that there are, each once.
    """

    def __init__(self, characters: str) -> None:
        self._characters = "".join(sorted(set(characters)))
        self._codes = np.array([ord(c) for c in self._characters], dtype=np.uint32)
        self.start = len(self._codes)
        self.pieces = [*(character.encode() for character in self._characters), b""]

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids; a character that is not in the vocabulary is an error with its place."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        ids = np.searchsorted(self._codes, codes)
        known = np.append(self._codes, 0)[ids] == codes
        known &= ids < self.start
        if not known.all():
            place = int(np.argmin(known))
            what = f"line {text.count(chr(10), 0, place) + 1}, position {place}"
            expected = f"one of the {self.start} characters of the vocabulary"
            remedy = "add it to --data.tokenizer.extra, or use ByteTokenizer"
            raise InputError(what, expected, f"{text[place]!r} (U+{codes[place]:04X})", remedy)
        return ids.astype(np.int64)

    def spec(self) -> dict[str, Any]:
        """Return the characters."""
        return {"name": "characters", "characters": packed(self._characters)}

    @classmethod
    def unpacked(cls, characters: str) -> "CharacterTokenizer":
        """Make the tokenizer that a spec described."""
        return cls(unpacked(characters))


@dataclass(frozen=True)
class Characters(Recipe):
    """The characters of the training text; held-out text must have no others.

    There is no id for unknown characters, since then bits per byte would mean nothing.

    Args:
        extra: Characters that the vocabulary has besides.
    """

    extra: str = ""

    def make(self, texts: Texts) -> Tokenizer:
        """Return the tokenizer of all characters in some texts."""
        found = set(self.extra)
        for text in texts():
            found.update(text)
        return CharacterTokenizer("".join(found))

    def identity(self) -> str:
        """Return the recipe itself."""
        return repr(self)


TOKENIZERS = (ByteTokenizer, Characters, BPE, TokenizerFile, Tiktoken)
"""Recipes that every command line may name without their modules."""


def from_spec(spec: dict[str, Any]) -> Tokenizer:
    """Make the tokenizer that ``Tokenizer.spec`` described.

    Raises:
        InputError: The description is of none that there is.
    """
    made: dict[str, Callable[..., Tokenizer]] = {
        "bytes": ByteTokenizer,
        "characters": CharacterTokenizer.unpacked,
        "tokenizer.json": JsonTokenizer.unpacked,
        "tiktoken": RankTokenizer.unpacked,
    }
    name = spec.get("name")
    if name not in made:
        remedy = "use the version of paratime that wrote it"
        raise InputError("tokenizer", f"one of: {', '.join(made)}", str(name), remedy)
    options = {key: value for key, value in spec.items() if key != "name"}
    return made[str(name)](**options)
