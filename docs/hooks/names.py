"""The reference of a package: a directive of mkdocstrings for each of its public names."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(package: str) -> str:
    """Return the public names of a package under headings that say where they belong.

    A package lists its names once, as imports under ``if TYPE_CHECKING:``.
    """
    sections: dict[str, list[str]] = {}
    for room, name in public(package):
        sections.setdefault(room, []).append(f"::: {package}.{name}")
    texts = ((room.capitalize(), "\n\n".join(found)) for room, found in sections.items())
    return "\n".join(f"## {title}\n\n{text}\n" for title, text in texts)


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
    """Return the folder of a slice that a module lies in; the core has one a file."""
    return parts[-1] if package.count(".") and len(parts) == 1 else parts[0]
