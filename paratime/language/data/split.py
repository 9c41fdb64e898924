"""Training, validation and test documents."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from paratime.errors import InputError
from paratime.language.data.sources.base import Document, InMemory, Source

SPLITS = ("train", "val", "test")

FEW = 1000
"""With fewer documents, shares are kept exactly; otherwise on average."""

Part = tuple[str, Document]
"""A split, and a document in it."""


@dataclass(frozen=True)
class HoldOut:
    """Which documents are held out: a random draw that depends on names and seed alone.

    Many documents are drawn independently, in one pass. With fewer than a thousand, the shares are
    kept as exactly as whole documents allow. Documents with the same name share a split. With fewer
    than three names, the end of each document is held out instead. Documents that the source has
    assigned to a split stay there.

    Args:
        val: Share of the text for validation.
        test: Share of the text for testing.
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

    def parts(self, source: Source) -> Iterator[Part]:
        """Yield the documents of a source with their splits, in order, without empty ones.

        The first thousand documents are read twice.
        """
        place = self._plan(source)
        for document in _with_text(source):
            if document.split is not None:
                yield document.split, document
            else:
                yield from place(document)

    def assign(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents of each split, in order."""
        parts = list(self.parts(InMemory(documents)))
        return {name: [d for split, d in parts if split == name] for name in SPLITS}

    def _plan(self, source: Source) -> Callable[[Document], Iterator[Part]]:
        """Return a function that yields the parts of a document that has no split yet."""
        first = [
            (self._draw(d), len(d)) if d.split is None else None
            for d in islice(_with_text(source), FEW)
        ]
        if len(first) == FEW:
            return self._each
        sizes: Counter[bytes] = Counter()
        for draw, size in (each for each in first if each is not None):
            sizes[draw] += size
        if len(sizes) < 3:
            return self._cut
        exact = self._exact(sizes)
        return lambda document: iter([(exact.get(self._draw(document), "train"), document)])

    def _exact(self, sizes: Counter[bytes]) -> dict[bytes, str]:
        """Return the splits of the held-out names: the last of the draw, up to their shares."""
        total, drawn = sizes.total(), sorted(sizes)
        splits: dict[bytes, str] = {}
        for name, share, spare in (("test", self.test, 2), ("val", self.val, 1)):
            held = 0
            while held < share * total and len(drawn) > spare:
                draw = drawn.pop()
                splits[draw] = name
                held += sizes[draw]
        return splits

    def _each(self, document: Document) -> Iterator[Part]:
        place = int.from_bytes(self._draw(document)[:8]) / 2**64
        held = "test" if place < self.test else "val" if place < self.test + self.val else "train"
        yield held, document

    def _cut(self, document: Document) -> Iterator[Part]:
        shares = (0.0, 1 - self.val - self.test, 1 - self.test, 1.0)
        for name, ends in zip(SPLITS, pairwise(shares), strict=True):
            start, end = (round(share * len(document)) for share in ends)
            if end > start:
                yield name, document.part(start, end)

    def _draw(self, document: Document) -> bytes:
        return hashlib.sha256(f"{self.seed}:{document.name}".encode()).digest()


def _with_text(source: Source) -> Iterator[Document]:
    return (document for document in source.documents() if len(document))
