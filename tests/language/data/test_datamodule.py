"""Text to batches of windows."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from language.documents import DOCUMENTS, TOKENIZER, tokens, write

from paratime.errors import InputError
from paratime.language import (
    PreparedCorpus,
    TextFiles,
)
from paratime.language.commands.prepare import run as prepare_corpus
from paratime.language.data.datamodule import TokenData
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.bpe import BPE
from paratime.language.tokenizers.characters import Characters
from paratime.training.batches.samplers import ContiguousSampler


@pytest.mark.parametrize("text", ("a", "ab", "0123456789" * 2), ids=len)
def test_a_tiny_text_is_refused_in_one_line(text, tmp_path):
    data = TokenData(TextFiles(write(tmp_path, {"a.txt": text})), cache_dir=str(tmp_path))
    data.setup("fit")
    for loader in (data.train_dataloader, data.val_dataloader, data.test_dataloader):
        with pytest.raises(InputError, match=r"(at least 2 tokens|context_length)"):
            loader()


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
        prepare_corpus(source, out, recipe or TOKENIZER, processes=1, shard_tokens=999)
        prepared = TokenData(PreparedCorpus(out), context_length=32, batch_size=4)
        assert equal(batches(cached), batches(prepared))
        assert prepared.spec == cached.spec and cached.spec.context_length == 32
        assert [*cached.spec.corpus] == ["train", "val", "test"]
        for loader in ("val_dataloader", "test_dataloader"):
            assert equal([*getattr(cached, loader)()], [*getattr(prepared, loader)()])

    def test_a_prepared_folder_has_its_own_tokenizer_and_splits(self, tmp_path):
        tokens(tmp_path / "corpus")
        for options in ({"tokenizer": TOKENIZER}, {"hold_out": HoldOut(val=0.3)}):
            with pytest.raises(InputError, match="leave tokenizer and hold_out out"):
                TokenData(PreparedCorpus(str(tmp_path / "corpus")), **options)

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
            ContiguousSampler(1, 2, 0)


def data_again(data: TokenData, epoch: int):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return loader
