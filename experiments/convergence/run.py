"""How many Newton iterations nonlinear recurrences take, by what, and which never converge.

Nine cells, one of them in two states, are solved with the loop's help off, and by ``Newton()``:
against chunk, scale, length, precision and density of resets (``sweeps.py``), and while they are
trained on tokens, series and trajectories (``trained.py``). A part is a CSV file; what is in
there is kept.

    python experiments/convergence/run.py                 # what is missing, then table and figures
    python experiments/convergence/run.py --part scale    # one part, anew
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from charts import FIGURES
from sweeps import SWEEPS
from tqdm import tqdm
from trained import TRAININGS
from verdict import markdown, verdict, worst

from paratime.io import replacing, save_figure

HERE = Path(__file__).parent
PARTS = SWEEPS | TRAININGS


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, or one part anew; print the verdict and draw the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--part", choices=PARTS, help="one part, anew, and no more")
    chosen = parser.parse_args(arguments).part
    torch.set_num_threads(1)  # the tensors of a step are small
    if chosen:
        path(chosen).unlink(missing_ok=True)
        fill(chosen)
        return
    for name in PARTS:
        fill(name)
    report()


def fill(name: str) -> None:
    """Measure the points that a part lacks, with a bar; each is kept at once."""
    measure, points = PARTS[name]
    table = pd.read_csv(path(name)) if path(name).exists() else pd.DataFrame()
    there = set(table.iloc[:, : len(points[0])].itertuples(index=False, name=None))
    rows = table.to_dict("records")
    lacking = [point for point in points if point not in there]
    for point in tqdm(lacking, desc=name, disable=not lacking):
        rows += measure(*point)
        write(pd.DataFrame(rows), path(name))


def report() -> None:
    """Print and write the verdict, and draw the figures."""
    tables = results()
    table = verdict(tables)
    write(table, path("verdict"))
    print(markdown(table))
    for name, draw in FIGURES.items():
        save_figure(draw(tables), str(HERE / f"{name}.png"))
    error = tables["scale"].newton_error.max()
    print(f"\nlargest error of Newton against the loop over all scales and chunks: {error:.1e}")


def results() -> dict[str, pd.DataFrame]:
    """Return the parts, each the worst of its seeds."""
    return {name: worst(pd.read_csv(path(name))) for name in PARTS}


def path(name: str) -> Path:
    """Return the file of a part."""
    return HERE / f"{name}.csv"


def write(table: pd.DataFrame, file: Path) -> None:
    """Write a table, whole or not at all."""
    with replacing(file) as draft:
        table.to_csv(draft, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
