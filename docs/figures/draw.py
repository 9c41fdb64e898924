"""Draw the figures that explain Newton's method over time, light and dark: seconds on one core.

python docs/figures/draw.py
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from paratime import Cell, GRUCell, Newton, Sequential
from paratime.cells import ElmanCell
from paratime.solvers.newton import Iterate, iterate

HERE = Path(__file__).parent
TRACKING = HERE.parents[1] / "experiments" / "state_tracking" / "results.csv"
THEMES = {"light": ("white", "#222222"), "dark": ("#1e2129", "#dddddd")}
TRUTH, OURS, OTHERS = "#888888", "#e4572e", ("#f4a259", "#e4572e", "#8f2d56", "#2e86ab")


def main() -> None:
    """Draw every figure in both themes."""
    for theme in THEMES:
        for name, draw in FIGURES.items():
            torch.manual_seed(3)
            save(draw, theme, HERE / f"{name}-{theme}.png")


def save(draw: Callable[[], Figure], theme: str, path: Path) -> None:
    """Draw a figure in the colours of a theme."""
    back, ink = THEMES[theme]
    style = {"text.color": ink, "axes.edgecolor": ink, "axes.labelcolor": ink, "font.size": 10}
    style |= {"xtick.color": ink, "ytick.color": ink, "figure.facecolor": back}
    style |= {"axes.facecolor": back, "axes.spines.top": False, "axes.spines.right": False}
    style |= {"legend.frameon": False, "savefig.facecolor": back}
    with plt.rc_context(style):
        figure = draw()
        figure.savefig(path, dpi=110)
        plt.close(figure)


def problem(cell: Cell, steps: int, scale: float) -> tuple[Tensor, Tensor]:
    """Set the recurrent weights of a cell to a scale; return drives and initial state, float64."""
    for name, weight in cell.double().named_parameters():
        if name.endswith("_hh"):
            torch.nn.init.normal_(weight, std=scale)
    with torch.no_grad():
        u = cell.drive(torch.randn(1, steps, cell.drive_size, dtype=torch.float64))
    return u, u.new_zeros(1, *cell.state_shape)


def gru(width: int = 1) -> GRUCell:
    """Return a GRU whose inputs are as wide as its state."""
    cell = GRUCell(width, width)
    cell.drive_size = width
    return cell


def iterations(cell: Cell, u: Tensor, h0: Tensor, chunk: int, count: int) -> Iterator[Iterate]:
    """Yield some iterations of Newton's method, without gradients."""
    with torch.no_grad():
        yield from islice(iterate(cell, u, h0, None, chunk), count)


def truth(cell: Cell, u: Tensor, h0: Tensor) -> Tensor:
    """Return the states that the loop computes."""
    with torch.no_grad():
        return Sequential().solve(cell, u, h0, None).states


def every_step() -> Figure:
    """Newton's method on every step: all states at once, better by the iteration."""
    cell = gru()
    u, h0 = problem(cell, 48, 1.5)
    loop = truth(cell, u, h0)[0, :, 0]
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.6), sharey=True, layout="constrained")
    for k, (axes, now) in enumerate(zip(panels, iterations(cell, u, h0, 1, 4), strict=True), 1):
        states = now.states.flatten(1, 2)[0, : len(loop), 0]
        axes.plot(loop, color=TRUTH, lw=4, alpha=0.5, label="the loop")
        axes.plot(states, color=OURS, lw=1.4, label="Newton")
        error = (states - loop).abs().max()
        axes.set(title=f"iteration {k}: error {error:.0e}", xlabel="time")
    panels[0].set_ylabel("state")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def segments() -> Figure:
    """Multiple shooting: each segment follows the recurrence, the jumps between them close."""
    cell = gru()
    u, h0 = problem(cell, 64, 1.5)
    loop = truth(cell, u, h0)[0, :, 0]
    figure, panels = plt.subplots(1, 3, figsize=(11, 2.8), sharey=True, layout="constrained")
    for k, (axes, now) in enumerate(zip(panels, iterations(cell, u, h0, 8, 3), strict=True), 1):
        axes.plot(loop, color=TRUTH, lw=4, alpha=0.5)
        for j, states in enumerate(now.states[0, :, :, 0]):
            axes.plot(range(8 * j, 8 * j + 8), states, color=OTHERS[j % 2 * 2], lw=1.6)
            axes.axvline(8 * j, color=TRUTH, lw=0.4)
        error = (now.states.flatten(1, 2)[0, : len(loop), 0] - loop).abs().max()
        axes.set(title=f"shoot {k}: error {error:.0e}", xlabel="time, segments of 8 steps")
    panels[0].set_ylabel("state")
    return figure


