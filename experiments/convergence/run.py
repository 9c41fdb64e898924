"""How many Newton iterations a nonlinear recurrence takes, by segment length and weight scale.

Inputs are N(0, 1), recurrent weights N(0, scale^2), in float64. For each cell, scale and chunk:

- ``to_1e-6``: iterations until the largest error against the loop is at most 1e-6, of at most 40;
- ``error_3``: that error after 3 iterations, which is what a fixed count of 3 would return;
- ``newton``: iterations that ``Newton(chunk)`` takes, ``loop_share``: the share of steps that it
  leaves to the loop, ``error``: its error against the loop.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import matplotlib
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from paratime import Cell, GRUCell, LSTMCell, Newton, Sequential
from paratime.cells.init import NormalInit
from paratime.solvers.newton import iterate

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
WIDTH, INPUT, BATCH, LIMIT = 64, 16, 2, 40
SCALES = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0)
CHUNKS = (1, 4, 16, 64, 256)
CELLS: dict[str, tuple[Callable[..., Cell], int]] = {
    "GRU": (GRUCell, 2048),
    "LSTM": (LSTMCell, 1024),
}


def main() -> None:
    """Run the grid, write ``results.csv`` and ``figure.png``, print the table."""
    grid = [(name, scale, chunk) for name in CELLS for scale in SCALES for chunk in CHUNKS]
    rows = [measure(*point) for point in tqdm(grid, desc="solves")]
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "results.csv", index=False, float_format="%.3g")
    draw(table)
    wide = table.pivot(index=["cell", "steps", "scale"], columns="chunk", values="to_1e-6")
    print(f"iterations to an error of 1e-6, by chunk ({LIMIT + 1}: more than {LIMIT})")
    print(wide.to_string())
    print("\nerror of chunk 1 after 3 iterations")
    print(table[table.chunk == 1][["cell", "scale", "error_3"]].to_string(index=False))
    worst = table.error.max()
    print(f"\nlargest error of Newton against the loop over the whole grid: {worst:.1e}")
    assert worst <= 1e-10, "Newton does not give the loop's result"


def measure(name: str, scale: float, chunk: int) -> dict[str, object]:
    """Solve one problem by iterations of one chunk, and by ``Newton``."""
    kind, steps = CELLS[name]
    torch.manual_seed(0)
    cell = kind(INPUT, WIDTH, init=NormalInit(scale)).double()
    with torch.no_grad():
        u = cell.drive(torch.randn(BATCH, steps, INPUT, dtype=torch.float64))
        truth = Sequential().solve(cell, u, None, None).states
        errors = errors_of_iterations(cell, u, truth, chunk)
        solution = Newton(chunk=chunk).solve(cell, u, None, None)
    return {
        "cell": name,
        "steps": steps,
        "scale": scale,
        "chunk": chunk,
        "to_1e-6": next((i for i, e in enumerate(errors, 1) if e <= 1e-6), LIMIT + 1),
        "error_3": errors[min(3, len(errors)) - 1],
        "newton": solution.iterations,
        "loop_share": solution.loop_share,
        "error": float((solution.states - truth).abs().max()),
    }


def errors_of_iterations(cell: Cell, u: Tensor, truth: Tensor, chunk: int) -> list[float]:
    """Return the largest error against the loop after each iteration."""
    h0 = torch.zeros_like(truth[:, 0])
    iterates = islice(iterate(cell, u, h0, None, chunk), LIMIT)
    steps = u.shape[1]
    return [float((i.states.flatten(1, 2)[:, :steps] - truth).abs().max()) for i in iterates]


def draw(table: pd.DataFrame) -> None:
    """Draw iterations against chunk, and the error of a fixed count of 3 against scale."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    colors = plt.get_cmap("viridis")
    for axis, (name, rows) in zip(axes, table.groupby("cell"), strict=False):
        for i, (scale, line) in enumerate(rows.groupby("scale")):
            color = colors(i / (len(SCALES) - 0.5))
            axis.plot(line.chunk, line["to_1e-6"], "o-", color=color, label=f"{scale:g}")
        axis.axhline(LIMIT, color="0.7", lw=0.8, ls=":")
        axis.set(
            title=f"{name}, T = {rows.steps.iloc[0]}",
            xscale="log",
            yscale="log",
            xlabel="steps a segment (chunk)",
            ylabel="iterations to an error of 1e-6",
        )
        axis.set_xticks(CHUNKS, CHUNKS)
        axis.minorticks_off()
        axis.set_yticks([1, 2, 4, 8, 16, LIMIT], ["1", "2", "4", "8", "16", f">{LIMIT}"])
    figure.legend(
        *axes[0].get_legend_handles_labels(), title="weight scale", loc="outside left upper"
    )
    for name, rows in table[table.chunk == 1].groupby("cell"):
        axes[2].semilogy(rows.scale, rows.error_3, "o-", label=f"{name}, 3 iterations of chunk 1")
    newton = table[table.chunk == 64].groupby("scale").error.max().clip(lower=1e-17)
    axes[2].semilogy(newton.index, newton, "ks--", label="Newton(chunk=64), both cells")
    axes[2].set(title="what a fixed count returns", xlabel="weight scale", ylabel="largest error")
    axes[2].legend(fontsize=8)
    figure.savefig(HERE / "figure.png", dpi=130)


if __name__ == "__main__":
    main()
