"""The one exception for values that a caller can mend, and texts of one line."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real

LONGEST = 300
"""Most characters of each part of a message: what it quotes may be a whole file."""


class InputError(ValueError):
    """A value is unusable as given; the message is one line with the remedy.

    Args:
        what: The value's name, as the caller knows it.
        expected: What would have been accepted.
        got: What came.
        remedy: What to do next.
    """

    def __init__(self, what: str, expected: str, got: str, remedy: str) -> None:
        super().__init__(what, expected, got, remedy)

    def __str__(self) -> str:
        what, expected, got, remedy = (abridged(str(part)) for part in self.args)
        return f"{what}: expected {expected}, got {got}; {remedy}"


def abridged(text: str, limit: int = LONGEST) -> str:
    """Return a text in one line, as ``in_line``, without its middle if that exceeds a limit."""
    text = in_line(text)
    if len(text) <= limit:
        return text
    left = limit - limit // 4
    return f"{text[:left]} ... {text[left - limit :]} ({len(text):,} characters)"


def one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def in_line(text: str) -> str:
    """Return a text for a terminal: one line, in which what cannot be printed is escaped.

    So a name in data can neither move the cursor nor begin a line of its own.
    """
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Name the file in what is said of its contents."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{error.args[0]} of {path}", *error.args[1:]) from None


def describe_error(error: Exception) -> str:
    """Return the type and the message of an error in one line."""
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def check_at_least(least: int, **numbers: int) -> None:
    """Refuse what is no number, or too small, by the names that they are given under."""
    for name, number in numbers.items():
        if not isinstance(number, Real):
            raise InputError(
                name,
                expected=f"a number of at least {least}",
                got=f"{type(number).__name__} {number!r}",
                remedy="pass a number",
            )
        if number < least:
            raise InputError(name, f"at least {least}", str(number), "raise it")


class NotFinite(InputError):
    """Output of a model is infinite or NaN."""


def check_finite(what: str, finite: Iterable[tuple[str, bool]]) -> None:
    """Refuse output of a model that is infinite or NaN.

    Args:
        what: The output, such as ``forecast``.
        finite: Name of each part, such as a series, and whether all of its values are finite.

    Raises:
        NotFinite: One line with the first part that is not.
    """
    bad = [name for name, good in finite if not good]
    if bad:
        raise NotFinite(
            f"{what} of {bad[0]}" + f" and {len(bad) - 1:,} more" * (len(bad) > 1),
            expected="finite values",
            got="infinity or NaN",
            remedy="check this input, or use a checkpoint before training diverged; see paratime"
            " doctor",
        )
