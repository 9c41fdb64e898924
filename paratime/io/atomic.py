"""Files and folders that appear whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paratime.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a draft next to a file, which replaces it at the end, unless there is an error.

    Args:
        path: The file; missing folders on its path are made.
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
    """Yield a draft of a new folder, which replaces it at the end, unless there is an error.

    Args:
        path: The folder, empty or missing; missing folders on its path are made.

    Raises:
        OSError: The folder is not empty at the end.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    parent = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = parent / path.name
        yield draft
        if path.is_dir():
            path.rmdir()
        draft.rename(path)
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def check_new(path: str | Path) -> None:
    """Refuse a folder for ``making`` that is not empty, before anything is computed for it."""
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f"out {path}",
            expected="a new or an empty folder",
            got="something in it",
            remedy="choose another, or remove it",
        )
