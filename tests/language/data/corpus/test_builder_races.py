"""Several processes and one folder: what one of them leaves is not in the way of the others."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import pytest

from paratime.errors import InputError
from paratime.language import Document, InMemory, Source
from paratime.language.data.corpus import builder, shards
from paratime.language.data.corpus.builder import CorpusBuilder
from paratime.language.data.split import HoldOut
from paratime.language.tokenizers.characters import ByteTokenizer

DOCUMENTS = [Document(f"d{i}", f"document {i}") for i in range(40)]


@dataclass(frozen=True)
class Waiting(Source):
    """Documents behind a door; the first is given at once, and says that it was.

    Args:
        inside: Set when the first document was given.
        door: Waited for before the second.
        fail: Raises an error instead of the second, if there is one.
    """

    inside: threading.Event
    door: threading.Event
    fail: Callable[[], None] | None = None

    def documents(self) -> Iterator[Document]:
        yield DOCUMENTS[0]
        self.inside.set()
        assert self.door.wait(10)
        if self.fail is not None:
            self.fail()
        yield from DOCUMENTS[1:]


def write(folder: Path, source: Source) -> Path:
    return CorpusBuilder(source, ByteTokenizer(), HoldOut()).write(folder)


@pytest.fixture
def waiting(monkeypatch) -> threading.Event:
    """Return what is set when a process finds that another one writes."""
    found = threading.Event()
    monkeypatch.setattr(builder._log, "warning", lambda *_: found.set())
    return found


def both(folder: Path, first: Waiting, second: Source, waiting: threading.Event):
    """Write two corpora into one folder, the second while the first is under way."""
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(write, folder, first)
        assert first.inside.wait(10)
        other = pool.submit(write, folder, second)
        assert waiting.wait(10)
        first.door.set()
    return one, other


def test_another_corpus_that_was_written_meanwhile_is_refused(waiting, tmp_path):
    first = Waiting(threading.Event(), threading.Event())
    one, other = both(tmp_path / "a", first, InMemory(DOCUMENTS[:5]), waiting)
    assert one.result() == tmp_path / "a"
    with pytest.raises(InputError, match="got another corpus; choose another"):
        other.result()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_draft_is_removed_before_another_process_has_it(waiting, tmp_path, monkeypatch):
    def fail():
        raise InputError("text", "text", "none", "correct it")

    def remove(path, *, ignore_errors=False, rmtree=builder.shutil.rmtree):
        threading.Event().wait(0.3)  # for the other to go on, if it can
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(builder.shutil, "rmtree", remove)
    first = Waiting(threading.Event(), threading.Event(), fail)
    one, other = both(tmp_path / "a", first, InMemory(DOCUMENTS), waiting)
    with pytest.raises(InputError, match="correct it"):
        one.result()
    assert other.result() == tmp_path / "a"
    assert len(shards.open_split(tmp_path / "a", "train")) > 0


def test_a_corpus_that_was_completed_just_now_is_not_written_again(tmp_path, monkeypatch):
    made = []

    class Late(builder.FileLock):
        def acquire(self, *options, **more):
            if not made:
                made.append(self)
                monkeypatch.undo()
                write(tmp_path / "a", InMemory(DOCUMENTS))
            return super().acquire(*options, **more)

    monkeypatch.setattr(builder, "FileLock", Late)
    assert write(tmp_path / "a", InMemory(DOCUMENTS)) == tmp_path / "a"
    assert made and [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_was_done_is_kept_where_a_process_was_ended(tmp_path, monkeypatch):
    def broken(*_):
        yield from ()
        raise BrokenProcessPool

    monkeypatch.setattr(builder, "encode_documents", broken)
    with pytest.raises(InputError, match=r"processes: .* it continues where it was"):
        write(tmp_path / "a", InMemory(DOCUMENTS))
    assert (tmp_path / ".a.draft" / builder.JOURNAL).exists()


@pytest.mark.parametrize("there", (True, False), ids=("empty", "missing"))
def test_a_folder_behind_a_link(there, tmp_path):
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert write(tmp_path / "link", InMemory(DOCUMENTS)) == tmp_path / "link"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
    assert len(shards.open_split(tmp_path / "link", "train")) > 0


def test_a_source_that_cannot_be_read_is_not_taken_for_the_folder(tmp_path):
    def fail():
        raise PermissionError(13, "Permission denied", str(tmp_path / "text.txt"))

    door = threading.Event()
    door.set()
    with pytest.raises(PermissionError, match=r"text\.txt"):
        write(tmp_path / "a", Waiting(threading.Event(), door, fail))
