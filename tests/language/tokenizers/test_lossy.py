"""Bytes are those of the text, whatever a tokenizer makes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from language.vocabularies import RANKS, with_fallback
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from paratime.errors import InputError
from paratime.language import Document, InMemory, PreparedCorpus, TokenSpec
from paratime.language.commands.prepare import run as prepare_corpus
from paratime.language.data.corpus import shards
from paratime.language.data.datamodule import TokenData
from paratime.language.evaluation.evaluate import evaluate
from paratime.language.generation.generate import generate
from paratime.language.generation.sampling import Sampling
from paratime.language.model.task import LanguageTask
from paratime.language.tokenizers.base import Tokenizer, keeps_bytes
from paratime.language.tokenizers.bpe import PROBE, START, JsonTokenizer
from paratime.language.tokenizers.characters import ByteTokenizer
from paratime.language.tokenizers.tiktoken import RankTokenizer
from paratime.layers.encoder import Encoder
from paratime.layers.recurrent import ParaGRU

PIECES = (*"ab e\n\u2581", "e\u0301", "\ufb01", "\u212b", "\ufdfa", "é", "漢", "🙂", "the ", "  ")
ALTERED = "cafe\u0301 \ufb01 the \n"


def byte_level(normalizer=None, *, alphabet: bool = True, prefix: bool = False) -> JsonTokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
        show_progress=False,
    )
    made.train_from_iterator(["hello every body, the cat " + PROBE] * 3, trainer)
    return JsonTokenizer(made.to_str(), made.token_to_id(START))


def metaspace() -> JsonTokenizer:
    return JsonTokenizer(with_fallback().to_str(), 1)


KINDS = {
    "bytes": ByteTokenizer,
    "plain": byte_level,
    "NFC": lambda: byte_level(normalizers.NFC()),
    "NFKC": lambda: byte_level(normalizers.NFKC()),
    "strip": lambda: byte_level(normalizers.Strip()),
    "words": lambda: byte_level(normalizers.Replace("the", "a")),
    "prefix": lambda: byte_level(prefix=True),
    "metaspace": metaspace,
    "holes": lambda: byte_level(alphabet=False),
    "tiktoken": lambda: RankTokenizer(RANKS, r" ?\p{L}+|\s+|[^\s\p{L}]+", 260),
    "tiktoken with holes": lambda: RankTokenizer(RANKS, r"\p{L}+", 260),
}


@pytest.fixture(params=KINDS, scope="module")
def tokenizer(request) -> Tokenizer:
    return KINDS[request.param]()


@settings(deadline=None, max_examples=60, derandomize=True)
@given(parts=st.lists(st.sampled_from(PIECES), max_size=20))
def test_the_bytes_of_tokens_are_those_of_the_text_or_it_is_refused(tokenizer, parts):
    text = "".join(parts)
    try:
        found = tokenizer.measured(text)
    except InputError as error:
        assert " as " in str(error) and "\n" not in str(error)
        return
    assume(len(found.ids))
    assert found.num_bytes.sum() == len(text.encode()) and found.num_bytes.min() >= 0
    back = b"".join(tokenizer.pieces[i] for i in found.ids)
    assert bool(found.altered) == (back not in (text.encode(), b" " + text.encode()))


def test_bytes_outside_of_what_is_altered_are_those_of_the_tokens():
    made = byte_level(normalizers.NFC())
    found = made.measured("the " * 50 + "e\u0301" + " cat" * 50)
    more = found.num_bytes - made.byte_counts[found.ids]
    (where,) = np.flatnonzero(more)
    assert more.sum() == 1 and abs(int(found.num_bytes[:where].sum()) - 200) <= 3


@pytest.mark.parametrize("kind", ("holes", "tiktoken with holes"))
def test_text_without_tokens_is_refused_with_an_example(kind):
    document = Document("a.txt", "hello, früh")
    with pytest.raises(InputError, match=r"a\.txt: text: expected .* got '.*' as '.*' at char"):
        document.encoded(KINDS[kind]())


def test_a_tokenizer_that_lowers_letters_is_refused():
    with pytest.raises(InputError, match="back from its tokens, got 'ab, c!"):
        byte_level(normalizers.Lowercase())


@pytest.mark.parametrize("kind", ("NFC", "NFKC", "strip", "prefix", "metaspace"))
@pytest.mark.parametrize("processes", (1, 2))
def test_a_corpus_counts_the_bytes_of_its_texts(kind, processes, tmp_path, caplog):
    if processes == 2 and kind != "NFC":
        pytest.skip("the same code")
    documents = [Document(f"d{i}", f"{i} {ALTERED}" * (i % 5 + 1)) for i in range(40)]
    recipe, out = KINDS[kind](), str(tmp_path / "a")
    prepare_corpus(InMemory(documents), out, recipe, processes=processes, shard_tokens=100)
    assert ("texts do not come back from their tokens, such as" in caplog.text) == (
        kind not in ("prefix", "metaspace")
    )
    entries = shards.manifest(Path(out))["splits"]
    total = sum(len(d.text.encode()) for d in documents)
    assert sum(entry["bytes"] for entry in entries.values()) == total
    for mode in ("packed", "stream"):
        data = TokenData(PreparedCorpus(out), context_length=1, batch_size=1, mode=mode)
        data.setup("fit")
        loader = data.train_dataloader()
        counted = sum(int(batch["num_bytes"]) for batch in loader)
        assert abs(counted - entries["train"]["bytes"]) <= 3  # an epoch leaves out a token or two
    again = str(tmp_path / "b")
    prepare_corpus(PreparedCorpus(out), again, recipe, processes=1, shard_tokens=77)
    copied = shards.manifest(Path(again))["splits"]
    assert {k: x["bytes"] for k, x in copied.items()} == {k: x["bytes"] for k, x in entries.items()}


@pytest.mark.parametrize("kind", ("NFC", "strip", "prefix"))
def test_an_evaluation_counts_the_bytes_of_its_texts(kind, caplog):
    torch.manual_seed(0)
    made = KINDS[kind]()
    task = LanguageTask(Encoder(16, 1, ParaGRU), TokenSpec(made.vocab_size, made.spec()))
    texts = [ALTERED * 3, "plain"]
    scores = evaluate(task, [Document(str(i), text) for i, text in enumerate(texts)]).documents
    assert [score.bytes for score in scores] == [len(text.encode()) for text in texts]
    assert ("1 of 2 texts do not come back" in caplog.text) == (kind != "prefix")
    caplog.clear()
    list(generate(task, "e\u0301 \n", Sampling(max_new_tokens=1)))
    assert ("the tokenizer changes the prompt: " in caplog.text) == (kind != "prefix")


@pytest.mark.parametrize("kind", ("plain", "NFC"))
def test_a_corpus_of_an_earlier_version_can_be_read(kind, tmp_path, caplog):
    made, out = KINDS[kind](), tmp_path / "a"
    documents = [Document(f"d{i}", f"{i} the cat") for i in range(40)]
    prepare_corpus(InMemory(documents), str(out), made, processes=1)
    about = json.loads((out / shards.MANIFEST).read_text())
    for entry in about["splits"].values():
        del entry["corrected"], entry["corrections"]
    del about["inventory"]
    (out / shards.MANIFEST).write_text(json.dumps(about | {"format": 2}))
    data = TokenData(PreparedCorpus(str(out)), context_length=4, batch_size=2)
    data.setup("fit")
    assert next(iter(data.train_dataloader()))["num_bytes"].min() >= 0
    assert data.spec.corpus is None
    assert ("is of an earlier version" in caplog.text) == (not keeps_bytes(made)) == (kind == "NFC")
