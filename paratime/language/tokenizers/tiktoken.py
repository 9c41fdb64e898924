"""Tokenizers of the package ``tiktoken``: byte-pair encodings defined by ranks."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError, describe_error, one_line
from paratime.io.packages import import_package
from paratime.io.paths import expanded
from paratime.language.tokenizers.base import Texts, Tokenizer, TokenizerRecipe, pack, unpack

PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
)
"""How GPT-4's encoding (cl100k_base) cuts a text into words."""


class RankTokenizer(Tokenizer):
    """Byte-pair encoding by ranks; special tokens in a text are treated as plain text.

    Args:
        ranks: The id of each sequence of bytes.
        pattern: Regular expression of the words that a text is cut into.
        start: Id that starts a document.

    Raises:
        InputError: The start is the id of some bytes, a byte has no rank, or the pattern is
            invalid.
    """

    def __init__(self, ranks: dict[bytes, int], pattern: str, start: int) -> None:
        tiktoken = import_package("tiktoken", what="Tiktoken", extra="language")
        if lacking := [i for i in range(256) if bytes([i]) not in ranks]:
            raise InputError(
                "ranks", "one of every byte", f"none of {lacking[0]:#04x}", "name a whole file"
            )
        if start < 0 or start in set(ranks.values()):
            raise InputError(
                "start", "an unused id", str(start), f"leave it out for {max(ranks.values()) + 1}"
            )
        self._ranks, self._pattern, self.start = ranks, pattern, start
        by_id = {i: piece for piece, i in ranks.items()}
        self.pieces = [by_id.get(i, b"") for i in range(max(*by_id, start) + 1)]
        try:
            self._encoding = tiktoken.Encoding(
                "paratime", pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
            )
        except ValueError as error:
            raise InputError(
                "pattern", "a regular expression", one_line(error), "name the encoding's pattern"
            ) from None

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids."""
        return self._encoding.encode_to_numpy(text, disallowed_special=()).astype(np.int64)

    def spec(self) -> dict[str, Any]:
        """Return pattern, start and ranks: the lines of a ``.tiktoken`` file, compressed."""
        ordered = sorted(self._ranks.items(), key=lambda item: item[1])
        lines = "".join(f"{base64.b64encode(piece).decode()} {i}\n" for piece, i in ordered)
        given = {"pattern": pack(self._pattern), "ranks": pack(lines)}
        return {"name": "tiktoken", "start": self.start} | given

    @classmethod
    def restored(cls, pattern: str, start: int, ranks: str) -> "RankTokenizer":
        """Return the tokenizer of a spec."""
        return cls(_ranks(unpack(ranks).encode()), unpack(pattern), start)


@dataclass(frozen=True)
class Tiktoken(TokenizerRecipe):
    """An encoding of the package ``tiktoken``, by its name, or from a ``.tiktoken`` file.

    Args:
        encoding: Its name, such as gpt2, cl100k_base or o200k_base; downloaded once.
        path: A ``.tiktoken`` file instead.
        pattern: How a file's encoding cuts a text into words; GPT-4's by default.
        start: Id that starts a document; by default that of ``<|endoftext|>``, or for a file the
            one after its last.

    Raises:
        InputError: Neither name nor file is given, or both; the name is unknown, or its download
            failed.
    """

    encoding: str | None = None
    path: str | None = None
    pattern: str = PATTERN
    start: int | None = None

    def make(self, texts: Texts) -> Tokenizer:
        """Return the tokenizer."""
        return self._read()

    def identity(self) -> str:
        """Return name, vocabulary size and hash."""
        return self._read().identity()

    def _read(self) -> RankTokenizer:
        if (self.encoding is None) == (self.path is None):
            raise InputError(
                "Tiktoken",
                expected="an encoding, or a path instead",
                got="neither" if self.path is None else "both",
                remedy="give --data.tokenizer.encoding gpt2",
            )
        if self.path is None:
            return self._named()
        try:
            ranks = _ranks(Path(expanded(self.path)).read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(
                self.path, "lines of base64 text and a rank", one_line(error), "correct the path"
            ) from None
        start = len(ranks) if self.start is None else self.start
        return RankTokenizer(ranks, self.pattern, start)

    def _named(self) -> RankTokenizer:
        tiktoken = import_package("tiktoken", what="Tiktoken", extra="language")
        try:
            found = tiktoken.get_encoding(str(self.encoding))
        except Exception as error:  # unknown names, and failed downloads
            names = ", ".join(tiktoken.list_encoding_names())
            raise InputError(
                f"encoding {self.encoding}",
                expected="an encoding",
                got=describe_error(error),
                remedy=f"of {names}, or give --data.tokenizer.path",
            ) from None
        start = found.eot_token if self.start is None else self.start
        return RankTokenizer(found._mergeable_ranks, found._pat_str, start)


def _ranks(content: bytes) -> dict[bytes, int]:
    pairs = (line.split() for line in content.splitlines() if line)
    ranks = {base64.b64decode(piece, validate=True): int(rank) for piece, rank in pairs}
    if not ranks:
        raise ValueError("no lines")
    return ranks
