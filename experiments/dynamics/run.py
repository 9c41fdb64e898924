"""Does nonlinear recurrence help on numeric dynamics? Models of one size, on systems and series.

Every model is trained on the same batches in the same order, and rolls out 100 episodes of another
simulation for ten times as long as a training window. ``Simulator`` are two simulations beside each
other, which is as near as climates can come. All measures: ``trial.py``, ``measures.py``.

    python experiments/dynamics/run.py                   # what is not in results.csv
    python experiments/dynamics/run.py --model Mamba     # one model, anew
"""

import argparse
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from mixers import MIXERS
from scoreboard import scores, solves
from tqdm import tqdm
from trial import SERIES, WITHOUT, WORLDS, Figures, dynamics, floor, forecasts

from paratime.io import replacing, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
RESULTS, FIGURE = HERE / "results.csv", HERE / "figure.png"
KEYS = ["data", "model", "seed"]
SEEDS, SIMULATOR = 3, "Simulator"
DRIVEN, BLIND = "Duffing, position", ("ParaGRU" + WITHOUT, "ParaLSTM" + WITHOUT)

KINDS = {
    "nonlinear recurrence": ("ParaGRU", "ParaGRU-8", "ParaLSTM", "TorchGRU"),
    "linear recurrence": ("MinGRU", "Mamba", "Mamba2", "Mamba3"),
    "no recurrence": ("Attention", "Convolution"),
}
COLORS = dict(zip(KINDS, ("C0", "C1", "0.5"), strict=True))
SHOWN = {
    "valid": "valid time, Lyapunov times",
    "histogram": "histogram distance",
    "spectrum": "spectrum distance",
}
OF_SERIES = {
    "MASE": "MASE",
    "mean_wQL": "mean wQL",
    "coverage_80": "coverage of 80 % intervals",
}


def main() -> None:
    """Run what was asked for, keep it, print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    models = (*MIXERS, *BLIND, SIMULATOR)
    parser.add_argument("--model", choices=models, help="one model, anew")
    chosen = parser.parse_args().model
    done = set(read().itertuples(index=False, name=None)) if chosen is None else set()
    todo = [x for x in grid() if chosen in (None, x[1]) and x not in done]
    for data, model, seed in tqdm(todo, desc="runs"):
        keep({"data": data, "model": model, "seed": seed} | measure(data, model, seed))
    table = pd.read_csv(RESULTS)
    show(table)
    draw(table)


def grid() -> Iterator[tuple[str, str, int]]:
    """Yield all runs: every model once, before any of them with another seed."""
    yield from ((data, SIMULATOR, 0) for data in WORLDS)
    for seed in range(SEEDS):
        for data in WORLDS:
            yield from ((data, model, seed) for model in MIXERS)
        yield from ((DRIVEN, model, seed) for model in BLIND)
        yield from ((SERIES, model, seed) for model in MIXERS)


def measure(data: str, model: str, seed: int) -> Figures:
    """Do one run."""
    if data == SERIES:
        return forecasts(model, seed)
    return floor(WORLDS[data]) if model == SIMULATOR else dynamics(WORLDS[data], model, seed)


def read() -> pd.DataFrame:
    """Return which runs there are."""
    return pd.read_csv(RESULTS)[KEYS] if RESULTS.exists() else pd.DataFrame(columns=KEYS)


def keep(row: dict[str, object]) -> None:
    """Put a run into the table, in the place of an earlier one."""
    rows = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    kept = {tuple(x[key] for key in KEYS): x for x in [*rows, row]}
    table = pd.DataFrame([kept[key] for key in grid() if key in kept])
    with replacing(RESULTS) as draft:
        table.to_csv(draft, index=False, float_format="%.5g")


def show(table: pd.DataFrame) -> None:
    """Print the tables of the README."""
    for data, rows in table.groupby("data", sort=False):
        print(f"\n{data}\n\n{scores(rows)}")
    print(f"\n{solves(table)}")


def draw(table: pd.DataFrame) -> None:
    """Draw three measures of each data set, every seed a dot, their mean a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8.5), layout="constrained")
    sets = table["data"].unique()
    panels = figure.subplots(3, len(sets), sharey=True)
    for column, data in zip(panels.T, sets, strict=True):
        rows = table[table["data"] == data]
        names = OF_SERIES if data == SERIES else SHOWN
        for axes, (name, title) in zip(column, names.items(), strict=True):
            dots(axes, rows.dropna(subset=[name]), name)
            axes.set_xlabel(title)
            if data != SERIES:
                axes.set_xlim(left=0)
            if name == "coverage_80":
                axes.axvline(0.8, color="0.8", zorder=0)
        column[0].set_title(data)
    names = [model for models in KINDS.values() for model in models]
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].invert_yaxis()
    figure.legend(*panels[0, 0].get_legend_handles_labels(), ncols=3, loc="outside lower center")
    save_figure(figure, str(FIGURE))


def dots(axes: "Axes", rows: pd.DataFrame, name: str) -> None:
    """Draw a measure of each model; how far simulations are apart is a grey line."""
    place = 0
    for kind, models in KINDS.items():
        for model in models:
            values, label = rows.loc[rows["model"] == model, name], kind * (model == models[0])
            axes.plot(values, [place] * len(values), "o", c=COLORS[kind], ms=5, label=label)
            axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], c=COLORS[kind])
            place += 1
    for value in rows.loc[rows["model"] == SIMULATOR, name]:
        axes.axvline(value, color="0.8", zorder=0)
    axes.grid(axis="x", color="0.93")
    axes.locator_params(axis="x", nbins=5)


def quieten() -> None:
    """Drop what GluonTS, pandas and Lightning say of themselves."""
    for name in ("lightning.pytorch", "lightning.fabric", "gluonts"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


if __name__ == "__main__":
    quieten()
    torch.set_num_threads(1)
    main()
