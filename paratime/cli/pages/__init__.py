"""The pages that ``--help`` prints, kept as files: to make a parser takes seconds of imports.

``python -m paratime.cli.pages`` writes them anew from the parsers, after an option has changed.
"""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

FOLDER = Path(__file__).parent


def help_page(words: Sequence[str]) -> str | None:
    """Return the page that a command line asks for, None if it asks for none or for another one.

    Args:
        words: The command line, without the program's name.
    """
    if not {"-h", "--help"} & {*words}:
        return None
    command = [*takewhile(lambda word: word[:1].isalpha(), words)]
    path = path_of(command)
    return path.read_text(encoding="utf-8") if command and path.is_file() else None


def path_of(command: Sequence[str]) -> Path:
    """Return the file of a command's page, such as ``world-plan.txt``."""
    return FOLDER / f"{'-'.join(command)}.txt"
