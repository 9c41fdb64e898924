"""Vocabularies as the package tokenizers, and so transformers, can read them."""

import json
from typing import Any

from paratime.language.tokenizers.bpe import JsonTokenizer
from paratime.language.tokenizers.characters import ByteTokenizer, from_spec

START = "<|start|>"


def tokenizer_files(spec: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the files, by name, from which transformers makes a tokenizer with the same ids.

    The document start comes before a text, and is the end of text and the padding, too. There are
    none for a vocabulary of another kind than bytes or ``tokenizer.json``.

    Args:
        spec: What the model says of its tokenizer.
    """
    tokenizer = None if spec is None else from_spec(spec)
    if isinstance(tokenizer, ByteTokenizer):
        content, start = _bytes(), START
    elif isinstance(tokenizer, JsonTokenizer):
        content, start = json.loads(tokenizer.content), tokenizer.start_token
    else:
        return {}
    special = {"bos_token": start, "eos_token": start, "pad_token": start}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    first = _begin_with(start, tokenizer.start)
    content |= {"post_processor": first, "truncation": None, "padding": None}
    return {"tokenizer.json": content, "tokenizer_config.json": config | special}


def _bytes() -> dict[str, Any]:
    """Return the description of a vocabulary of UTF-8 bytes, each an id of its own."""
    ids = {character: byte for byte, character in enumerate(_characters())}
    start = {"id": ByteTokenizer.start, "content": START, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    return {
        "version": "1.0",
        "added_tokens": [start | flags],
        "pre_tokenizer": level | {"use_regex": False},
        "decoder": level | {"use_regex": False},
        "model": {"type": "BPE", "vocab": ids | {START: ByteTokenizer.start}, "merges": []},
    }


def _characters() -> list[str]:
    """Return the printable characters that tokenizers writes bytes as.

    Bytes that are printable in Latin-1 stand for themselves, the others, in order, for the
    characters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _begin_with(token: str, number: int) -> dict[str, Any]:
    start = {"SpecialToken": {"id": token, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {
        "type": "TemplateProcessing",
        "single": [start, texts[0]],
        "pair": [start, *texts],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }
