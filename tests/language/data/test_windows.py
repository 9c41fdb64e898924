"""Windows of a stream of tokens."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from language.documents import DOCUMENTS, TOKENIZER, held_out, tokens

from paratime.errors import InputError
from paratime.language import (
    InMemory,
)
from paratime.language.data.windows import ShuffledWindows, TokenWindows


def windows(folder: Path, length: int) -> TokenWindows:
    return TokenWindows(tokens(folder / "corpus"), TOKENIZER, length, split="train")


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
            w = TokenWindows(ids, TOKENIZER, length, split="train")
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

    def test_a_token_beyond_the_vocabulary(self):
        stream = np.arange(40) + TOKENIZER.vocab_size - 20
        w = TokenWindows(stream, TOKENIZER, 10, split="train")
        w[9]
        with pytest.raises(InputError, match=r"tokens: expected ids below .*, got"):
            w[10]

    def test_a_window_longer_than_the_data(self, tmp_path):
        with pytest.raises(InputError, match=r"context_length: expected 1 to \d+, .* got 100000; "):
            windows(tmp_path, 100_000)
