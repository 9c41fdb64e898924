"""The reference of a package: a directive of mkdocstrings for each of its public names."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRST = ("layers", "cells", "solvers", "data", "tokenizers", "model")
"""Rooms that a reader looks for first; the others follow in alphabetical order."""


def make(package: str) -> str:
    """Return the public names of a package under headings that say where they belong.

    A package lists its names once, as imports under ``if TYPE_CHECKING:``.
    """
    sections: dict[str, list[str]] = {}
    for room, name in public(package):
        sections.setdefault(room, []).append(f"::: {package}.{name}")
    rooms = sorted(sections, key=lambda room: (FIRST.index(room) if room in FIRST else 99, room))
    heads = (f"## {room.capitalize()}\n\n" if room else "" for room in rooms)
    texts = ("\n\n".join(sections[room]) for room in rooms)
    return "\n".join(f"{head}{text}\n" for head, text in zip(heads, texts, strict=True))


def public(package: str) -> list[tuple[str, str]]:
    """Return pairs of a room, such as ``data``, and a name."""
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    found = []
    for block in ast.parse(path.read_text()).body:
        for node in block.body if isinstance(block, ast.If) else []:
            if isinstance(node, ast.ImportFrom):
                parts = str(node.module).removeprefix(f"{package}.").split(".")
                found += [(_room(package, parts), alias.name) for alias in node.names]
    return found


def _room(package: str, parts: list[str]) -> str:
    """Return the folder that a module lies in; nothing where each module is a folder's file."""
    return parts[0] if len(parts) > 1 or package == "paratime" else ""
