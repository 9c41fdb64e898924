"""Text to ids and back, whatever the tokenizer."""

import json
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import tokenizers
from language.vocabularies import RANKS, TEXTS, make, tiktoken_file
from tokenizers import models, pre_tokenizers

from paratime.errors import InputError
from paratime.language.tokenizers.base import Tokenizer, describe_tokenizer
from paratime.language.tokenizers.bpe import BPE, TokenizerFile
from paratime.language.tokenizers.catalog import tokenizer_from_spec
from paratime.language.tokenizers.characters import Characters
from paratime.language.tokenizers.tiktoken import RankTokenizer, Tiktoken


@pytest.fixture(params=("bytes", "characters", "bpe", "file", "fallback", "tiktoken"))
def tokenizer(request, tmp_path) -> Tokenizer:
    return make(request.param, tmp_path)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_text_and_back(text, tokenizer):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64 and tokenizer.start not in ids
    decode = tokenizer.decoder()
    back = "".join(decode(int(i)) for i in ids) + decode(tokenizer.start)
    prepends = b" t" in tokenizer.pieces and tokenizer.pieces[0] == b"<unk>"
    assert back == (" " + text if prepends and text else text)
    assert tokenizer.byte_counts[ids].sum() == len(back.encode())
    assert tokenizer.byte_counts.shape == (tokenizer.vocab_size,)
    assert tokenizer.byte_counts[tokenizer.start] == 0


def test_a_specification_is_plain_data_that_makes_it_again(tokenizer, tmp_path):
    for path in tmp_path.iterdir():
        path.unlink()
    spec = json.loads(json.dumps(tokenizer.spec()))
    twin = tokenizer_from_spec(spec)
    assert twin.spec() == tokenizer.spec() and twin.identity() == tokenizer.identity()
    assert twin.vocab_size == tokenizer.vocab_size and twin.start == tokenizer.start
    for text in TEXTS:
        assert twin.encode(text).tolist() == tokenizer.encode(text).tolist()
    assert len(describe_tokenizer(spec)) < 80 and str(tokenizer.vocab_size) in tokenizer.identity()


def test_an_unknown_specification():
    with pytest.raises(InputError, match=r"one of: bytes, characters, .* got morse"):
        tokenizer_from_spec({"name": "morse"})


@pytest.mark.parametrize("kind", ("bytes", "bpe", "tiktoken"))
def test_an_unfinished_character_is_held_back_then_shown_as_such(kind, tmp_path):
    tokenizer = make(kind, tmp_path)
    decode = tokenizer.decoder()
    by_piece = {piece: i for i, piece in enumerate(tokenizer.pieces)}
    first, second = (by_piece[bytes([b])] for b in "ë".encode())
    assert [decode(first), decode(second)] == ["", "ë"]
    assert [decode(first), decode(tokenizer.start)] == ["", "\ufffd"]
    assert [decode(second), decode(first), decode(first)] == ["\ufffd", "", "\ufffd"]


def test_characters_are_those_of_the_texts_and_no_others():
    tokenizer = Characters(extra="z").make(lambda: iter(("hello", "wörld 🙂")))
    assert tokenizer.vocab_size == len(set("hellowörld 🙂z")) + 1
    for text in ("hello\nworld?", "?", "\U0010ffff"):
        with pytest.raises(InputError, match="one of the 11 characters") as error:
            tokenizer.encode("hello wörld " + text)
        assert "position 1" in str(error.value)
    with pytest.raises(InputError, match=r"line 1, position 3: .* got '\?' \(U\+003F\); add it"):
        tokenizer.encode("he ?")


def test_bpe_learns_from_the_beginning_up_to_its_size():
    texts = ["abab" * 50, "cdcd" * 50]
    some = BPE(300, learn_from=200).make(lambda: iter(texts))
    every = BPE(300).make(lambda: iter(texts))
    assert b"abab" in some.pieces and b"cdcd" not in some.pieces and b"cdcd" in every.pieces
    assert BPE(258).make(lambda: iter(texts)).vocab_size == 258
    with pytest.raises(InputError, match="vocab_size: expected at least 257, got 256"):
        BPE(256)


