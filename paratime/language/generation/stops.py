"""Texts before which generation ends."""


class Stops:
    """Passes text on up to the first stop; what may be the beginning of one is held back.

    What comes out does not depend on how the text is cut into pieces: the stop that is complete
    first counts, and of several that end together the longest.

    Args:
        texts: The stops.
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self._longest = max(map(len, texts), default=0)
        self._held = ""

    def __call__(self, piece: str) -> tuple[str, bool]:
        """Return the text that no stop can begin in, and whether a stop is complete behind it."""
        if not self._texts:
            return piece, False
        text = self._held + piece
        found = [(at + len(stop), at) for stop in self._texts if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)[1]], True
        kept = len(text) - self._beginning(text)
        self._held = text[kept:]
        return text[:kept], False

    def rest(self) -> str:
        """Return what is held back, at the end of the text."""
        return self._held

    def _beginning(self, text: str) -> int:
        """Return how many characters at the end of a text are the beginning of a stop."""
        sizes = range(min(len(text), self._longest - 1), 0, -1)
        return next((n for n in sizes if any(s.startswith(text[-n:]) for s in self._texts)), 0)
