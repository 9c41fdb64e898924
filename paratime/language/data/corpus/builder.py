"""A corpus on its way from a source to a folder, by as many runs as it takes.

It is written under another name, ``.NAME.draft``, with a journal of how far it is, and renamed when
complete, so that a folder with its name is a whole corpus. What lies in the folder is a function
of the source, the tokenizer and the split alone, not of how many processes or runs there were.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paratime.errors import InputError, check_at_least
from paratime.io.atomic import replacing
from paratime.language.data.corpus import shards
from paratime.language.data.corpus.encoding import dtype_of, encoded
from paratime.language.data.corpus.writer import SplitWriter
from paratime.language.data.sources.base import Source
from paratime.language.data.split import SPLITS, HoldOut
from paratime.language.tokenizers.base import Recipe, Tokenizer
from paratime.language.tokenizers.characters import from_spec

_log = logging.getLogger(__name__)

SHARD = 2**26
JOURNAL, LOCK = "journal.json", "lock"

SECONDS = 5.0
"""Between entries of the journal."""


class Preparation:
    """What goes into a corpus, and where it lies.

    Args:
        source: Where the documents come from.
        recipe: The tokenizer, or how it is learned from the training documents.
        hold_out: What is held out.
        processes: How many encode.
        shard_tokens: Tokens of a shard.
    """

    def __init__(
        self,
        source: Source,
        recipe: Recipe,
        hold_out: HoldOut,
        *,
        processes: int = 1,
        shard_tokens: int = SHARD,
    ) -> None:
        check_at_least(1, processes=processes, shard_tokens=shard_tokens)
        self._source, self._recipe, self._hold_out = source, recipe, hold_out
        self._processes, self._shard_tokens = processes, shard_tokens
        about = f"{shards.FORMAT} {source.identity()} {recipe.identity()} {hold_out} {shard_tokens}"
        self.identity = hashlib.sha256(about.encode()).hexdigest()

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Return the tokenizer of the corpus in a folder; learn it if that was not done yet."""
        if isinstance(self._recipe, Tokenizer):
            return self._recipe
        while not self._is_done(folder):
            with self._drafted(folder) as draft:
                if draft is not None:
                    return self._learned(draft)
        return from_spec(shards.saved_spec(folder))

    def write(self, folder: Path) -> Path:
        """Write the corpus into a folder, unless it is there; return the folder.

        Raises:
            InputError: Something else is in the folder, it cannot be written, a document cannot be
                encoded, or there is no text.
        """
        while not self._is_done(folder):
            with self._drafted(folder) as draft:
                if draft is not None:
                    self._fill(draft)
                    draft.replace(folder.resolve())
                    (folder / LOCK).unlink()
        return folder

    def _is_done(self, folder: Path) -> bool:
        """Return whether the corpus is there; refuse another one, or anything else."""
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
        expected = "a new or an empty folder, or one of this corpus"
        remedy = "choose another, or delete it"
        if not (folder / shards.MANIFEST).is_file():
            raise InputError(str(folder), expected, "something in it", remedy)
        if shards.manifest(folder)["identity"] != self.identity:
            raise InputError(str(folder), expected, "another corpus", remedy)
        return True

    @contextmanager
    def _drafted(self, folder: Path) -> Iterator[Path | None]:
        """Yield the draft, which no other process has; None if one has completed a corpus.

        A draft whose input cannot be used is removed; any other is kept, to go on with.
        """
        folder = folder.resolve()
        draft = folder.with_name(f".{folder.name}.draft")
        try:
            with _locked(draft, folder) as mine:
                if mine and self._journal(draft).get("identity") != self.identity:
                    _clear(draft)
                    _write_json(draft / JOURNAL, {"identity": self.identity})
                yield draft if mine else None
        except BrokenProcessPool:
            remedy = "look for a lack of memory, and run it again: it goes on where it was"
            got = "one that was ended"
            raise InputError("processes", "processes that encode", got, remedy) from None
        except OSError as error:
            if error.filename and not _is_of(Path(error.filename), draft):
                raise  # of the source
            remedy = "make space, or choose another: out, cache_dir or $PARATIME_CACHE"
            got = str(error.strerror or error)
            raise InputError(str(folder), "a folder to write to", got, remedy) from error

    def _journal(self, draft: Path) -> dict[str, Any]:
        try:
            journal: dict[str, Any] = json.loads((draft / JOURNAL).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return journal

    def _learned(self, draft: Path) -> Tokenizer:
        """Return the tokenizer of a draft; make it if that was not done yet."""
        if not (draft / shards.TOKENIZER).exists():
            made = self._recipe.make(self._training_texts)
            _write_json(draft / shards.TOKENIZER, made.spec())
        return from_spec(json.loads((draft / shards.TOKENIZER).read_text(encoding="utf-8")))

    def _training_texts(self) -> Iterator[str]:
        parts = self._hold_out.parts(self._source)
        train = (document for split, document in parts if split == "train")
        for document in tqdm(train, "learning a tokenizer", unit=" documents", delay=1):
            if document.tokens is not None:
                expected, remedy = "texts to learn from", "name the tokenizer that made the tokens"
                raise InputError("tokenizer", expected, f"tokens, {document.name}", remedy)
            yield document.text

    def _fill(self, draft: Path) -> None:
        """Write what is not there yet, then the manifest."""
        tokenizer, journal = self._learned(draft), self._journal(draft)
        states, done = journal.get("splits", {}), journal.get("done", 0)
        dtype = dtype_of(tokenizer)
        writers = {
            split: SplitWriter(draft, split, dtype, self._shard_tokens, states.get(split))
            for split in SPLITS
        }
        try:
            self._encode(draft, tokenizer, writers, done)
            splits = {split: writer.finish() for split, writer in writers.items()}
        finally:
            for writer in writers.values():
                writer.close()
        if not any(entry["tokens"] for entry in splits.values()):
            remedy = "check the source's paths and that the files are not empty"
            raise InputError("text", "at least one document with text", "none", remedy)
        about = {
            "format": shards.FORMAT,
            "identity": self.identity,
            "source": repr(self._source)[:500],
            "hold_out": repr(self._hold_out),
            "tokenizer": tokenizer.identity(),
            "dtype": dtype.str,
            "shard_tokens": self._shard_tokens,
            "splits": splits,
        }
        files = [each["file"] for s in splits.values() for each in (*s["shards"], s["index"])]
        shards.note_verified(draft, {}, files)
        _write_json(draft / shards.MANIFEST, about)
        (draft / JOURNAL).unlink()

    def _encode(
        self, draft: Path, tokenizer: Tokenizer, writers: dict[str, SplitWriter], done: int
    ) -> None:
        parts = islice(self._hold_out.parts(self._source), done, None)
        begun = sum(writer.flush()["bytes"] for writer in writers.values())
        entered = time.monotonic()
        with tqdm(
            desc="tokenising",
            total=self._source.size(),
            initial=begun,
            unit="B",
            unit_scale=True,
            delay=1,
        ) as bar:
            for part in encoded(parts, tokenizer, self._processes):
                writers[part.split].add(part)
                done += part.finished
                bar.update(part.num_bytes)
                if not part.remaining and time.monotonic() - entered > SECONDS:
                    self._enter(draft, writers, done)
                    entered = time.monotonic()

    def _enter(self, draft: Path, writers: dict[str, SplitWriter], done: int) -> None:
        """Note how far the draft is."""
        splits = {split: writer.flush() for split, writer in writers.items()}
        journal = {"identity": self.identity, "done": done, "splits": splits}
        _write_json(draft / JOURNAL, journal)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _clear(draft: Path) -> None:
    for path in draft.iterdir():
        if path.name != LOCK:
            path.unlink()


def _is_of(path: Path, draft: Path) -> bool:
    """Return whether a path lies in a draft, or on the way to it."""
    return path.is_relative_to(draft) or draft.is_relative_to(path)


@contextmanager
def _locked(draft: Path, folder: Path) -> Iterator[bool]:
    """Yield whether the draft is ours; wait for another process that has it, perhaps to its end.

    A draft whose input cannot be used is removed before another process can have it.
    """
    while not (folder / shards.MANIFEST).is_file():
        draft.mkdir(parents=True, exist_ok=True)
        try:
            lock = open(draft / LOCK, "a")  # noqa: SIM115 (closed by the next lines)
        except FileNotFoundError:  # another process has removed or renamed the draft
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("waiting for another process that writes %s", folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(lock.fileno(), draft / LOCK):
                continue
            if (folder / shards.MANIFEST).is_file():  # since it was looked for
                shutil.rmtree(draft)
                break
            try:
                yield True
            except InputError:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            return
    yield False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
