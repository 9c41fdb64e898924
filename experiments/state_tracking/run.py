"""Which mixers track states, and for how long: accuracy by task, mixer and length.

Every mixer stands in the same network, is trained on sequences of 40 tokens drawn from a seed, and
tested on up to 256. A run is a row of ``results.csv``; rows that are there are not run again.

    python experiments/state_tracking/run.py                                # what is missing
    python experiments/state_tracking/run.py --tasks parity --mixers ParaGRU,MinGRU --seeds 3
"""

import argparse
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from figures import draw_blocks, draw_lengths
from learning import LENGTHS, SETTINGS, measure
from tasks import TASKS
from tqdm import tqdm
from trackers import MIXERS

from paratime.compare import pipes
from paratime.errors import InputError
from paratime.io import replacing

HERE = Path(__file__).parent
KEYS = ["task", "mixer", "seed"]
Key = tuple[str, str, int]


def main(arguments: list[str] | None = None) -> None:
    """Run what was asked for and is not there, print the table and draw the figures."""
    chosen = parse(arguments)
    torch.set_num_threads(1)
    results = HERE / "results.csv"
    there = set(keys_of(read(results)))
    todo = [key for key in wanted(chosen.tasks, chosen.mixers, chosen.seeds) if key not in there]
    with tqdm(todo, desc="runs") as bar:
        for key in bar:
            bar.set_postfix_str(" ".join(map(str, key)))
            keep(results, dict(zip(KEYS, key, strict=True)) | measure(*key))
    table = read(results)
    print(markdown(table))
    draw_lengths(table, HERE / "lengths.png")
    draw_blocks(table, pd.read_csv(HERE / "cost.csv"), HERE / "blocks.png")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    for name, known in (("tasks", SETTINGS), ("mixers", MIXERS)):
        text = f"some of {', '.join(known)}, with commas between; all by default"
        parser.add_argument(f"--{name}", type=some_of(name, known), default=[*known], help=text)
    text = "runs of each mixer; 3 for parity and 1 for other tasks by default"
    parser.add_argument("--seeds", type=int, help=text)
    return parser.parse_args(arguments)


def some_of(what: str, known: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that splits names at commas and refuses those that are not known."""

    def split(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                error = InputError(what, ", ".join(known), repr(name), "choose some of these")
                raise argparse.ArgumentTypeError(str(error))
        return names

    return split


def wanted(tasks: list[str], mixers: list[str], seeds: int | None) -> Iterator[Key]:
    """Yield the runs of some tasks and mixers, in the order of the table."""
    for task in (name for name in SETTINGS if name in tasks):
        for mixer in (name for name in MIXERS if name in mixers):
            for seed in range(SETTINGS[task].seeds if seeds is None else seeds):
                yield task, mixer, seed


def read(path: Path) -> pd.DataFrame:
    """Return the table, without rows where there is none yet."""
    return pd.read_csv(path) if path.exists() else pd.DataFrame(columns=KEYS)


def keys_of(table: pd.DataFrame) -> list[Key]:
    """Return the key of each row."""
    return list(table[KEYS].itertuples(index=False, name=None))


def keep(path: Path, row: dict[str, Any]) -> None:
    """Put a run into the table, in the place of an equal one; other processes may do so, too."""
    rows = {place(x): x for x in [*read(path).to_dict("records"), row]}
    with replacing(path) as draft:
        table = pd.DataFrame([rows[key] for key in sorted(rows)])
        table.to_csv(draft, index=False, float_format="%.4g")


def place(row: dict[str, Any]) -> tuple[int, int, int]:
    """Return where a run stands in the table."""
    return list(SETTINGS).index(row["task"]), list(MIXERS).index(row["mixer"]), row["seed"]


def markdown(table: pd.DataFrame) -> str:
    """Return mean accuracies in percent, those of training in brackets, by mixer and task."""
    far, near = (
        100 * table.pivot_table(f"accuracy@{length}", "mixer", "task")
        for length in (LENGTHS[2], LENGTHS[0])
    )
    tasks = [name for name in SETTINGS if name in far]
    lines = [["mixer", *tasks]]
    for mixer in (name for name in MIXERS if name in far.index):
        lines.append([mixer, *(cell(far[x][mixer], near[x][mixer]) for x in tasks)])
    lines.append(["chance", *(f"{100 / TASKS[task].classes:.1f}" for task in tasks)])
    return pipes(lines)


def cell(far: float, near: float) -> str:
    """Return an accuracy, with that of training where they differ by 2 or more."""
    if math.isnan(far):
        return ""
    return f"{far:.1f} ({near:.1f})" if abs(far - near) >= 2 else f"{far:.1f}"


if __name__ == "__main__":
    main()
