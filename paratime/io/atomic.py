"""Files and folders that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paratime.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a draft beside a file, which takes its place at the end, unless there is an error.

    Args:
        path: The file; folders on its way are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def making(path: str | Path) -> Iterator[Path]:
    """Yield a draft of a new folder, which takes its place at the end, unless there is an error.

    Args:
        path: The folder, which is empty or not there; folders on its way are made.

    Raises:
        OSError: Something is in the folder at the end.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = beside / path.name
        yield draft
        if path.is_dir():
            path.rmdir()
        draft.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_new(path: str | Path) -> None:
    """Refuse a folder for ``making`` that something is in, before anything is computed for it."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        got, remedy = "something in it", "choose another, or remove it"
        raise InputError(f"out {path}", "a new or an empty folder", got, remedy)
