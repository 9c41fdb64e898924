"""Reads damaged files of some formats, and writes a line about each that is read wrongly.

python tests/fuzzing/worker.py FOLDER COUNT SEED FORMAT...
"""

import faulthandler
import random
import resource
import shutil
import signal
import sys
import traceback
import warnings
from contextlib import redirect_stdout
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from fuzzing.formats import FORMATS  # noqa: E402
from fuzzing.mutations import damage  # noqa: E402

from paratime.errors import InputError  # noqa: E402

SECONDS, GIBIBYTES, LONGEST = 30, 4, 700


class TooLong(BaseException):
    """An input took too long."""


def too_long(*_: object) -> None:
    raise TooLong


def verdict(name: str, folder: Path, path: Path) -> str | None:
    """Return what is wrong with how a damaged file is read, if anything is."""
    signal.alarm(SECONDS)
    try:
        FORMATS[name].read(folder)
    except InputError as error:
        text = str(error)
        if "\n" in text or len(text) > LONGEST:
            return f"a message of {len(text)} characters: {text[:200]!r}"
        if not any(part in text for part in (path.name, path.stem, str(folder), folder.name)):
            return f"a message without the file's name: {text!r}"
    except TooLong:
        return f"more than {SECONDS} s"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:150]!r} at {last.filename}:{last.lineno}"
    finally:
        signal.alarm(0)
    return None


def main(out: str, count: str, seed: str, *names: str) -> None:
    """Try damaged files of each format, and write what was read wrongly."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, too_long)
    root = Path(out)
    for name in names:
        valid = root / f"valid-{name}"
        if not valid.exists():
            valid.mkdir(parents=True)
            with redirect_stdout(sys.stderr):
                FORMATS[name].write(valid)
        FORMATS[name].read(valid)
    limit = GIBIBYTES << 30
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    for name in names:
        for number in range(int(count)):
            draw = random.Random(f"{name} {seed} {number}")
            folder = root / f"file-{name}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(root / f"valid-{name}", folder)
            (root / "now").write_text(f"{name} {seed} {number}")
            path = damage(folder, draw)
            wrong = verdict(name, folder, path)
            if wrong is not None:
                print(f"{name} {seed} {number} {path.name}: {wrong}", flush=True)
        print(f"read {name}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
