"""Corpora on disk: whole or not there, the same however they come about, and checked."""

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from language.corpora import DOCUMENTS, contents, write

from paratime.errors import InputError
from paratime.language import (
    Document,
    InMemory,
    TokenFiles,
)
from paratime.language.data.corpus import builder, encoding, shards
from paratime.language.data.corpus.builder import CorpusBuilder
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.bpe import BPE
from paratime.language.tokenizers.characters import Characters

SLOW = """
import sys, time
from itertools import pairwise
from pathlib import Path
from paratime.language.data.corpus import builder, encoding
from paratime.language.data.sources.base import Document, InMemory
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.bpe import BPE

class Slow(InMemory):
    def documents(self):
        for document in self.made:
            time.sleep(0.0005)
            yield document

if __name__ == "__main__":
    builder.SECONDS, encoding.BATCH = 0.0, 500
    documents = [Document(f"d{i}", f"document {i}: " + "abc" * (i % 50)) for i in range(1, 400)]
    made = builder.CorpusBuilder(Slow(documents), BPE(270), HoldOut(), shard_tokens=1000)
    made.write(Path(sys.argv[1]))
"""


def progress(draft: Path) -> int:
    """Return how many documents the journal of a draft counts; all, when it is complete."""
    if (draft.parent / "killed").exists():
        return len(DOCUMENTS)
    try:
        return json.loads((draft / builder.JOURNAL).read_text()).get("done", 0)
    except FileNotFoundError:
        return 0


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(encoding, "BATCH", 500)


class TestWriting:
    @pytest.mark.parametrize("recipe", (None, BPE(300)), ids=repr)
    def test_the_same_bytes_with_one_process_and_with_two(self, recipe, tmp_path):
        one = contents(write(tmp_path / "one", recipe=recipe))
        assert len(one) > 8
        assert contents(write(tmp_path / "two", recipe=recipe, processes=2)) == one

    def test_all_documents_are_there_between_their_starts(self, tmp_path):
        folder = write(tmp_path / "a")
        for split, documents in HoldOut().assign(DOCUMENTS).items():
            ids = shards.open_split(folder, split)
            whole, ends = ids[0 : len(ids)], [*ids.starts.tolist(), len(ids)]
            assert np.flatnonzero(whole == 256).tolist() == ends[:-1]
            texts = [bytes(whole[a + 1 : b].astype(np.uint8)).decode() for a, b in pairwise(ends)]
            assert texts == [d.text for d in documents]

    @pytest.mark.parametrize("limit", (1, 7, 1000, 10**6))
    def test_a_document_longer_than_a_shard(self, limit, tmp_path):
        text = "0123456789" * 30
        folder = write(tmp_path / "a", InMemory([Document("a", text)]), shard_tokens=limit)
        ids = shards.open_split(folder, "train")
        assert bytes(ids[1 : len(ids)].astype(np.uint8)).decode() == text[:270]
        sizes = [entry["tokens"] for entry in shards.manifest(folder)["splits"]["train"]["shards"]]
        assert sum(sizes) == len(ids) == 271 and set(sizes[:-1]) <= {limit}

    def test_it_is_written_once(self, tmp_path):
        folder = write(tmp_path / "a")
        before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
        write(folder)
        assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
        with pytest.raises(InputError, match="got another corpus; choose another"):
            write(folder, InMemory(DOCUMENTS[1:]))

    def test_processes_that_prepare_at_once(self, tmp_path):
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(write, tmp_path / "a", recipe=BPE(260)) for _ in range(8)]
            assert {job.result() for job in jobs} == {tmp_path / "a"}
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
        assert len(shards.open_split(tmp_path / "a", "train")) > 0

    def test_empty_documents_are_left_out(self, tmp_path):
        some = [Document("e", ""), *DOCUMENTS[:5], Document("f", ""), *DOCUMENTS[5:]]
        found = contents(write(tmp_path / "a", InMemory(some)))
        expected = contents(write(tmp_path / "b"))
        del found["manifest.json"], expected["manifest.json"]
        assert found == expected

    @pytest.mark.parametrize("documents", ([], [Document("a", "")]), ids=("none", "empty"))
    def test_no_text(self, documents, tmp_path):
        with pytest.raises(InputError, match="expected at least one document with text, got none"):
            write(tmp_path / "a", InMemory(documents))
        assert not list(tmp_path.iterdir())


