"""How the options of two runs differ, as the nested plain values of their configs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Change = tuple[str, str, str]
"""The dotted name of an option, its value before, and its value now."""

LONGEST = 80
"""Characters of a value that are shown."""


def changes(before: Any, now: Any, name: str = "") -> Iterator[Change]:
    """Yield the options that both runs have, and that differ.

    A class is one option, and so are its arguments if it is the same in both; lists of classes are
    compared class by class.

    Args:
        before: Options of the first run: dictionaries, lists and plain values.
        now: Those of the second one.
        name: Of the options, dotted.
    """
    before, now = _by_class(before), _by_class(now)
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        if _plain(before) != _plain(now):
            yield name, _shown(before), _shown(now)
    elif "class_path" in before and _class(before) != _class(now):
        yield name, _class(before), _class(now)
    else:
        for key in (key for key in now if key in before and key != "class_path"):
            inner = name if key == "init_args" else f"{name}.{key}".lstrip(".")
            yield from changes(before[key], now[key], inner)


def _by_class(value: Any) -> Any:
    """Return a list of classes as a dictionary by name."""
    if isinstance(value, list) and all(isinstance(x, Mapping) and "class_path" in x for x in value):
        return {_class(x): x for x in value}
    return value


def _class(value: Mapping[str, Any]) -> str:
    return str(value.get("class_path", "none")).rpartition(".")[2]


def _plain(value: Any) -> Any:
    return [*map(_plain, value)] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return _class(value) if "class_path" in value else ", ".join(map(str, value)) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_shown, value))}]"[:LONGEST]
    return "none" if value is None else str(value)[:LONGEST]
