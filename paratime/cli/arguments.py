"""Arguments that commands of several slices share."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from paratime.errors import InputError

SourceT = TypeVar("SourceT")

ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\"}
"""What shells leave alone in quotes, and users mean as characters."""


def unescaped(text: str) -> str:
    r"""Return a text with the characters that ``\n``, ``\t``, ``\r`` and ``\\`` in it mean."""
    return re.sub(r"\\[ntr\\]", lambda found: ESCAPES[found[0]], text)


TRUST = "--trust"
TRUST_HELP = "A module that you wrote, whose classes the files of a model may name."


def trusted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the modules that its ``--trust`` options name, and the rest.

    Raises:
        InputError: An option without a module.
    """
    modules, rest, left = [], [], iter(words)
    for word in left:
        if word == TRUST or word.startswith(f"{TRUST}="):
            given = word.partition("=")[2] or next(left, "")
            if not given or given.startswith("-"):
                raise InputError(TRUST, "a module that you wrote", "none", f"{TRUST} mine")
            modules += given.split(",")
        else:
            rest.append(word)
    return modules, rest


def chosen(data: str | None, source: SourceT | None, named: Callable[[str], SourceT]) -> SourceT:
    """Return the source of a command that accepts a path or a source with options.

    Args:
        data: The path, as ``--data`` gives it.
        source: The source, as ``--source`` gives it.
        named: Returns the source that a path means.

    Raises:
        InputError: Both were given, or neither.
    """
    if data is not None and source is None:
        return named(data)
    if source is None or data is not None:
        raise InputError(
            "data",
            expected="a path, or a source instead",
            got="neither" if data is None else "both",
            remedy="give --data PATH",
        )
    return source
