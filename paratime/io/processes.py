"""Processes that work for another one, or that may end in its place, and locks between them.

A lock is on an open file, so that the system releases it however a process ends. The file stays: to
remove it would let two processes hold what each takes for the same one. Systems without such locks,
such as Windows, have none.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from paratime.errors import InputError

PATIENCE = 2.0
"""Seconds after which a process says what it waits for."""

_log = logging.getLogger("paratime")


MEMORY, SECONDS, PACE = 8 * 2**30, 20, 5e6
"""Bytes, and seconds, that a trial may need, and the bytes a second that it reads at least."""

LAUNCHER = "PARATIME_LAUNCHER"
"""Variable with the process that Lightning starts others from."""

PR_SET_PDEATHSIG = 1
"""Of Linux's ``prctl``."""

TRIAL = """
import sys
from importlib import import_module
from paratime.io.processes import limit_memory
module, name, path, most = sys.argv[1:]
limit_memory(int(most))
getattr(import_module(module), name)(path)
"""


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, however that happens."""
    threading.Thread(target=_wait, daemon=True).start()


def end_with_launcher() -> None:
    """Have Linux end this process of several with the one that started it, were that killed.

    Otherwise it would wait for it, half an hour where torch's processes find each other.
    """
    if os.environ.get("LOCAL_RANK", "0") == "0":
        os.environ[LAUNCHER] = str(os.getpid())
    elif sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        by_lightning = "TORCHELASTIC_RUN_ID" not in os.environ
        if by_lightning and os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid()):
            os._exit(1)  # it was killed before


def _wait() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def read_on_trial(path: Path, module: str, name: str) -> None:
    """Let a process of its own read a file, whose damage may end a process or let it hang.

    Args:
        path: The file; one that has not changed is not read again.
        module: The module of the function that reads it; it must be quick to import.
        name: The function, which is given the path as text.

    Raises:
        InputError: The file ends the process or lets it hang, or the function raised an error.
    """
    stat = path.stat()
    problem = _problem(str(path.resolve()), stat.st_size, stat.st_mtime_ns, module, name)
    if problem:
        raise InputError(
            str(path), "a whole file", f"one that {problem}", "fetch or write it again"
        )


def limit_memory(most: int) -> None:
    """Limit the memory of this process, where the system can."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # which Windows lacks

        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@cache
def _problem(path: str, size: int, time: int, module: str, name: str) -> str:
    """Return what is wrong with a file of a given size and time, empty if nothing is."""
    command = [sys.executable, "-c", TRIAL, module, name, path, str(MEMORY + 4 * size)]
    paths = os.pathsep.join(x for x in sys.path if x)
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": paths, "HDF5_PLUGIN_PATH": os.devnull},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=SECONDS + size / PACE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "cannot be read in time"
    if done.returncode < 0:
        return f"ends the process that reads it, by signal {-done.returncode}"
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"cannot be read: {said[-1] if said else done.returncode}" if done.returncode else ""


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
