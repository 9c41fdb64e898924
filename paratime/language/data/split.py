"""Which documents are trained on, and which are held out."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise

from paratime.errors import InputError
from paratime.language.data.sources.base import Document, InMemory, Source

SPLITS = ("train", "val", "test")

FEW = 1000
"""Documents from which on shares are kept on average, and not exactly."""

Part = tuple[str, Document]
"""A split, and a document that is in it."""


@dataclass(frozen=True)
class HoldOut:
    """Which documents are held out, drawn at random but the same for the same names and seed.

    Of many documents, each is drawn by itself, in one pass. Of fewer than a thousand, the shares
    are kept as exactly as whole documents allow. Documents of one name fall into the same split;
    where there are fewer than three names, each document is cut instead: its end is held out. What
    a source has split already stays where it is.

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
            got = f"val {self.val} and test {self.test}"
            raise InputError(
                "hold_out", "shares above 0 that sum to less than 1", got, "lower them"
            )

    def parts(self, source: Source) -> Iterator[Part]:
        """Yield the documents of a source with their splits, in their order; no empty ones.

        The first thousand are read twice.
        """
        place = self._plan(source)
        for document in _with_text(source):
            if document.split is not None:
                yield document.split, document
            else:
                yield from place(document)

    def assign(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents of each split, in their order."""
        parts = list(self.parts(InMemory(documents)))
        return {name: [d for split, d in parts if split == name] for name in SPLITS}

    def _plan(self, source: Source) -> Callable[[Document], Iterator[Part]]:
        """Return what places a document that is not split already."""
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
        """Return the splits of those held out: the last of the draw, up to their shares."""
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
