"""Damaged corpora, and checksums."""

import json
import os

import pytest
from language.corpora import write

from paratime.errors import InputError
from paratime.language import (
    PreparedCorpus,
)
from paratime.language.data.corpus import encoding, shards
from paratime.language.tokenizers.bpe import BPE


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(encoding, "BATCH", 500)


class TestDamage:
    @pytest.mark.parametrize("name", ("train-00001.bin", "val.index", "val-00000.bin"))
    def test_a_corrupt_file_is_named(self, name, tmp_path):
        folder = write(tmp_path / "a")
        split = name[: name.index("-")] if "-" in name else "val"
        shards.open_split(folder, split)
        data = bytearray((folder / name).read_bytes())
        data[3] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(InputError, match=rf"{name}: expected sha256 .*; delete {folder}"):
            shards.open_split(folder, split)

    @pytest.mark.parametrize("name", ("manifest.json", "train-00000.bin", "tokenizer.json"))
    @pytest.mark.parametrize("damage", ("cut", "removed"))
    def test_a_damaged_corpus_is_refused(self, name, damage, tmp_path):
        path = write(tmp_path / "a") / name
        data = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(data[: len(data) // 2])
        with pytest.raises(InputError, match=r"delete|no manifest\.json in it") as error:
            shards.open_split(path.parent, "train")
            shards.saved_spec(path.parent)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("damage", ("cut", "another"))
    def test_a_tokenizer_that_did_not_make_the_tokens(self, damage, tmp_path):
        folder = write(tmp_path / "a", recipe=BPE(270))
        other = write(tmp_path / "b", recipe=BPE(280 if damage == "another" else 270))
        assert PreparedCorpus(str(folder)).tokenizer().vocab_size == 270
        spec = shards.saved_spec(other)
        if damage == "cut":
            spec["content"] = spec["content"][:-40]
        (folder / shards.TOKENIZER).write_text(json.dumps(spec))
        with pytest.raises(InputError, match=rf"expected .*, got .*; delete {folder}"):
            PreparedCorpus(str(folder)).tokenizer()

    def test_checksums_are_compared_once(self, tmp_path, monkeypatch):
        folder, hashed = write(tmp_path / "a"), []
        (folder / shards.VERIFIED).unlink()
        digest = shards.digest_of
        monkeypatch.setattr(shards, "digest_of", lambda p: hashed.append(p.name) or digest(p))
        shards.open_split(folder, "val")
        assert sorted(hashed) == ["val-00000.bin", "val-00001.bin", "val.bytes", "val.index"]
        shards.open_split(folder, "val")
        assert len(hashed) == 4
        os.utime(folder / "val.index")
        shards.open_split(folder, "val")
        assert hashed[4:] == ["val.index"]

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"expected a folder to write to, got .*"):
            write(tmp_path / "file" / "cache")

    def test_a_folder_with_something_else(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="got something in it; choose another"):
            write(tmp_path / "a")
