"""Damaged files of every format that paratime reads: read, or refused in one line.

    python experiments/reliability/mutated.py --each 400

The formats, the mutations and the verdict are those of ``tests/fuzzing``.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

FUZZING = Path(__file__).parents[2] / "tests" / "fuzzing"
sys.path[:0] = [str(FUZZING.parent), str(FUZZING.parents[1])]

from fuzzing.formats import FORMATS  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Damage files of each format, and print how many were read wrongly."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=400, help="files of a format")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    failed = 0
    with tempfile.TemporaryDirectory() as made, tqdm(FORMATS) as bar:
        for name in bar:
            bar.set_description(name)
            words = (str(FUZZING / "worker.py"), made, str(chosen.each), str(chosen.seed), name)
            done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
            lines = [x for x in done.stdout.splitlines() if not x.startswith("read ")]
            failed += len(lines) + (done.returncode != 0)
            for line in lines:
                tqdm.write(line)
            if done.returncode:
                tqdm.write(f"{name}: the process ended with {done.returncode}")
    print(f"tried {len(FORMATS) * chosen.each} failed {failed}")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
