"""Tokenizers as files that transformers can load."""

import json
from typing import Any

from paratime.language.tokenizers.bpe import JsonTokenizer, byte_alphabet
from paratime.language.tokenizers.catalog import tokenizer_from_spec
from paratime.language.tokenizers.characters import ByteTokenizer

BYTES_START = "<|start|>"


def tokenizer_files(spec: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return files, by name, from which transformers loads a tokenizer with the same ids.

    The document start precedes each text, and is also the end of text and the padding. Only
    tokenizers of bytes and of ``tokenizer.json`` have such files.

    Args:
        spec: The tokenizer's ``spec()``, or None.
    """
    tokenizer = None if spec is None else tokenizer_from_spec(spec)
    if isinstance(tokenizer, ByteTokenizer):
        content, start = _bytes(), BYTES_START
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
    """Return the ``tokenizer.json`` of ByteTokenizer."""
    ids = dict(sorted(byte_alphabet().items(), key=lambda item: item[1]))
    start = {"id": ByteTokenizer.start, "content": BYTES_START, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    return {
        "version": "1.0",
        "added_tokens": [start | flags],
        "pre_tokenizer": level | {"use_regex": False},
        "decoder": level | {"use_regex": False},
        "model": {"type": "BPE", "vocab": ids | {BYTES_START: ByteTokenizer.start}, "merges": []},
    }


def _begin_with(token: str, number: int) -> dict[str, Any]:
    start = {"SpecialToken": {"id": token, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {
        "type": "TemplateProcessing",
        "single": [start, texts[0]],
        "pair": [start, *texts],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }
