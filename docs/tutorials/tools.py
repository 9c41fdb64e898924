"""What tutorials share: commands of a shell, and pictures that the site shows."""

import shlex
import subprocess
import sys
from pathlib import Path


def shell(command: str) -> None:
    """Run a command, and print it with what a terminal shows at its end.

    ``paratime`` is that of this Python.
    """
    words = shlex.split(command)
    if words[0] == "paratime":
        words[:1] = [sys.executable, "-m", "paratime"]
    done = subprocess.run(words, capture_output=True, check=False)
    lines = done.stdout.decode().rstrip().split("\n")
    print(f"$ {command}", *(line.rstrip("\r").rpartition("\r")[2] for line in lines), sep="\n")
    if done.returncode:
        raise SystemExit(done.stderr.decode())


def picture(path: str, alt: str) -> None:
    """Name a picture that the tutorial has drawn; ``render.py`` puts it on the page."""
    assert Path(path).stat().st_size > 0
    print(f"![{alt}]({path})")
