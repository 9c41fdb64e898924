"""Runs side by side, each in a process of its own."""

import fcntl
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from paratime.compare.kind import Build
from paratime.compare.result import Result
from paratime.compare.run import Job, work
from paratime.compare.view import View
from paratime.io.atomic import replacing

CONTEXT = multiprocessing.get_context("forkserver")


class Claim:
    """A lock on a run, so that no other process does it at the same time.

    It is the system's, which opens it however the process that holds it ends.

    Args:
        path: File to lock; it goes when the lock is opened.

    Raises:
        BlockingIOError: Another process holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, _locked(path)

    def release(self) -> None:
        """Open the lock."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def _locked(path: Path) -> TextIOWrapper:
    """Return a file that is locked, and still there: who held it before may have removed it."""
    while True:
        file = path.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except BlockingIOError:
            file.close()
            raise
        file.close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes the files that all runs of a folder share."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Running:
    """A run in progress, the process that does it, the lock on it, and the place of its bar."""

    job: Job
    process: ForkServerProcess
    claim: Claim
    place: int


class Pool:
    """Does jobs, some at a time.

    Args:
        build: Builds a run.
        processes: How many at a time.
        view: Shows how far they are.
    """

    def __init__(self, build: Build, processes: int, view: View) -> None:
        self._build, self._processes, self._view = build, processes, view
        self._running: dict[Connection, Running] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """Do jobs, apart from those that another process is at.

        A job whose process ends without a result leaves a file that says why.
        """
        waiting = deque(jobs)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._processes:
                    job = waiting.popleft()
                    with suppress(BlockingIOError):
                        self._start(job, Claim(job.key.lock(job.out)))
                for connection in wait([*self._running]):
                    assert isinstance(connection, Connection)
                    self._hear(connection)
        finally:
            for running in self._running.values():
                running.process.kill()
                running.process.join()
                running.claim.release()

    def _start(self, job: Job, claim: Claim) -> None:
        if job.key.path(job.out).exists():  # since another process was faster
            claim.release()
            return
        job.key.error(job.out).unlink(missing_ok=True)
        places = {running.place for running in self._running.values()}
        place = min({*range(self._processes)} - places)
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=work, args=(job, self._build, theirs))
        process.start()
        theirs.close()
        self._running[ours] = Running(job, process, claim, place)
        self._view.started(place, job.key, job.settings["steps"])

    def _hear(self, connection: Connection) -> None:
        """Hear how far a run is, or that its process has ended."""
        running = self._running[connection]
        try:
            self._view.moved(running.place, *connection.recv())
        except (EOFError, ConnectionError):
            del self._running[connection]
            connection.close()
            running.process.join()
            self._view.ended(running.place, _outcome(running.job, running.process.exitcode))
            running.claim.release()


def warm_up(build: Build, threads: int) -> None:
    """Start the server that processes are forked from; it imports what all of them need, once."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads that numpy starts do not survive a fork
    CONTEXT.set_forkserver_preload([build.__module__, work.__module__])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which it inherits for its imports
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def _outcome(job: Job, status: int | None) -> str:
    """Return a line on what came of a job; what it printed stays if it has failed."""
    path, log, error = (name(job.out) for name in (job.key.path, job.key.log, job.key.error))
    if path.exists():
        log.unlink(missing_ok=True)
        result = Result.load(path)
        (name, value), *_ = result.quality.items()
        return f"{job.key!s:<32} {name} {value:.4f}, {result.cost['train_seconds']:.0f} s"
    printed = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
    if not printed or status is None or status <= 0:  # else it said why
        printed += f"\nThe process ended with status {status}."
    with replacing(error) as draft:
        draft.write_text(printed + "\n", encoding="utf-8")
    log.unlink(missing_ok=True)
    why = printed.splitlines()[-1]
    return f"{job.key!s:<32} failed: {why}; see {error}"
