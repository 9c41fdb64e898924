"""Training, validation and test documents."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from paratime.errors import InputError
from paratime.language.data.sources.base import Document, InMemory, Source

_log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")

LEAST = 3
"""Fewer different documents are cut instead of drawn."""

ASSIGNED = 1000
"""If the source assigns a split to this many documents at its beginning, none is looked for."""

Part = tuple[str, Document]
"""A split, and a document in it."""

Place = Callable[[Document], Iterable[Part]]


@dataclass(frozen=True)
class HoldOut:
    """Which documents are held out: a draw by each document's content and the seed alone.

    Thus no document moves when others are added, removed, renamed or reordered, and copies share a
    split. Where a source names groups, such as the books of chapters, the name is drawn instead.
    Documents that the source has assigned to a split stay there.

    Shares are kept on average. A split that no document is drawn into, of a small collection,
    borrows the one next to it; a line says so. Of fewer than three different documents, the end of
    each is held out. Of a collection that never grows, shares are kept as exactly as whole
    documents allow.

    Args:
        val: Share of the documents for validation.
        test: Share of the documents for testing.
        seed: Seed of the draw.
    """

    val: float = 0.05
    test: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.val > 0 and self.test > 0 and self.val + self.test < 1):
            raise InputError(
                "hold_out", "shares > 0 with sum < 1", f"{self.val} and {self.test}", "lower them"
            )

    def parts(self, source: Source, *, quiet: bool = False) -> Iterator[Part]:
        """Yield the documents of a source with their splits, in order, without empty ones.

        Its beginning is read twice, until each split has a document.

        Args:
            source: The documents.
            quiet: Whether not to say that a split borrows a document.
        """
        place = self._plan(source, quiet)
        for document in _with_text(source):
            if document.split is not None:
                yield document.split, document
            else:
                yield from place(document)

    def assign(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents of each split, in order."""
        parts = list(self.parts(InMemory(documents)))
        return {name: [d for split, d in parts if split == name] for name in SPLITS}

    def _plan(self, source: Source, quiet: bool) -> Place:
        """Return a function that yields the parts of a document that has no split yet."""
        if source.closed:
            return self._exact(source)
        splits: dict[bytes, str] = {}
        for number, document in enumerate(_with_text(source)):
            if document.split is None:
                draw = self._draw(document)
                splits.setdefault(draw, self._split(draw))
            if {*splits.values()} == {*SPLITS} or (number >= ASSIGNED and not splits):
                return lambda document: [(self._split(self._draw(document)), document)]
        if len(splits) < LEAST:
            return self._cut
        lacking = _borrow(splits)
        if lacking and not quiet:
            names = " and ".join(lacking)
            _log.warning("no document was drawn for %s: borrowing one, until others are", names)
        return lambda document: [(splits[self._draw(document)], document)]

    def _exact(self, source: Source) -> Place:
        """Hold out the last documents of the draw, up to their shares of the text."""
        sizes: Counter[bytes] = Counter()
        for document in _with_text(source):
            sizes[self._draw(document)] += len(document)
        total, drawn = sizes.total(), sorted(sizes)
        splits: dict[bytes, str] = {}
        for name, share, spare in (("test", self.test, 2), ("val", self.val, 1)):
            held = 0
            while held < share * total and len(drawn) > spare:
                draw = drawn.pop()
                splits[draw] = name
                held += sizes[draw]
        return lambda document: [(splits.get(self._draw(document), "train"), document)]

    def _split(self, draw: bytes) -> str:
        place = int.from_bytes(draw[:8]) / 2**64
        return "test" if place < self.test else "val" if place < self.test + self.val else "train"

    def _cut(self, document: Document) -> Iterator[Part]:
        shares = (0.0, 1 - self.val - self.test, 1 - self.test, 1.0)
        for name, ends in zip(SPLITS, pairwise(shares), strict=True):
            start, end = (round(share * len(document)) for share in ends)
            if end > start:
                yield name, document.part(start, end)

    def _draw(self, document: Document) -> bytes:
        key = document.digest.hex() if document.group is None else document.group
        return hashlib.sha256(f"{self.seed}:{key}".encode()).digest()


class Inventory:
    """What is in a corpus, whatever its order and its names: counts and hashes of its documents."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()

    def watch(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Add documents as they pass."""
        for split, document in parts:
            self._counts[split] += 1
            self._sums[split] += int.from_bytes(document.digest)
            yield split, document

    def described(self) -> dict[str, str]:
        """Return a line for each split that has documents, such as ``36 documents, 0123456789ab``.

        The hash is the sum of those of the documents, modulo 2^256.
        """
        sums = {split: (self._sums[split] % 2**256).to_bytes(32) for split in SPLITS}
        return {
            split: f"{self._counts[split]:,} documents, {sums[split][:6].hex()}"
            for split in SPLITS
            if self._counts[split]
        }


def warn_of_another(
    saved: dict[str, str] | None, found: dict[str, str] | None, *, what: str = "the checkpoint"
) -> None:
    """Say in one line that a corpus is not the one that a model was trained on.

    Args:
        saved: The inventory of the training, if it is known.
        found: The inventory of the documents at hand.
        what: What knows the former.
    """
    if found is None or saved == found:
        return
    if saved is None:
        _log.warning("%s does not say which documents it was trained on; these may be others", what)
        return
    changes = [
        f"{split} {saved.get(split, 'none')} then, {found.get(split, 'none')} now"
        for split in SPLITS
        if saved.get(split) != found.get(split)
    ]
    _log.warning("these are not the documents of %s: %s", what, "; ".join(changes))


def _borrow(splits: dict[bytes, str]) -> list[str]:
    """Give each split a document, the first or the last of the draw; return those that had none.

    A document that is added can only send a borrowed one back, or be borrowed instead of it: none
    that was trained on is held out later, unless it was borrowed for training.
    """
    order, lacking = sorted(splits), []
    for name, last in (("train", True), ("test", False), ("val", True)):
        counts = Counter(splits.values())
        if not counts[name]:
            spare = [draw for draw in order if counts[splits[draw]] > 1]
            splits[spare[-1 if last else 0]] = name
            lacking.append(name)
    return lacking


def _with_text(source: Source) -> Iterator[Document]:
    return (document for document in source.documents() if len(document))
