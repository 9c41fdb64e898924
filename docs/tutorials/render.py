"""Run the tutorials, and write each as a page with its output and pictures.

    python docs/tutorials/render.py                # all: minutes
    python docs/tutorials/render.py forecasting    # some

A tutorial is a Python file. Its docstring is the title and the introduction; ``# %%`` begins a
section, whose first comments are prose and whose rest is code.
"""

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = ("render", "tools")
PICTURE = re.compile(r"^!\[(.+)\]\((.+)\)\n?", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A section of a tutorial: prose in Markdown, and code."""

    prose: str
    code: str


def tutorials() -> list[Path]:
    """Return the files of all tutorials."""
    return [path for path in sorted(HERE.glob("*.py")) if path.stem not in TOOLS]


def cells(path: Path) -> list[Cell]:
    """Return the sections of a tutorial; the first is its docstring."""
    head, *sections = re.split(r"^# %%\n", path.read_text(), flags=re.MULTILINE)
    return [Cell(head.strip().strip('"').strip(), ""), *map(_cell, sections)]


def _cell(text: str) -> Cell:
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    prose = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])
    return Cell(prose.strip(), "\n".join(lines[end:]).strip())


def render(path: Path) -> str:
    """Run a tutorial in an empty folder, and return its page."""
    parts = [f"<!-- Written by docs/tutorials/render.py from {path.name}: edit that. -->"]
    scope: dict[str, object] = {"__name__": path.stem}
    sys.path.insert(0, str(HERE))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for cell in cells(path):
            parts.append(cell.prose)
            if cell.code:
                parts.append(f"```python\n{cell.code}\n```")
                parts += _output(path, _run(cell.code, scope, path))
    parts.append(f"[The whole file]({path.name})")
    return "\n\n".join(filter(None, parts)) + "\n"


def _run(code: str, scope: dict[str, object], path: Path) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, str(path), "exec"), scope)
    return out.getvalue()


def _output(path: Path, text: str) -> list[str]:
    """Return what a section has printed, and copy its pictures next to the page."""
    parts = []
    for alt, source in PICTURE.findall(text):
        name = f"{path.stem}-{Path(source).name}"
        shutil.copy(source, HERE / name)
        parts.append(f"![{alt}]({name})")
    text = PICTURE.sub("", text).replace(os.getcwd() + "/", "").strip("\n")
    return [f"```text\n{text}\n```", *parts] if text.strip() else parts


def main() -> None:
    """Render the tutorials that the command line names, or all."""
    for path in tutorials():
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            path.with_suffix(".md").write_text(render(path))


if __name__ == "__main__":
    main()
