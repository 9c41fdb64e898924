"""Bytes as a vocabulary that the package tokenizers, and so transformers, can read."""

from typing import Any

from paratime.language.tokenizer import ByteTokenizer

START = "<|start|>"


def of_bytes() -> dict[str, dict[str, Any]]:
    """Return the files, by name, of a tokenizer with the ids of ``ByteTokenizer``.

    Text becomes UTF-8 bytes, each an id of its own; the document start comes before it, and is the
    end of text and the padding, too.
    """
    ids = {character: byte for byte, character in enumerate(_characters())}
    start = {"id": ByteTokenizer.start, "content": START, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    return {
        "tokenizer.json": {
            "version": "1.0",
            "added_tokens": [start | flags],
            "pre_tokenizer": level | {"use_regex": False},
            "post_processor": _begin_with_start(),
            "decoder": level | {"use_regex": False},
            "model": {"type": "BPE", "vocab": ids | {START: ByteTokenizer.start}, "merges": []},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": START,
            "eos_token": START,
            "pad_token": START,
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    }


def _characters() -> list[str]:
    """Return the printable characters that tokenizers writes bytes as.

    Bytes that are printable in Latin-1 stand for themselves, the others, in order, for the
    characters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _begin_with_start() -> dict[str, Any]:
    start = {"SpecialToken": {"id": START, "type_id": 0}}
    texts = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
    return {
        "type": "TemplateProcessing",
        "single": [start, texts[0]],
        "pair": [start, *texts],
        "special_tokens": {START: {"id": START, "ids": [ByteTokenizer.start], "tokens": [START]}},
    }
