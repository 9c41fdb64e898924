"""Tokenizers of the package ``tokenizers``: trained here, or any ``tokenizer.json``."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError, check_at_least, one_line
from paratime.language.data.sources.base import missing
from paratime.language.tokenizers.base import Recipe, Texts, Tokenizer, packed, unpacked

START = "<|endoftext|>"
STARTS = ("<|begin_of_text|>", START, "<|startoftext|>", "<s>", "<bos>", "[BOS]")
"""What document starts are called, the first that there is counts."""

LONG = re.compile(r"(\S{1000})")
"""A part of a word that is longer than any of a language, such as an encoded picture."""

PROBE = "Ab, c!\n  d\té 漢字 🙂 0"
"""A text that a reversible tokenizer gives back."""


class JsonTokenizer(Tokenizer):
    """A tokenizer as ``tokenizer.json`` describes it; byte-level, or falling back to bytes.

    Special tokens in a text are text like any other. Where it puts a space before each text, that
    is part of the first token, and of its bytes.

    Args:
        content: What is in the file.
        start: Id that starts a document.
        name: The file's name, for messages.

    Attributes:
        content: What is in the file.
        start_token: What the file calls the document start.

    Raises:
        InputError: The file is none, the start is unknown, or texts cannot be had back.
    """

    def __init__(self, content: str, start: int, name: str = "tokenizer") -> None:
        try:
            import tokenizers
        except ImportError:
            raise missing("tokenizers", name) from None
        try:
            self._encoder = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # the package raises nothing more precise
            remedy = "save it with the package tokenizers"
            raise InputError(name, "a tokenizer.json", one_line(error), remedy) from None
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
            remedy = "use a byte-level one, such as BPE trains"
            raise InputError(name, f"{PROBE!r} back from its tokens", repr(given), remedy)

    def encode(self, text: str) -> NDArray[np.int64]:
        """Return the ids."""
        return np.array(self._encoder.encode(text, add_special_tokens=False).ids, dtype=np.int64)

    def spec(self) -> dict[str, Any]:
        """Return the file's content and the document start."""
        return {"name": "tokenizer.json", "content": packed(self.content), "start": self.start}

    @classmethod
    def unpacked(cls, content: str, start: int) -> "JsonTokenizer":
        """Make the tokenizer that a spec described."""
        return cls(unpacked(content), start)


@dataclass(frozen=True)
class TokenizerFile(Recipe):
    """A ``tokenizer.json`` of the package ``tokenizers``, as most models of the hub have one.

    Args:
        path: The file.
        start: The token that starts documents; by default what is usual, if it has such a one.
    """

    path: str
    start: str | None = None

    def make(self, texts: Texts) -> Tokenizer:
        """Return the tokenizer of the file."""
        return self._read()

    def identity(self) -> str:
        """Return name, size and hash."""
        return self._read().identity()

    def _read(self) -> JsonTokenizer:
        try:
            content = Path(self.path).read_text(encoding="utf-8")
            added = {token["content"]: token["id"] for token in json.loads(content)["added_tokens"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = f"paths are taken from the working directory, {Path.cwd()}"
            raise InputError(self.path, "a tokenizer.json", one_line(error), remedy) from None
        start = self.start or next((name for name in STARTS if name in added), None)
        if start not in added:
            expected = f"one of its special tokens {', '.join(added)}"[:200]
            got, remedy = start or "none of the usual names", "give --data.tokenizer.start"
            raise InputError(f"document start of {self.path}", expected, got, remedy)
        return JsonTokenizer(content, added[start], self.path)


@dataclass(frozen=True)
class BPE(Recipe):
    """Byte-level byte-pair encoding, learned from the training text.

    Args:
        vocab_size: Number of ids, at least 257; fewer come out of a short text.
        learn_from: Characters of the training text to learn from, its beginning.
    """

    vocab_size: int = 8192
    learn_from: int = 2**29

    def __post_init__(self) -> None:
        check_at_least(257, vocab_size=self.vocab_size)
        check_at_least(1, learn_from=self.learn_from)

    def make(self, texts: Texts) -> Tokenizer:
        """Return the tokenizer that some texts give."""
        try:
            import tokenizers
            from tokenizers import decoders, models, pre_tokenizers, trainers
        except ImportError:
            raise missing("tokenizers", "BPE") from None
        learner = tokenizers.Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        learner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=[START],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        learner.train_from_iterator(self._beginning(texts()), trainer)
        return JsonTokenizer(learner.to_str(), learner.get_vocab()[START])

    def identity(self) -> str:
        """Return the recipe itself."""
        return repr(self)

    def _beginning(self, texts: Iterator[str]) -> Iterator[str]:
        """Yield texts up to the size, very long words in parts: time grows with their square."""
        left = self.learn_from
        for text in texts:
            yield from LONG.split(text[:left])
            left -= len(text)
            if left <= 0:
                return


def _pieces(config: dict[str, Any], name: str) -> list[bytes]:
    """Return the bytes of each token; special ones have none."""
    vocab = config["model"]["vocab"]
    if isinstance(vocab, list):  # Unigram's: tokens with their scores
        vocab = {token: i for i, (token, _) in enumerate(vocab)}
    kinds = {*_kinds(config["decoder"]), *_kinds(config["pre_tokenizer"])}
    if "ByteLevel" in kinds:
        alphabet = _byte_alphabet()
        pieces = {i: _byte_level(token, alphabet) for token, i in vocab.items()}
    elif kinds & {"ByteFallback", "Metaspace"}:
        pieces = {i: _with_fallback(token) for token, i in vocab.items()}
    else:
        got = ", ".join(sorted(kinds)) or "none"
        expected = "a byte-level decoder, or one with byte fallback"
        raise InputError(name, expected, got, "use another tokenizer")
    for token in config["added_tokens"]:
        pieces[token["id"]] = b"" if token["special"] else token["content"].encode()
    return [pieces.get(i, b"") for i in range(max(pieces) + 1)]


def _kinds(part: dict[str, Any] | None) -> list[str]:
    """Return the types of a decoder, or of those in a sequence."""
    inner = (part or {}).get("decoders") or (part or {}).get("pretokenizers") or []
    return (
        [kind for each in inner for kind in _kinds(each)]
        if inner
        else [(part or {}).get("type", "none")]
    )


def _byte_alphabet() -> dict[str, int]:
    """Return the byte of each character of GPT-2's alphabet.

    Printable bytes stand for themselves; the others, in order, for the characters from 256 on.
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
