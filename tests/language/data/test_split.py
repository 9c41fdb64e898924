"""Which documents are held out."""

from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from language.documents import DOCUMENTS, held_out

from paratime.errors import InputError
from paratime.language import (
    Document,
    InMemory,
    Quickstart,
    Splits,
)
from paratime.language.data import split as corpus
from paratime.language.data.split import HoldOut, Inventory


def splits(documents, **options) -> dict[str, str]:
    """Return the split of each text."""
    found = HoldOut(**options).assign(documents)
    return {d.text: split for split, part in found.items() for d in part}


@st.composite
def collections(draw) -> tuple[list[Document], list[Document]]:
    """Draw texts, and the same ones among others, in another order and by other names."""
    count = draw(st.integers(3, 200))
    more = draw(st.integers(0, 100))
    random = draw(st.randoms(use_true_random=False))
    before = [Document(f"a{i}", f"text {i} {random.random()}") for i in range(count)]
    after = [Document(f"b{i}", d.text) for i, d in enumerate(before)]
    after += [Document(f"c{i}", f"another {i} {random.random()}") for i in range(more)]
    random.shuffle(after)
    return before, after


class TestGrowth:
    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(collections(), st.integers(0, 5))
    def test_no_document_that_was_trained_on_is_held_out_later(self, documents, seed):
        drawn = HoldOut(seed=seed)
        assume(any(drawn._split(drawn._draw(x)) == "train" for x in documents[0]))
        before, after = (splits(some, seed=seed) for some in documents)
        assert all(after[text] == "train" for text, split in before.items() if split == "train")

    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(collections(), st.integers(0, 5))
    def test_only_the_one_document_of_a_split_moves(self, documents, seed):
        options = {"val": 0.2, "test": 0.2, "seed": seed}
        before, after = (splits(some, **options) for some in documents)
        sizes = Counter(before.values())
        assert all(sizes[was] == 1 for text, was in before.items() if after[text] != was)

    def test_a_hundred_documents_and_one_more(self):
        many = [Document(f"{i}.txt", f"text {i}") for i in range(100)]
        one = Document("050a.txt", "one more")
        before, after = splits(many), splits([*many[:50], one, *many[50:]])
        assert {text: after[text] for text in before} == before

    def test_copies_share_a_split(self):
        many = [Document(f"{i}", f"text {i % 30}") for i in range(900)]
        found = HoldOut(val=0.3, test=0.3).assign(many)
        texts = [{d.text for d in part} for part in found.values()]
        assert sum(map(len, texts)) == len(set.union(*texts)) == 30


class TestInventory:
    def inventory(self, documents, **options) -> dict[str, str]:
        found = Inventory()
        assert len(list(found.watch(HoldOut(**options).parts(InMemory(documents))))) >= 1
        return found.described()

    def test_it_is_of_contents_and_splits(self):
        one = self.inventory(DOCUMENTS)
        renamed = [Document("x" + d.name, d.text) for d in reversed(DOCUMENTS)]
        assert self.inventory(renamed) == one and [*one] == ["train", "val", "test"]
        assert one["val"].startswith("1 documents, ")
        changed = [Document("d", DOCUMENTS[0].text + "x"), *DOCUMENTS[1:]]
        for other in (self.inventory(changed), self.inventory(DOCUMENTS, seed=1)):
            assert other != one


class TestHoldOut:
    def test_the_quickstart_holds_out_the_plays_that_its_figures_are_of(self):
        names = {k: [d.name for d in v] for k, v in held_out(Quickstart()).items()}
        assert names["val"] == ["antony-and-cleopatra", "twelfth-night"]
        assert names["test"] == ["hamlet", "richard-ii"] and len(names["train"]) == 34

    def test_splits_share_no_document_and_lose_none(self):
        split = HoldOut(val=0.2, test=0.1).assign(DOCUMENTS)
        names = [d.name for part in split.values() for d in part]
        assert sorted(names) == sorted(d.name for d in DOCUMENTS)
        assert all(split.values())
        assert HoldOut(val=0.2, test=0.1).assign(DOCUMENTS) == split
        assert HoldOut(val=0.2, test=0.1, seed=1).assign(DOCUMENTS) != split

    def test_shares_are_kept_on_average(self):
        many = [Document(f"d{i}", f"text {i}") for i in range(5000)]
        split = HoldOut(val=0.2, test=0.1).assign(many)
        sizes = {name: len(part) / 5000 for name, part in split.items()}
        assert sizes["val"] == pytest.approx(0.2, abs=0.02)
        assert sizes["test"] == pytest.approx(0.1, abs=0.02)

    @pytest.mark.parametrize("count", (1, 2))
    def test_few_documents_are_cut(self, count):
        split = HoldOut(val=0.25, test=0.25).assign(DOCUMENTS[:count])
        for i in range(count):
            assert "".join(split[name][i].text for name in corpus.SPLITS) == DOCUMENTS[i].text

    def test_three_documents_are_one_for_each_split(self):
        split = HoldOut().assign(DOCUMENTS[:3])
        assert {k: len(v) for k, v in split.items()} == {"train": 1, "val": 1, "test": 1}

    @pytest.mark.parametrize("count", (20, 1500))
    def test_documents_of_one_group_fall_into_one_split(self, count):
        some = [Document(f"d{i}", f"text {i}", group=f"g{i % 7}") for i in range(count)]
        split = HoldOut(val=0.2, test=0.2).assign(some)
        groups = {key: {d.group for d in part} for key, part in split.items()}
        assert sum(map(len, groups.values())) == 7 and all(groups.values())

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