class TestRestarts:
    def test_a_killed_run_goes_on_to_the_same_bytes(self, tmp_path):
        """Kill it at random moments, until it is done; an uninterrupted one is the truth."""
        script = tmp_path / "slow.py"
        script.write_text(SLOW)
        chance, stops = random.Random(0), [0]
        environment = os.environ | {"PYTHONPATH": str(Path(builder.__file__).parents[4])}
        command = [sys.executable, str(script), str(tmp_path / "killed")]
        while not (tmp_path / "killed").exists():
            run = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            stop = stops[-1] + chance.randrange(150)
            while run.poll() is None and progress(tmp_path / ".killed.draft") <= stop:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, 0.05))
            run.kill()
            run.wait()
            stops.append(progress(tmp_path / ".killed.draft"))
        assert stops == sorted(stops) and len({*stops}) >= 4
        expected = contents(write(tmp_path / "whole", recipe=BPE(270)))
        found = contents(tmp_path / "killed")
        for name in ("manifest.json",):  # the class of the source has another name
            del found[name], expected[name]
        assert found == expected

    @pytest.mark.parametrize(
        ("stop", "processes"), ((1, 1), (5, 1), (14, 1), (22, 1), (40, 1), (4, 2))
    )
    def test_a_run_that_failed_goes_on(self, stop, processes, tmp_path, monkeypatch):
        whole = contents(write(tmp_path / "whole"))
        monkeypatch.setattr(builder, "SECONDS", 0.0)
        junk = encoding.Encoded(
            *("train", np.zeros(1500, "<u2"), np.zeros(1), np.ones((5, 2), int)),
            *(0, 1, "junk", 1, 0),
        )
        entries: list[int] = []

        def fail(self, draft, writers, done, enter=CorpusBuilder._enter):
            enter(self, draft, writers, done)
            entries.append(done)
            writers["train"].add(junk)
            if len(entries) == stop:
                raise OSError("disk full")
            raise KeyboardInterrupt

        monkeypatch.setattr(CorpusBuilder, "_enter", fail)
        for _ in range(stop):
            with pytest.raises((KeyboardInterrupt, InputError)):
                write(tmp_path / "again", processes=processes)
            assert not (tmp_path / "again").exists()
        assert len(entries) == stop and entries == sorted(set(entries))
        monkeypatch.undo()
        monkeypatch.setattr(encoding, "BATCH", 500)
        assert contents(write(tmp_path / "again")) == whole

    def test_a_draft_of_another_source_is_dropped(self, tmp_path, monkeypatch):
        def fail(*_):
            raise OSError("disk full")

        monkeypatch.setattr(CorpusBuilder, "_encode", fail)
        with pytest.raises(InputError, match="expected a folder to write to, got disk full"):
            write(tmp_path / "a", InMemory(DOCUMENTS[9:]))
        assert [p.name for p in tmp_path.iterdir()] == [".a.draft"]
        monkeypatch.undo()
        assert contents(write(tmp_path / "a")) == contents(write(tmp_path / "b"))

    def test_a_draft_without_a_journal_is_dropped(self, tmp_path):
        """As of a run that was killed between its last two steps."""
        write(tmp_path / "a", recipe=BPE(300)).rename(tmp_path / ".b.draft")
        found = contents(write(tmp_path / "b", recipe=BPE(270)))
        assert found == contents(write(tmp_path / "c", recipe=BPE(270)))

    def test_a_text_that_cannot_be_encoded_leaves_nothing(self, tmp_path):
        texts = [Document(f"d{i}", "ab\nc" * 9, group=str(i)) for i in range(40)]
        held = HoldOut().assign(texts)["val"][0]
        texts[texts.index(held)] = Document(held.name, "ab\nabe", group=held.group)
        message = (
            r"d\d+: line 2, position 5: expected one of the 4 characters .*, got 'e' \(U\+0065\)"
        )
        for processes in (1, 2):
            with pytest.raises(InputError, match=message):
                write(tmp_path / "a", InMemory(texts), Characters(), processes=processes)
            assert not list(tmp_path.iterdir())
        write(tmp_path / "a", InMemory(texts), Characters(extra="e"))


class TestTokens:
    def test_files_of_ids_give_the_documents_that_they_were_made_of(self, tmp_path):
        ends = [np.array([*d.text.encode(), 256], "<u2") for d in DOCUMENTS]
        np.concatenate(ends).tofile(tmp_path / "train.bin")
        source = TokenFiles([str(tmp_path / "train.bin")], start=256)
        found = [bytes(d.tokens.astype(np.uint8)).decode() for d in source.documents()]
        assert found == [d.text for d in DOCUMENTS]
        with pytest.raises(InputError, match=r"start: .* got 257, which none of the ids is"):
            list(TokenFiles([str(tmp_path)], start=257).documents())
        folder = write(tmp_path / "a", source, processes=2)
        count = sum(s["tokens"] for s in shards.manifest(folder)["splits"].values())
        assert count == sum(map(len, ends))

    @pytest.mark.parametrize("processes", (1, 2))
    def test_a_long_document_is_copied_bit_by_bit(self, processes, tmp_path):
        ids = np.random.default_rng(0).integers(256, size=9000).astype("<u4")
        ids.tofile(tmp_path / "a.bin")
        source = TokenFiles([str(tmp_path / "a.bin")], dtype="uint32")
        folder = write(tmp_path / "a", source, processes=processes)
        train = shards.open_split(folder, "train")
        assert train[0 : len(train)].tolist() == [256, *ids[:8100].tolist()]
        assert train.starts.tolist() == [0]

    def test_ids_that_the_tokenizer_does_not_know(self, tmp_path):
        np.array([5, 300, 7], "<u2").tofile(tmp_path / "a.bin")
        source = TokenFiles([str(tmp_path / "a.bin")])
        with pytest.raises(InputError, match=r"a\.bin.*expected ids from 0 to 256, got 300; name"):
            write(tmp_path / "a", source)
        np.array([5, 256, 7], "<u2").tofile(tmp_path / "a.bin")
        with pytest.raises(InputError, match="give the source this id as start"):
            write(tmp_path / "a", source)
        with pytest.raises(InputError, match="expected texts to learn from, got tokens"):
            write(tmp_path / "a", source, BPE(300))

    def test_half_an_id(self, tmp_path):
        (tmp_path / "a.bin").write_bytes(b"abc")
        with pytest.raises(InputError, match="expected ids of 2 bytes, got 3 bytes"):
            write(tmp_path / "a", TokenFiles([str(tmp_path / "a.bin")]))
