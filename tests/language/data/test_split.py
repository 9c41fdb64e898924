"""Which documents are held out."""

from collections import Counter

import pytest
from language.documents import DOCUMENTS, held_out

from paratime.errors import InputError
from paratime.language import (
    Document,
    InMemory,
    Quickstart,
    Splits,
)
from paratime.language.data import split as corpus
from paratime.language.data.split import HoldOut


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
