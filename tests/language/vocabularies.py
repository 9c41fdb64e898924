"""Tokenizers of every kind."""

import base64
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers

from paratime.language.tokenizers.base import Tokenizer, unpack
from paratime.language.tokenizers.bpe import BPE, TokenizerFile
from paratime.language.tokenizers.characters import ByteTokenizer, Characters
from paratime.language.tokenizers.tiktoken import Tiktoken

TEXTS = (
    "",
    "plain",
    "naïve café",
    "漢字 🙂 e\u0301",
    "a<|endoftext|>b <s>\n\n  c\td\r\n",
    "\0 \x7f",
)


LEARNED = ["the cat sat on the mat, 12 times 345. naïve naïve", *TEXTS]
RANKS = {bytes([i]): i for i in range(256)} | {
    b"th": 256,
    b"the": 257,
    b" the": 258,
    "é".encode(): 259,
}


def tiktoken_file(folder: Path) -> str:
    lines = [f"{base64.b64encode(piece).decode()} {i}" for piece, i in RANKS.items()]
    (folder / "a.tiktoken").write_text("\n".join(lines))
    return str(folder / "a.tiktoken")


def with_fallback() -> tokenizers.Tokenizer:
    """Return a tokenizer in the manner of Llama 2: a space before the text, bytes at need."""
    words = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
        "▁",
        "t",
        "h",
        "▁t",
        "é",
    ]
    vocab = {word: i for i, word in enumerate(words)}
    made = tokenizers.Tokenizer(
        models.BPE(vocab, [("▁", "t")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(["<s>", "</s>"])
    return made


def make(kind: str, folder: Path) -> Tokenizer:
    if kind == "file":
        learned = BPE(270).make(lambda: iter(LEARNED))
        (folder / "tokenizer.json").write_text(unpack(learned.spec()["content"]), encoding="utf-8")
    if kind == "fallback":
        with_fallback().save(str(folder / "tokenizer.json"))
    recipes = {
        "bytes": ByteTokenizer(),
        "characters": Characters(),
        "bpe": BPE(300),
        "file": TokenizerFile(str(folder / "tokenizer.json")),
        "fallback": TokenizerFile(str(folder / "tokenizer.json")),
        "tiktoken": Tiktoken(path=str(folder / "a.tiktoken")),
    }
    tiktoken_file(folder)
    return recipes[kind].make(lambda: iter(LEARNED))
