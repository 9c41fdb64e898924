"""The tokenizers by name, for command lines, configs and checkpoints."""

from collections.abc import Callable
from typing import Any

from paratime.errors import InputError
from paratime.language.tokenizers.base import Tokenizer
from paratime.language.tokenizers.bpe import BPE, JsonTokenizer, TokenizerFile
from paratime.language.tokenizers.characters import ByteTokenizer, Characters, CharacterTokenizer
from paratime.language.tokenizers.tiktoken import RankTokenizer, Tiktoken

TOKENIZERS = (ByteTokenizer, Characters, BPE, TokenizerFile, Tiktoken)
"""Recipes that the command line accepts by class name alone."""


def tokenizer_from_spec(spec: dict[str, Any]) -> Tokenizer:
    """Restore a tokenizer from its ``Tokenizer.spec``.

    Raises:
        InputError: The kind of tokenizer is unknown.
    """
    made: dict[str, Callable[..., Tokenizer]] = {
        "bytes": ByteTokenizer,
        "characters": CharacterTokenizer.restored,
        "tokenizer.json": JsonTokenizer.restored,
        "tiktoken": RankTokenizer.restored,
    }
    name = spec.get("name")
    if name not in made:
        raise InputError(
            "tokenizer", f"one of: {', '.join(made)}", str(name), "use the version that wrote it"
        )
    options = {key: value for key, value in spec.items() if key != "name"}
    return made[str(name)](**options)
