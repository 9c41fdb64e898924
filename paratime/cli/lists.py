"""Lists on the command line: ``--items a,b`` is ``--items [a,b]``, and names may be digits.

Only the parser knows which options are lists, those of classes included, so its message about a
value tells that the value is to be read as a list.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

_KEY = re.compile(r'Parser key "([^"]+)"')
_LIST = re.compile(r"\n  Expected a <class '(?:tuple|list)'>\. Got value: ")
_OPTIONAL = re.compile(r"Subtypes: \[(?:tuple|list)\[[^\]]+\], <class 'NoneType'>\]\n")
_WORD = re.compile(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?|true|false|null")
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[^,"]+')
_TEXT = re.compile(r"Expected a <class 'str'>\. Got value: ")


def listed(given: str | list[str] | None) -> list[str]:
    """Return the paths of an option that may be one path, several in a list or between commas."""
    if isinstance(given, str):
        return [given] if Path(given).exists() else [x.strip() for x in given.split(",")]
    return given or []


def with_lists(args: Sequence[str], message: str) -> list[str] | None:
    """Return a command line whose option of a message is a list, None if it is no other.

    Args:
        args: The command line that the message is about.
        message: The parser's message.
    """
    key = _KEY.search(message)
    if key is None:
        return None
    name = key[1].rpartition(".")[2]
    for place, flag, value in _values(args):
        if flag.lstrip("-").rpartition(".")[2] == name:
            new = _as_list(value, message)
            if new is None:
                return None
            inline = args[place].startswith("-") and "=" in args[place]
            word = f"{flag}={new}" if inline else new
            return [*args[:place], word, *args[place + 1 :]]
    return None


def _values(args: Sequence[str]) -> list[tuple[int, str, str]]:
    """Return the place, the option and the value of each option, the last one first."""
    found = []
    for place, word in enumerate(args):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and equals:
            found.append((place, flag, value))
        elif flag.startswith("--") and place + 1 < len(args):
            found.append((place + 1, flag, args[place + 1]))
    return found[::-1]


def _as_list(value: str, message: str) -> str | None:
    """Return a value as a list, with all of its names in quotes if it is one."""
    text = bool(_TEXT.search(message))
    if not (text or _LIST.search(message) or _OPTIONAL.search(message)):
        return None
    brackets = value.startswith("[") and value.endswith("]")
    if not brackets and text:
        return None
    parts = [x.strip() for x in _PART.findall(value[1:-1] if brackets else value)]
    plain = [x[:1] == '"' or (_WORD.fullmatch(x) and not text) for x in parts]
    words = [x if keep else json.dumps(x) for x, keep in zip(parts, plain, strict=True) if x]
    new = f"[{', '.join(words)}]"
    return None if new == value else new
