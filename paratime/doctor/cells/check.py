"""Whether a cell is right, how it runs, and how hard Newton's method finds it."""

import timeit
from statistics import median
from typing import TYPE_CHECKING, Any

from paratime.doctor.cells.subject import build_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from paratime.cells.base import Cell

SCALES = (0.5, 1.0, 2.0, 4.0)
"""Of the weights that a step reads."""

SEQUENCES, STEPS, RUNS = 2, 1024, 9


def run(
    cell: str,
    input_size: int = 16,
    hidden_size: int = 32,
    options: dict[str, Any] | None = None,
    out: str | None = None,
) -> None:
    """Compare a cell with the plain loop, and say how it runs and how Newton's method converges.

    Args:
        cell: Its class, MODULE:CLASS, or a name of paratime.cells.
        input_size: Width of its input.
        hidden_size: Width of its output.
        options: Its other arguments, as {block_size: 4}.
        out: Figure of Newton's convergence to write, .png, .svg or .pdf.
    """
    import torch

    from paratime.io.figures import check_figure, save_figure
    from paratime.layers.recurrent import Recurrent
    from paratime.testing import check_cell, verify

    if out is not None:
        check_figure(out)
    made = build_cell(cell, input_size, hidden_size, options or {})
    x = torch.randn(SEQUENCES, STEPS, input_size)
    for name, value in _facts(made, x).items():
        print(f"{name:<20} {value}")
    print()
    verify(Recurrent(made), x)
    check_cell(made, x[:, :100])
    corrections = {scale: _corrections(made, x, scale) for scale in SCALES}
    print("\nNewton's method, by the scale of the weights: iterations, and the last correction")
    for scale, found in corrections.items():
        print(f"x {scale:<18} {len(found):<5} {found[-1]:.1e}")
    if out is not None:
        save_figure(_drawn(corrections), out)
        print(f"{'figure':<20} {out}")


def _facts(cell: "Cell", x: Any) -> dict[str, object]:
    """Return how a cell runs."""
    import torch

    from paratime.codegen.printing import count_operations
    from paratime.codegen.running import path_of
    from paratime.layers.recurrent import Recurrent

    path = path_of(cell, cell.drive(x[:, :1]))
    facts: dict[str, object] = {"cell": f"{type(cell).__name__}({cell.extra_repr()})"}
    if cell.fused is not False and cell.fused(x.device) is not None:
        return facts | {"path": "the fused operator that comes with paratime"}
    plan = path.plan
    if path.key is None or plan is None:
        return facts | {"path": f"the torch solver: {path.reason}"}
    state = len(plan.functor.next)
    facts["path"] = "a kernel of its own"
    facts["state"] = f"{state} numbers a channel" if state > 1 else "one number a channel"
    facts["operations"] = f"{count_operations(plan.functor)} a step and channel"
    lines = dict.fromkeys(call.line for call in plan.hoisted.calls)
    facts["once a call"] = "; ".join(lines) or "nothing: no part of step is of parameters alone"
    layer = Recurrent(cell)
    with torch.no_grad():
        seconds = median(timeit.repeat(lambda: layer(x), number=1, repeat=RUNS))
    each = 1e9 * seconds / x.shape[0] / x.shape[1] / cell.hidden_size
    return facts | {"time": f"{each:.2f} ns a step and number of the output, with drive"}


def _corrections(cell: "Cell", x: Any, scale: float) -> list[float]:
    """Return the corrections of Newton's iterations, with weights of the step scaled."""
    import copy

    import torch

    from paratime.codegen.functor import plan_of
    from paratime.errors import InputError
    from paratime.solvers.base import initial_state
    from paratime.solvers.newton import TOLERANCES, iterate

    scaled = copy.deepcopy(cell)
    drive = cell.drive(x)
    try:
        names = {n for n in plan_of(cell, drive).hoisted.sources.values() if isinstance(n, str)}
    except InputError:
        names = {name for name, _ in cell.named_parameters() if "projection" not in name}
    found = []
    with torch.no_grad():
        for name, weight in scaled.named_parameters():
            if name in names:
                weight.mul_(scale)
        for now in iterate(scaled, drive, initial_state(scaled, drive, None), None, chunk=32):
            found.append(now.correction)
            if now.correction <= TOLERANCES[drive.dtype]:
                break
    return found


def _drawn(corrections: dict[float, list[float]]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for scale, found in corrections.items():
        axes.plot(range(1, len(found) + 1), found, marker="o", label=f"weights x {scale}")
    axes.set(xlabel="Newton iteration", ylabel="largest correction", yscale="log")
    axes.legend()
    return figure
