"""The one exception for values that a caller can mend, and texts of one line."""

from numbers import Real

LONGEST = 1000
"""Characters of a part of a message."""


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
        what, expected, got, remedy = (in_line(str(x), LONGEST) for x in self.args)
        return f"{what}: expected {expected}, got {got}; {remedy}"


def one_line(error: Exception) -> str:
    """Return the message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def in_line(text: str, longest: int | None = None) -> str:
    """Return a text for a terminal: one line, in which what cannot be printed is escaped.

    So a name in data can neither move the cursor nor begin a line of its own.

    Args:
        text: Any text.
        longest: Characters, of which the middle ones are left out if there are more.
    """
    if longest is not None and len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-(longest // 2) :]}"
    if text.isprintable():
        return text
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)


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
