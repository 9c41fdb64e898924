"""Runs side by side, each in a process of its own, with bars or lines that show their progress."""

import multiprocessing
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from paratime.compare.domains import Build
from paratime.compare.results import Key, Result
from paratime.compare.run import Job, work
from paratime.io.atomic import replacing
from paratime.io.processes import holding

CONTEXT = multiprocessing.get_context("forkserver")


class Claim:
    """A lock on a run, so that no other process does it at the same time.

    The lock is the operating system's, which frees it however its process ends.

    Args:
        path: File to lock; it is removed with the lock.

    Raises:
        BlockingIOError: Another process holds it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._lock = path, FileLock(path)
        while not self._lock.is_locked:
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                if path.exists():  # otherwise its holder has just removed it: try again
                    raise BlockingIOError(str(path)) from None

    def release(self) -> None:
        """Free the lock."""
        self._path.unlink(missing_ok=True)
        self._lock.release()


def alone(folder: Path) -> AbstractContextManager[None]:
    """Return a lock on the files that all runs of a folder share."""
    return holding(folder / ".lock", f"writes into {folder}")


class View(ABC):
    """Shows the progress of runs, and the outcome of each."""

    @abstractmethod
    def started(self, place: int, key: Key, steps: int) -> None:
        """Show a new run at a place, which only one has at a time."""

    @abstractmethod
    def moved(self, place: int, step: int, loss: float) -> None:
        """Show the progress of the run at a place."""

    @abstractmethod
    def ended(self, place: int, text: str) -> None:
        """Write the outcome of the run at a place."""

    @abstractmethod
    def close(self) -> None:
        """Remove what is shown."""


class Bars(View):
    """A bar for all runs, and one for each run in progress.

    Args:
        total: Number of runs.
        done: How many of them are finished.
    """

    def __init__(self, total: int, done: int) -> None:
        self._all = tqdm(total=total, initial=done, desc="runs", unit="run", leave=False)
        self._bars: dict[int, tqdm] = {}

    def started(self, place: int, key: Key, steps: int) -> None:
        """Add a bar below the others."""
        layout = "{desc:<32} |{bar:12}| {n_fmt}/{total_fmt}{postfix}"
        self._bars[place] = tqdm(
            total=steps, desc=str(key), position=place + 1, leave=False, bar_format=layout
        )

    def moved(self, place: int, step: int, loss: float) -> None:
        """Move the bar."""
        bar = self._bars[place]
        bar.set_postfix_str(f"loss {loss:.3f}" if step < bar.total else "testing", refresh=False)
        bar.update(step - bar.n)

    def ended(self, place: int, text: str) -> None:
        """Remove the bar, and write a line above the others."""
        self._bars.pop(place).close()
        self._all.write(text)
        self._all.update()

    def close(self) -> None:
        """Remove all bars."""
        for bar in (*self._bars.values(), self._all):
            bar.close()


class Lines(View):
    """A line for each run that has ended."""

    def started(self, place: int, key: Key, steps: int) -> None:
        """Write nothing."""

    def moved(self, place: int, step: int, loss: float) -> None:
        """Write nothing."""

    def ended(self, place: int, text: str) -> None:
        """Write a line."""
        print(text, flush=True)

    def close(self) -> None:
        """Write nothing."""


def view_of(total: int, done: int) -> View:
    """Return bars on a terminal, and lines elsewhere."""
    return Bars(total, done) if sys.stderr.isatty() else Lines()


@dataclass(frozen=True)
class Running:
    """A run in progress, with its process, its lock, and the place of its bar."""

    job: Job
    process: ForkServerProcess
    claim: Claim
    place: int


class Pool:
    """Does jobs, several at a time.

    It is not ``concurrent.futures``, where one killed process ends all the others and a job cannot
    report its progress.

    Args:
        build: Builds a run.
        processes: Jobs at a time.
        view: Shows their progress.
    """

    def __init__(self, build: Build, processes: int, view: View) -> None:
        self._build, self._processes, self._view = build, processes, view
        self._running: dict[Connection, Running] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        """Do jobs, except those that another process is doing.

        A job whose process ends without a result leaves a file with the reason.
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
        """Receive the progress of a run, or the end of its process."""
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
    """Start the server that forks the processes; it imports once what all of them need."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads that numpy starts do not survive a fork
    CONTEXT.set_forkserver_preload([build.__module__, work.__module__])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited during its imports
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)


def _outcome(job: Job, status: int | None) -> str:
    """Return a line with the outcome of a job; the output of a failed one is kept."""
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
