"""Processes that work for another one, and locks between processes.

A lock is on an open file, so that the system releases it however a process ends. The file stays: to
remove it would let two processes hold what each takes for the same one. Systems without such locks,
such as Windows, have none.
"""

import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paratime.errors import InputError

PATIENCE = 2.0
"""Seconds after which a process says what it waits for."""

_log = logging.getLogger("paratime")


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that happens."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


@contextmanager
def holding(path: str | Path, doing: str) -> Iterator[None]:
    """Hold a lock, as soon as no other process holds it; log once what takes longer.

    Args:
        path: The file to lock, which is made if it is missing.
        doing: What the other process does, for the message.
    """
    with _opened(path) as file:
        since, told = time.monotonic(), False
        while not _locked(file):
            if not told and time.monotonic() - since > PATIENCE:
                _log.warning("waiting for another process that %s", doing)
                told = True
            time.sleep(0.05)
        yield


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Be the one process that writes into a folder, which is made if it is missing.

    Raises:
        InputError: Another one writes into it.
    """
    with _opened(Path(folder) / ".lock") as file:
        if not _locked(file):
            raise InputError(
                f"out {folder}",
                expected="a folder that no other process writes into",
                got="one in use",
                remedy="name another, or wait until that process has ended",
            )
        yield


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        yield file
    finally:
        os.close(file)


def _locked(file: int) -> bool:
    """Lock a file; return False if another process has locked it."""
    try:
        import fcntl  # which Windows lacks

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # of a file system without locks
        return True
    return True
