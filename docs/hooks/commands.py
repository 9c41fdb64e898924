"""The ``--help`` text of every command, as a section of Markdown each."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

WIDTH = "84"
"""Characters that a page has room for."""


def make(_: str) -> str:
    """Return a heading and the help of every command; they are printed in a process of its own."""
    command = [sys.executable, __file__]
    environment = os.environ | {"COLUMNS": WIDTH, "PYTHONPATH": _path(), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return "\n".join(f"## {name}\n\n```text\n{text}```\n" for name, text in found.items())


def all_commands() -> list[str]:
    """Return every command that takes ``--help``."""
    from paratime import forecast, language, world
    from paratime.cli.messages import TRAINING

    listed = []
    for package in (language, forecast, world):
        module = __import__(f"{package.__name__}.commands", fromlist=["COMMANDS"])
        listed += [f"{package.__name__.rpartition('.')[2]} {name}" for name in module.COMMANDS]
    return [*TRAINING[:1], *listed, "language size", "compare"]


def collect() -> dict[str, str]:
    """Return the help of every command by its name, printed in this process."""
    return {f"paratime {name}": _help(name) for name in all_commands()}


def _help(name: str) -> str:
    from paratime.__main__ import main

    sys.argv, out = ["paratime", *name.split(), "--help"], io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main()
    return re.sub(r"[^\S\n]*\x08", "", out.getvalue()).rstrip() + "\n"


def _path() -> str:
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))


if __name__ == "__main__":
    print(json.dumps(collect()))
