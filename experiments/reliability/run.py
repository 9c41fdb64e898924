"""What was promised, tried: one row for each kind of accident, with its command.

    python experiments/reliability/run.py               # half an hour on two cores
    python experiments/reliability/run.py --only kills  # one row anew

A row is a program of this folder, or tests of the suite, of which each is a try. ``results.csv``
keeps the rows.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
from tqdm import tqdm

from paratime.io import replacing

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results.csv"
ALL = ("-m", "slow or not slow")


@dataclass(frozen=True)
class Row:
    """A kind of accident.

    Attributes:
        what: What happens.
        program: A program of this folder with its options, or tests of the suite with options of
            pytest.
    """

    what: str
    program: Sequence[str]

    @property
    def command(self) -> str:
        """The command, as one types it."""
        words = [f"'{x}'" if " " in x else x for x in self.program]
        where = "pytest" if self.of_tests else "python experiments/reliability/"
        return f"{where}{' ' * self.of_tests}{' '.join(words)}"

    @property
    def of_tests(self) -> bool:
        """Whether pytest runs it."""
        return self.program[0].startswith("tests/")


ROWS = {
    "kills": Row(
        "SIGKILL at random moments and resume: weights, moments and random states",
        ("interrupted.py", "--signal", "KILL", "--times", "60"),
    ),
    "terminations": Row(
        "SIGTERM and resume, likewise",
        ("interrupted.py", "--signal", "TERM", "--times", "30"),
    ),
    "interruptions": Row(
        "SIGINT and resume, likewise", ("interrupted.py", "--signal", "INT", "--times", "30")
    ),
    "writing": Row(
        "killed while a checkpoint is written, TMPDIR on another file system",
        ("tests/training/test_checkpoints.py", *ALL),
    ),
    "places": Row(
        "resumed from anywhere in an epoch, limits of batches included",
        ("tests/language/model/test_resuming.py", "tests/training/test_samplers.py", *ALL),
    ),
    "sharing": Row(
        "two and three processes against one: losses, weights, scores, predictions, resumption",
        ("tests/training/test_sharing.py", *ALL),
    ),
    "signals": Row(
        "SIGTERM and SIGINT to any of several processes", ("tests/training/test_stopping.py", *ALL)
    ),
    "hostile": Row("full disk, folders that cannot be made, no home", ("hostile.py",)),
    "writers": Row("every writer on a full disk", ("tests/io/test_full_disk.py",)),
    "together": Row("three commands at once, to one folder or with one cache", ("together.py",)),
    "finite": Row(
        "NaN, infinity, rates up to 1e30, float16",
        ("tests/training/test_finite.py", "tests/training/test_finite_output.py", *ALL),
    ),
    "payloads": Row(
        "code in files that are read", ("tests/test_payloads.py", "tests/io/test_trust.py", *ALL)
    ),
    "mutated": Row("mutated files of all formats", ("mutated.py", "--each", "400")),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the rows, write the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"rows, separated by commas: {', '.join(ROWS)}")
    chosen = parser.parse_args(arguments).only
    names = chosen.split(",") if chosen else [*ROWS]
    known = pd.read_csv(RESULTS, index_col="row") if RESULTS.exists() else pd.DataFrame()
    found = known.to_dict("index")
    with tqdm(names) as bar:
        for name in bar:
            bar.set_description(name)
            tried, failed = _try(ROWS[name])
            about = {"what": ROWS[name].what, "tried": tried, "failed": failed}
            found[name] = about | {"command": ROWS[name].command}
            table = pd.DataFrame.from_dict({x: found[x] for x in ROWS if x in found}, "index")
            with replacing(RESULTS) as draft:
                table.to_csv(draft, index_label="row")
    print(table[["what", "tried", "failed"]].to_string(index=False))
    raise SystemExit(int(table["failed"].sum() > 0))


def _try(row: Row) -> tuple[int, int]:
    """Run a row; return how many tries it made, and how many failed."""
    about = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    with tempfile.TemporaryDirectory() as made:
        notes = Path(made, "notes.xml")
        tests = ("-m", "pytest", "-p", "no:cacheprovider", *row.program, f"--junitxml={notes}")
        words = tests if row.of_tests else (str(HERE / row.program[0]), *row.program[1:])
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=about, capture_output=True, text=True
        )
        if row.of_tests and notes.exists():
            (suite,) = ElementTree.parse(notes).getroot().iter("testsuite")
            count = {x: int(suite.attrib[x]) for x in ("tests", "skipped", "failures", "errors")}
            return count["tests"] - count["skipped"], count["failures"] + count["errors"]
    printed = re.search(r"tried (\d+) failed (\d+)", done.stdout)
    if printed is None:
        raise RuntimeError(done.stdout + done.stderr)
    return int(printed[1]), int(printed[2])


if __name__ == "__main__":
    main()
