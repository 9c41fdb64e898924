"""Files and folders that appear whole or not at all, even where several processes write one.

A draft is written in a folder of its own next to its place, ``.NAME.paratime-XXXXXXXX``: the
random name is made exclusively and only its owner may enter it, so that no other file is touched,
no link is followed and two writers never share a draft. What a killed process leaves is removed by
the next one that writes into the same folder: the system has released its lock.
"""

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from paratime.errors import InputError

MARK = ".paratime-"
"""Part of the name of a draft's folder, before the random part."""

LONGEST = 100
"""Characters of a target's name that the name of its draft's folder repeats."""

FRESH = 5.0
"""Seconds in which a draft's folder is never removed, as it may not be locked yet."""

FULL = {errno.ENOSPC, errno.EFBIG, errno.EIO, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Errors of a system that cannot write more."""

_NUMBER = re.compile(r"\(os error (\d+)\)|errno = (\d+)")
_LEFT = re.compile(rf"\..*{re.escape(MARK)}[a-z0-9_]{{8}}", re.DOTALL)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a draft of a file, which replaces it at the end, unless there is an error.

    The draft has the file's name, does not exist yet, and is on disk before it replaces the file,
    so that no crash leaves half of it. It keeps the permissions of the file that it replaces. Where
    ``path`` is a symbolic link, the link stays and the file that it points to is replaced, as
    ``open`` would.

    Args:
        path: The file; missing folders on its path are made.

    Raises:
        InputError: Something there is no file, such as a folder or a device.
    """
    path = _target(path)
    if path.exists() and not path.is_file():
        raise InputError(
            f"file {path}",
            expected="a file, or a new name",
            got="a folder" if path.is_dir() else "a device or a pipe",
            remedy="name another",
        )
    with _draft_folder(path) as folder:
        draft = folder / path.name
        yield draft
        if path.exists():
            shutil.copymode(path, draft)
        _to_disk(draft)
        draft.replace(path)


@contextmanager
def making(path: str | Path) -> Iterator[Path]:
    """Yield a draft of a new folder, which replaces it at the end, unless there is an error.

    Args:
        path: The folder, empty or missing; missing folders on its path are made.

    Raises:
        OSError: The folder is not empty at the end.
    """
    path = _target(path)
    with _draft_folder(path) as folder:
        draft = folder / path.name
        yield draft
        for file in draft.rglob("*"):
            if file.is_file() and not file.is_symlink():
                _to_disk(file)
        if path.is_dir():
            path.rmdir()
        draft.rename(path)


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


def _target(path: str | Path) -> Path:
    """Return what a path points to; links that point to each other point to nothing."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextmanager
def _draft_folder(path: Path) -> Iterator[Path]:
    """Yield a new, locked folder next to a path; remove it at the end."""
    _remove_abandoned(path.parent)
    try:
        prefix = f".{path.name[:LONGEST]}{MARK}"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    lock = _locked(folder)
    try:
        yield folder
    except Exception as error:
        if (number := _refused_write(error)) is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _refused_write(error: BaseException | None) -> int | None:
    """Return the number of the system's error if it refused a write, whatever a library says."""
    while error is not None:
        named = _NUMBER.search(str(error))
        number = int(named[1] or named[2]) if named else getattr(error, "errno", None)
        if number in FULL:
            return number
        error = error.__cause__ or error.__context__
    return None


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@cache
def _remove_abandoned(folder: Path) -> None:
    """Remove the drafts in a folder whose processes were killed; look once a process."""
    with suppress(OSError):
        for left in folder.iterdir():
            if _LEFT.fullmatch(left.name) and _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    with suppress(OSError):
        if time.time() - folder.lstat().st_mtime < FRESH:
            return False
        if (lock := _locked(folder)) is not None:
            os.close(lock)
            return True
    return False


def _locked(folder: Path) -> int | None:
    """Lock a folder; return its descriptor, or None if another has it or the system has no locks.

    The lock is the operating system's, which releases it however its process ends.
    """
    try:
        import fcntl  # which Windows lacks

        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, AttributeError, OSError):
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file
