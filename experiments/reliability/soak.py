"""One process that trains, tests and predicts in all slices for long: nothing may pile up.

    python experiments/reliability/soak.py

Memory, open files and threads are noted after each round. They fail if a line through the second
half of the rounds rises by more than a twentieth of their mean in an hour.
"""

import argparse
import gc
import os
import resource
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from slices import OPTIONS, STEPS, TRAINER, write_data
from tqdm import tqdm

from paratime.__main__ import main as paratime
from paratime.io import replacing, save_figure

HERE = Path(__file__).parent
MEASURES = {"MiB": "memory in MiB", "files": "open files", "threads": "threads"}
RISE = 0.05
"""Share of the mean by which a measure may rise in an hour."""


def main(arguments: list[str] | None = None) -> None:
    """Run for some minutes; write what was noted, and a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args(arguments).minutes
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    begin, rows = time.monotonic(), []
    with tqdm(total=round(60 * minutes), unit="s") as bar, Path(os.devnull).open("w") as nowhere:
        while time.monotonic() - begin < 60 * minutes:
            for name in OPTIONS:
                with redirect_stdout(nowhere), redirect_stderr(nowhere):
                    _round(name)
            rows.append({"minutes": (time.monotonic() - begin) / 60} | _noted())
            bar.update(round(time.monotonic() - begin) - bar.n)
            bar.set_postfix(rows[-1], refresh=False)
    table = pd.DataFrame(rows)
    failed = [name for name in MEASURES if _rises(table["minutes"], table[name])]
    with replacing(HERE / "soak.csv") as draft:
        table.to_csv(draft, index=False, float_format="%.2f")
    _figure(table)
    print(table.describe().loc[["min", "50%", "max"]].to_string())
    print(f"tried {len(table)} failed {len(failed)}", *failed)
    raise SystemExit(len(failed) > 0)


def _round(name: str) -> None:
    """Train, test and predict in a new folder."""
    back = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_data(folder)
        os.chdir(folder)
        try:
            _command("fit", *OPTIONS[name], *TRAINER)
            (checkpoint,) = folder.rglob(f"*step={STEPS}.ckpt")
            for command in ("test", "predict"):
                _command(command, *OPTIONS[name], *TRAINER, f"--ckpt_path={checkpoint}")
        finally:
            os.chdir(back)


def _command(*words: str) -> None:
    sys.argv = ["paratime", *words]
    paratime()


def _noted() -> dict[str, float]:
    """Return what the process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "MiB": pages * resource.getpagesize() / 2**20,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def _figure(table: pd.DataFrame) -> None:
    figure = Figure(figsize=(8.0, 2.6), layout="constrained")
    panels = figure.subplots(1, len(MEASURES))
    for number, (axes, (name, label)) in enumerate(zip(panels, MEASURES.items(), strict=True)):
        axes.plot(table["minutes"], table[name], color=f"C{number}")
        axes.set(xlabel="minutes", title=label, ylim=(0, 1.25 * table[name].max()))
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, str(HERE / "soak.png"))


def _rises(minutes: pd.Series, values: pd.Series) -> bool:
    half = len(minutes) // 2
    slope = np.polyfit(minutes[half:], values[half:], 1)[0]
    return bool(60 * slope > RISE * values.mean())


if __name__ == "__main__":
    main()