def errors(cells: dict[str, tuple[Cell, float]], chunks: tuple[int, ...], count: int) -> Figure:
    """Return a panel a cell: error against the loop by iteration, a line a segment length."""
    figure, panels = plt.subplots(
        1, len(cells), figsize=(4.6 * len(cells), 3), sharey=True, layout="constrained"
    )
    for axes, (title, (cell, scale)) in zip(panels, cells.items(), strict=True):
        u, h0 = problem(cell, 1024, scale)
        loop = truth(cell, u, h0)
        for color, chunk in zip(OTHERS, chunks, strict=False):
            found = [
                max(1e-17, float((now.states.flatten(1, 2)[:, :1024] - loop).abs().max()))
                for now in iterations(cell, u, h0, chunk, count)
            ]
            wide = {"lw": 3 if chunk == chunks[0] else 1.3, "ms": 3, "color": color}
            axes.semilogy(range(1, len(found) + 1), found, "o-", label=str(chunk), **wide)
        axes.set(title=title, xlabel="iteration", ylim=(1e-17, 10))
    panels[0].set_ylabel("largest error of a state")
    panels[0].legend(title="steps a segment", fontsize=8, title_fontsize=8)
    return figure


def chunks() -> Figure:
    """Show how longer segments save iterations, and more so where weights are large."""
    cells = {f"GRU, weight scale {scale:g}": (gru(32), scale) for scale in (0.5, 1.0, 2.0)}
    return errors(cells, (1, 8, 32, 128), 16)


def failure() -> Figure:
    """Show two stable states a channel: correct information moves by one segment an iteration."""
    cell = ElmanCell(32, 32)
    cell.drive_size = 32
    cells = {"GRU, scale 1": (gru(32), 1.0), "Elman, scale 2": (cell, 2.0)}
    return errors(cells, (1, 8, 32, 128), 40)


def adjoint() -> Figure:
    """Compare the gradient by the adjoint with back-propagation through the loop."""
    cell = gru(16)
    u, h0 = problem(cell, 256, 1.0)
    found = {}
    for name, solver in (("the loop", Sequential()), ("the adjoint", Newton())):
        drive = u.clone().requires_grad_()
        solver.solve(cell, drive, h0, None).states[:, -1].sum().backward()
        found[name] = drive.grad[0].flatten(1).norm(dim=-1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
    left.semilogy(found["the loop"], color=TRUTH, lw=4, alpha=0.5, label="the loop")
    left.semilogy(found["the adjoint"], color=OURS, lw=1.2, label="the adjoint")
    left.set(title="Gradient of the last state", xlabel="time of the input", ylabel="norm")
    left.legend(fontsize=8)
    gap = (found["the loop"] - found["the adjoint"]).abs() / found["the loop"]
    right.semilogy(gap.clamp(min=1e-17), ".", ms=3, color=OURS)
    right.set(title="Relative difference", xlabel="time of the input", ylim=(5e-18, 1e-12))
    return figure


def tracking() -> Figure:
    """Show who tracks the state of five groups far beyond the length of training."""
    table = pd.read_csv(TRACKING).sort_values("loss")
    table = table.groupby(["task", "mixer", "seed"], as_index=False).first()
    accuracy = 100 * table.pivot_table("accuracy@256", "mixer", "task")
    groups = {"parity": "parity", "mod3": "modulo 3", "s3": "S3", "a5": "A5", "s5": "S5"}
    shown = {"ParaGRU-8": OURS, "TorchGRU": "#f4a259", "Mamba3": "#59a5d8", "Mamba2": "#2e86ab"}
    shown |= {"Attention": "#7d5ba6"}
    figure, axes = plt.subplots(figsize=(9, 3), layout="constrained")
    for i, (name, color) in enumerate(shown.items()):
        places = [j + 0.16 * (i - 2) for j in range(len(groups))]
        heights = accuracy.loc[name, list(groups)]
        axes.bar(places, heights, 0.15, color=color, label=name.replace("-8", ", blocks of 8"))
    axes.set_xticks(range(len(groups)), groups.values())
    axes.set(ylabel="accuracy at 256 tokens, %", title="State tracking: trained on 40 tokens")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


FIGURES = {
    "newton-steps": every_step,
    "newton-segments": segments,
    "newton-chunks": chunks,
    "newton-failure": failure,
    "adjoint": adjoint,
    "tracking": tracking,
}

if __name__ == "__main__":
    main()