def test_bpe_learns_from_very_long_words_in_time():
    """A single word of so many letters takes a minute or more."""
    text = "".join("ACGT"[i] for i in np.random.default_rng(0).integers(4, size=200_000))
    tokenizer = BPE(262).make(lambda: iter([text, "the cat"]))
    assert tokenizer.byte_counts[tokenizer.encode(text)].sum() == len(text)
    assert len(tokenizer.encode(text)) < 0.9 * len(text)
    words = ["the cat sat", "on the mat " * 500]
    assert list(BPE()._beginning(iter(words))) == words


def test_a_published_pattern_cuts_words():
    tokenizer = RankTokenizer(RANKS, r" ?\p{L}+|\s+|[^\s\p{L}]+", 260)
    assert tokenizer.encode("the the").tolist() == [257, 258]
    assert tokenizer.vocab_size == 261
    assert RankTokenizer(RANKS, r"\S+|\s+", 300).pieces[260:] == [b""] * 41


def test_files_that_are_no_tokenizers(tmp_path):
    path = tmp_path / "a.json"
    for content in ("{}", "no", "[]"):
        path.write_text(content)
        with pytest.raises(InputError, match=r"a\.json: expected a tokenizer\.json"):
            TokenizerFile(str(path)).identity()
    with pytest.raises(InputError, match="working directory"):
        TokenizerFile(str(tmp_path / "none")).identity()
    path.write_text("no ranks")
    with pytest.raises(InputError, match="expected lines of base64 text and a rank"):
        Tiktoken(path=str(path)).identity()


def test_a_tokenizer_that_does_not_give_texts_back(tmp_path):
    words = tokenizers.Tokenizer(models.WordLevel({"a": 0, "<s>": 1, "?": 2}, unk_token="?"))
    words.add_special_tokens(["<s>"])
    words.save(str(tmp_path / "words.json"))
    with pytest.raises(InputError, match=r"expected a byte-level decoder, .* got none"):
        TokenizerFile(str(tmp_path / "words.json")).identity()
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.save(str(tmp_path / "words.json"))
    with pytest.raises(InputError, match="back from its tokens, got"):
        TokenizerFile(str(tmp_path / "words.json")).identity()


def test_a_document_start_that_is_not_there(tmp_path):
    make("file", tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    with pytest.raises(InputError, match=r"special tokens <\|endoftext\|>, got <doc>"):
        TokenizerFile(str(tmp_path / "tokenizer.json"), start="<doc>").identity()
    content["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"give --data\.tokenizer\.start"):
        TokenizerFile(str(tmp_path / "tokenizer.json")).identity()


def test_options_of_tiktoken(tmp_path):
    path, few = tiktoken_file(tmp_path), str(tmp_path / "few.tiktoken")
    Path(few).write_text(
        "".join(f"{x}\n" for x in Path(path).read_text().split("\n") if "YQ==" not in x)
    )
    for recipe, message in (
        (Tiktoken(), "an encoding, or a path instead, got neither"),
        (Tiktoken("gpt2", path), "got both"),
        (Tiktoken("gpt0"), "encoding gpt0: expected an encoding, got .*of gpt2, "),
        (Tiktoken(path=path, start=5), "start: .* got 5; leave it out for 260"),
        (Tiktoken(path=few), "ranks: expected one of every byte, got none of 0x61"),
        (Tiktoken(path=path, pattern="("), "pattern: expected a regular expression"),
    ):
        with pytest.raises(InputError, match=message):
            recipe.identity()


@pytest.mark.parametrize("kind", ("characters", "bpe", "tiktoken"))
def test_a_specification_survives_a_parser_of_configs(kind, tmp_path):
    """The command line hands it from the data to the task, and parses what is in strings."""
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--spec", type=dict[str, Any])
    for spec in (make(kind, tmp_path).spec(), Characters().make(lambda: iter(["012"])).spec()):
        assert parser.parse_object({"spec": spec}).spec == spec
