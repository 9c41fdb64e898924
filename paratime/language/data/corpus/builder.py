"""From a source to a corpus on disk, in as many runs as it takes.

The corpus is written to ``.NAME.draft``, with a journal of the progress, and renamed when complete:
a folder with its final name is a whole corpus. Its content depends on the source, the tokenizer and
the split alone, not on the number of processes or runs.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from paratime.errors import InputError, check_at_least
from paratime.io.atomic import replacing
from paratime.io.code import users_code
from paratime.language.data.corpus import shards
from paratime.language.data.corpus.encoding import dtype_of, encode_documents
from paratime.language.data.corpus.writer import SplitWriter
from paratime.language.data.sources.base import Source
from paratime.language.data.split import SPLITS, HoldOut, Inventory
from paratime.language.tokenizers.base import Tokenizer, TokenizerRecipe, warn_of_altered
from paratime.language.tokenizers.catalog import tokenizer_from_spec

_log = logging.getLogger(__name__)

SHARD_TOKENS = 2**26
JOURNAL = "journal.json"

SECONDS = 5.0
"""Between entries of the journal."""


class CorpusBuilder:
    """Tokenises a source into a folder.

    Args:
        source: The documents.
        recipe: The tokenizer, or how it is learned from the training documents.
        hold_out: Which documents are held out.
        processes: Number of processes that encode.
        shard_tokens: Tokens per shard.

    Attributes:
        identity: A hash of everything that determines the content of the corpus.
    """

    def __init__(
        self,
        source: Source,
        recipe: TokenizerRecipe,
        hold_out: HoldOut,
        *,
        processes: int = 1,
        shard_tokens: int = SHARD_TOKENS,
    ) -> None:
        check_at_least(1, processes=processes, shard_tokens=shard_tokens)
        self._source, self._recipe, self._hold_out = source, recipe, hold_out
        self._processes, self._shard_tokens = processes, shard_tokens
        about = f"{shards.FORMAT} {source.identity()} {recipe.identity()} {hold_out} {shard_tokens}"
        about += users_code(type(source), type(recipe))
        self.identity = hashlib.sha256(about.encode()).hexdigest()

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Return the tokenizer of the corpus in a folder; learn it unless that was done before."""
        if isinstance(self._recipe, Tokenizer):
            return self._recipe
        if not self._is_done(folder):
            with self._drafted(folder) as draft:
                if draft is not None:
                    return self._learned(draft)
        return tokenizer_from_spec(shards.saved_spec(folder))

    def write(self, folder: Path) -> Path:
        """Write the corpus into a folder, unless it is there already; return the folder.

        Raises:
            InputError: The folder contains something else, it cannot be written, a document cannot
                be encoded, or there is no text.
        """
        if not self._is_done(folder):
            with self._drafted(folder) as draft:
                if draft is not None:
                    self._fill(draft)
                    draft.replace(folder.resolve())
        return folder

    def _is_done(self, folder: Path) -> bool:
        """Return whether the folder is the corpus; refuse a folder with any other content."""
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return False
        got = None
        if not (folder / shards.MANIFEST).is_file():
            got = "something in it"
        elif shards.manifest(folder)["identity"] != self.identity:
            got = "another corpus"
        if got is None:
            return True
        raise InputError(
            str(folder), "a new or empty folder, or this corpus", got, "choose another or delete it"
        )

    @contextmanager
    def _drafted(self, folder: Path) -> Iterator[Path | None]:
        """Yield the draft, while no other process has it; None if the corpus is complete by then.

        A draft with unusable input is removed; after any other error the next run continues it.
        """
        folder = folder.resolve()
        draft, lock = (folder.with_name(f".{folder.name}.{kind}") for kind in ("draft", "lock"))
        try:
            with _locked(lock, folder):
                if self._is_done(folder):
                    yield None
                    return
                self._begin(draft)
                try:
                    yield draft
                except InputError:
                    shutil.rmtree(draft, ignore_errors=True)
                    raise
        except BrokenProcessPool:
            raise InputError(
                "processes",
                expected="processes that encode",
                got="one that was ended",
                remedy="look for a lack of memory, and run it again: it continues where it was",
            ) from None
        except OSError as error:
            path = Path(error.filename or draft)
            if not (path == lock or path.is_relative_to(draft) or draft.is_relative_to(path)):
                raise  # of the source
            raise InputError(
                str(folder),
                expected="a folder to write to",
                got=str(error.strerror or error),
                remedy="make space, or choose another: out, cache_dir or $PARATIME_CACHE",
            ) from error

    def _begin(self, draft: Path) -> None:
        """Make the draft, unless there is one of the same corpus."""
        if self._journal(draft).get("identity") != self.identity:
            if draft.exists():
                shutil.rmtree(draft)
            draft.mkdir(parents=True)
            _write_json(draft / JOURNAL, {"identity": self.identity})

    def _journal(self, draft: Path) -> dict[str, Any]:
        try:
            journal: dict[str, Any] = json.loads((draft / JOURNAL).read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return journal

    def _learned(self, draft: Path) -> Tokenizer:
        """Return the tokenizer of a draft; make it unless that was done before."""
        if not (draft / shards.TOKENIZER).exists():
            made = self._recipe.make(self._training_texts)
            _write_json(draft / shards.TOKENIZER, made.spec())
        return tokenizer_from_spec(
            json.loads((draft / shards.TOKENIZER).read_text(encoding="utf-8"))
        )

    def _training_texts(self) -> Iterator[str]:
        parts = self._hold_out.parts(self._source, quiet=True)
        train = (document for split, document in parts if split == "train")
        for document in tqdm(train, "learning a tokenizer", unit=" documents", delay=1):
            if document.tokens is not None:
                raise InputError(
                    "tokenizer",
                    expected="texts to learn from",
                    got=f"tokens, {document.name}",
                    remedy="name the tokenizer that made the tokens",
                )
            yield document.text

    def _fill(self, draft: Path) -> None:
        """Write what the draft lacks, the manifest last."""
        tokenizer, journal = self._learned(draft), self._journal(draft)
        dtype, states = dtype_of(tokenizer), journal.get("splits", {})
        writers = {
            split: SplitWriter(
                draft, split, dtype=dtype, limit=self._shard_tokens, state=states.get(split)
            )
            for split in SPLITS
        }
        try:
            inventory = self._encode(draft, tokenizer, writers, journal.get("done", 0))
            splits = {split: writer.finish() for split, writer in writers.items()}
        finally:
            for writer in writers.values():
                writer.close()
        if not any(entry["tokens"] for entry in splits.values()):
            raise InputError(
                "text", "at least one document with text", "none", "check the source's files"
            )
        warn_of_altered(
            sum(entry["altered"] for entry in splits.values()),
            sum(entry["documents"] for entry in splits.values()),
            next(filter(None, (entry["example"] for entry in splits.values())), ""),
        )
        files = [each["file"] for s in splits.values() for each in shards.split_files(s)]
        shards.note_verified(draft, {}, files)
        about = {"tokenizer": tokenizer.identity(), "dtype": dtype.str, "splits": splits}
        about |= {"inventory": inventory}
        _write_json(draft / shards.MANIFEST, self._about() | about)
        (draft / JOURNAL).unlink()

    def _about(self) -> dict[str, Any]:
        return {
            "format": shards.FORMAT,
            "identity": self.identity,
            "source": repr(self._source)[:500],
            "hold_out": repr(self._hold_out),
            "shard_tokens": self._shard_tokens,
        }

    def _encode(
        self, draft: Path, tokenizer: Tokenizer, writers: dict[str, SplitWriter], done: int
    ) -> dict[str, str]:
        """Append the documents after the first ``done`` ones; return what all of them are."""
        inventory = Inventory()
        parts = islice(inventory.watch(self._hold_out.parts(self._source)), done, None)
        begun = sum(writer.flush()["bytes"] for writer in writers.values())
        total, entered = self._source.size(), time.monotonic()
        size = {"total": total, "initial": begun, "unit": "B", "unit_scale": True}
        with tqdm(desc="tokenising", delay=1, **size) as bar:
            for part in encode_documents(parts, tokenizer, self._processes):
                writers[part.split].add(part)
                done += part.finished
                bar.update(part.num_bytes)
                if not part.remaining and time.monotonic() - entered > SECONDS:
                    self._enter(draft, writers, done)
                    entered = time.monotonic()
        return inventory.described()

    def _enter(self, draft: Path, writers: dict[str, SplitWriter], done: int) -> None:
        """Record the progress in the journal."""
        splits = {split: writer.flush() for split, writer in writers.items()}
        journal = {"identity": self.identity, "done": done, "splits": splits}
        _write_json(draft / JOURNAL, journal)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as draft:
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


@contextmanager
def _locked(path: Path, folder: Path) -> Iterator[None]:
    """Hold a lock file, which the system frees when its process ends; remove it afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _log.warning("waiting for another process that writes %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        with suppress(PermissionError):  # of Windows, which removes it with the lock
            path.unlink(missing_ok=True)
        lock.release()
