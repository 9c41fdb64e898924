"""What the CUDA kernels take on this machine's GPU, and where one method beats the other.

    python experiments/cuda/bench.py
    python experiments/cuda/bench.py --folder /tmp/results --no-thresholds    # change no file here

The full sweep of what ``report.py`` measures in minutes: more shapes, formats and channels, and no
deadline. It times no kernel that is not right. It writes accuracy.csv and results.csv row by row,
bench.png where matplotlib is installed, and the table of crossovers that paratime chooses by.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import checkout  # noqa: F401
import torch
from clock import EventClock
from crossover import write_thresholds
from gate import errors, find_device, gate_of
from measure import FULL, jobs
from results import ERRORS, TIMES, Table, aligned, crossovers, draw, summary, thresholds
from session import Deadline, work_through

HERE = Path(__file__).parent
SIZES = FULL


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, time, write and print everything."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE, help="where the results go")
    parser.add_argument("--no-thresholds", action="store_true", help="keep the package's table")
    options = parser.parse_args(arguments)
    where, folder = find_device(), options.folder
    folder.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name(where)
    accuracy = Table(folder / "accuracy.csv", ERRORS)
    times = Table(folder / "results.csv", TIMES, device=name)
    for row in errors(where, SIZES.gate):
        accuracy.add(row)
    work, gate = jobs(where, SIZES), gate_of(accuracy.rows)
    skipped = list(work_through(work, gate, EventClock(where), times, Deadline()))
    draw(times, folder / "bench.png")
    found = thresholds(crossovers(times.frame("method")))
    if found and not options.no_thresholds:
        write_thresholds(found, f"measured on {name}")
    print(f"\n{name}\n\n{summary(times)}\n\nErrors against the CPU\n{aligned(accuracy.frame())}\n")
    for x in skipped:
        print(f"{'WRONG' if x.failed else 'not timed'}: {x.name}: {x.reason}")
    raise SystemExit(1 if any(x.failed for x in skipped) or gate.wrong else 0)


if __name__ == "__main__":
    main()
