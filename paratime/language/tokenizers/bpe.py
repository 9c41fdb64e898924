"""Tokenizers of the package ``tokenizers``: trained here, or read from ``tokenizer.json``."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError, check_at_least, one_line
from paratime.io.packages import import_package
from paratime.io.paths import expanded
from paratime.language.tokenizers.base import Texts, Tokenizer, TokenizerRecipe, pack, unpack

START = "<|endoftext|>"
STARTS = ("<|begin_of_text|>", START, "<|startoftext|>", "<s>", "<bos>", "[BOS]")
"""Common names of the document start; the first one in the vocabulary counts."""

LONG = re.compile(r"(\S{1000})")
"""Part of a word that is too long for any language, such as an encoded picture."""

PROBE = "Ab, c!\n  d\té 漢字 🙂 0"
"""A text that a reversible tokenizer must reproduce."""


class JsonTokenizer(Tokenizer):
    """A tokenizer described by ``tokenizer.json``; byte-level, or with byte fallback.

    Special tokens in a text are treated as plain text. A space that the tokenizer puts before each
    text does not count among its bytes.

    Args:
        content: The content of the file.
        start: Id that starts a document.
        name: The file's name, for messages.

    Attributes:
        content: The content of the file.
        start_token: The document start in the file's vocabulary.

    Raises:
        InputError: The content is invalid, the start is unknown, or texts are not reproduced.
    """

    def __init__(self, content: str, start: int, name: str = "tokenizer") -> None:
        tokenizers = import_package("tokenizers", what=name, extra="language")
        try:
            self._encoder = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # the package has no class of its own for it
            raise InputError(
                name, "a tokenizer.json", one_line(error), "save it with the package tokenizers"
            ) from None
        self._encoder.no_truncation()
        self._encoder.no_padding()
        self._encoder.encode_special_tokens = True
        self.content = content
        self.pieces = _pieces(json.loads(content), name)
        token = self._encoder.id_to_token(start)
        if token is None:
            raise InputError(name, "an id that starts documents", str(start), "name another")
        self.start, self.start_token = start, str(token)
        self.pieces[start] = b""
        given = b"".join(self.pieces[i] for i in self.encode(PROBE)).decode(errors="replace")
        if given.removeprefix(" ") != PROBE:
            raise InputError(
                name, f"{PROBE!r} back from its tokens", repr(given), "use a byte-level one"
            )

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids."""
        return np.array(self._encoder.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def normalized(self, text: str) -> str:
        """Return what the file's normaliser makes of a text."""
        normalizer = self._encoder.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def spec(self) -> dict[str, Any]:
        """Return the file's content and the document start."""
        return {
            "name": "tokenizer.json",
            "content": pack(self.content),
            "start": self.start,
        }

    @classmethod
    def restored(cls, content: str, start: int) -> "JsonTokenizer":
        """Return the tokenizer of a spec."""
        return cls(unpack(content), start)


@dataclass(frozen=True)
class TokenizerFile(TokenizerRecipe):
    """A ``tokenizer.json`` of the package ``tokenizers``, such as most models on the hub have.

    Args:
        path: The file.
        start: The token that starts documents; by default the first of the common ones.
    """

    path: str
    start: str | None = None

    def make(self, texts: Texts) -> Tokenizer:
        """Return the tokenizer of the file."""
        return self._read()

    def identity(self) -> str:
        """Return name, vocabulary size and hash."""
        return self._read().identity()

    def _read(self) -> JsonTokenizer:
        try:
            content = Path(expanded(self.path)).read_text(encoding="utf-8")
            added = {token["content"]: token["id"] for token in json.loads(content)["added_tokens"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                self.path,
                expected="a tokenizer.json",
                got=one_line(error),
                remedy=f"paths are relative to the working directory, {Path.cwd()}",
            ) from None
        start = self.start or next((name for name in STARTS if name in added), None)
        if start not in added:
            raise InputError(
                f"document start of {self.path}",
                expected=f"one of its special tokens {', '.join(added)}"[:200],
                got=start or "none of the usual names",
                remedy="give --data.tokenizer.start",
            )
        return JsonTokenizer(content, added[start], self.path)


@dataclass(frozen=True)
class BPE(TokenizerRecipe):
    """Byte-level byte-pair encoding, learned from the training text.

    Args:
        vocab_size: Number of ids, at least 257; a short text yields fewer.
        learn_from: Number of characters at the beginning of the training text to learn from.
    """

    vocab_size: int = 8192
    learn_from: int = 2**29

    def __post_init__(self) -> None:
        check_at_least(257, vocab_size=self.vocab_size)
        check_at_least(1, learn_from=self.learn_from)

    def make(self, texts: Texts) -> Tokenizer:
        """Learn the tokenizer from texts."""
        tokenizers = import_package("tokenizers", what="BPE", extra="language")
        byte_level = tokenizers.pre_tokenizers.ByteLevel
        learner = tokenizers.Tokenizer(tokenizers.models.BPE())
        learner.pre_tokenizer = byte_level(add_prefix_space=False)
        learner.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=[START],
            initial_alphabet=byte_level.alphabet(),
            show_progress=False,
        )
        learner.train_from_iterator(self._beginning(texts()), trainer)
        return JsonTokenizer(learner.to_str(), learner.get_vocab()[START])

    def identity(self) -> str:
        """Return the options."""
        return repr(self)

    def _beginning(self, texts: Iterator[str]) -> Iterator[str]:
        """Yield texts up to the size; split very long words, whose time grows quadratically."""
        left = self.learn_from
        for text in texts:
            yield from LONG.split(text[:left])
            left -= len(text)
            if left <= 0:
                return


def _pieces(config: dict[str, Any], name: str) -> list[bytes]:
    """Return the bytes of each token; special tokens have none."""
    vocab = config["model"]["vocab"]
    if isinstance(vocab, list):  # of Unigram: tokens with their scores
        vocab = {token: i for i, (token, _) in enumerate(vocab)}
    kinds = {*_kinds(config["decoder"]), *_kinds(config["pre_tokenizer"])}
    if "ByteLevel" in kinds:
        alphabet = byte_alphabet()
        pieces = {i: _byte_level(token, alphabet) for token, i in vocab.items()}
    elif kinds & {"ByteFallback", "Metaspace"}:
        pieces = {i: _with_fallback(token) for token, i in vocab.items()}
    else:
        raise InputError(
            name,
            expected="a byte-level decoder, or one with byte fallback",
            got=", ".join(sorted(kinds)) or "none",
            remedy="use another tokenizer",
        )
    for token in config["added_tokens"]:
        pieces[token["id"]] = b"" if token["special"] else token["content"].encode()
    return [pieces.get(i, b"") for i in range(max(pieces) + 1)]


def _kinds(part: dict[str, Any] | None) -> list[str]:
    """Return the type of a decoder, or the types in a sequence."""
    part = part or {}
    inner = part.get("decoders") or part.get("pretokenizers") or []
    return [kind for each in inner for kind in _kinds(each)] or [part.get("type", "none")]


def byte_alphabet() -> dict[str, int]:
    """Return the byte of each character in GPT-2's alphabet.

    Printable bytes stand for themselves; the others are, in order, the characters from U+0100 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(256 + i): byte for i, byte in enumerate(others)}


def _byte_level(token: str, alphabet: dict[str, int]) -> bytes:
    known = all(character in alphabet for character in token)
    return bytes(alphabet[character] for character in token) if known else token.encode()


def _with_fallback(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()
