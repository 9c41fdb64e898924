"""Commands of paratime in forks of this process, which has imported all that takes time."""

import fcntl
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from slices import write_data
from tqdm import tqdm

import paratime.main  # noqa: F401 (forks need not import it)
from paratime.__main__ import main

LONGEST = 120.0
"""Seconds after which a run hangs."""

MOST = 1 << 20
"""Bytes that a run may print. A pipe holds them where the disk is full."""


@dataclass(frozen=True)
class Ended:
    """How a run has ended.

    Attributes:
        status: As a shell reports it, 128 and more for signals.
        seconds: How long it took.
        said: What it printed.
    """

    status: int
    seconds: float
    said: str

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that it names at its end."""
        (line,) = [x for x in self.said.splitlines() if x.startswith("checkpoint ")]
        return Path(line.split(maxsplit=1)[1])


def nothing() -> None:
    """Leave a run the circumstances of this process."""


def run(
    folder: Path,
    *words: str,
    number: int = 0,
    after: float = LONGEST,
    before: Callable[[], object] = nothing,
) -> Ended:
    """Run a command in a folder, and send it a signal after some seconds.

    Args:
        folder: Where it runs.
        words: Its words, after ``paratime``.
        number: The signal, 0 for none.
        after: When to send it, in seconds.
        before: Called in the new process, before the command.

    Raises:
        TimeoutError: It hangs.
    """
    begin, (said, log) = time.monotonic(), os.pipe()
    fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, MOST)
    child = os.fork()
    if not child:
        _become(folder, log, words, before)
    os.close(log)
    status = _wait(child, after)
    if status is None and number:
        os.kill(child, number)
        status = _wait(child, LONGEST)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise TimeoutError(f"{' '.join(words)} hangs in {folder}")
    with open(said, "rb") as pipe:
        return Ended(status, time.monotonic() - begin, pipe.read().decode())


def tally(tries: Mapping[str, Callable[[Path], str]]) -> None:
    """Try each in a folder of its own; print how many failed, and end this process.

    Args:
        tries: By name; each returns what is wrong, or nothing.
    """
    failed = 0
    with tempfile.TemporaryDirectory() as made, tqdm(tries.items()) as bar:
        for name, attempt in bar:
            folder = Path(tempfile.mkdtemp(dir=made))
            write_data(folder)
            wrong = attempt(folder)
            failed += bool(wrong)
            if wrong:
                tqdm.write(f"{name}: {wrong}")
    print(f"tried {len(tries)} failed {failed}")
    raise SystemExit(failed > 0)


def _wait(child: int, seconds: float) -> int | None:
    """Return the status of a process once it has ended, None if that takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        time.sleep(0.002)
    return None


def _become(folder: Path, log: int, words: tuple[str, ...], before: Callable[[], object]) -> None:
    """Be a run in a new process, and end with it."""
    status = 1
    try:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(log, stream)
        sys.argv = ["paratime", *words]
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        before()
        main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
