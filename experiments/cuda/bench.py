"""What the CUDA kernels take on this machine's GPU, and where one method beats the other.

    python experiments/cuda/bench.py
    python experiments/cuda/bench.py --folder /tmp/results --no-thresholds    # change no file here

It first holds the kernels against the CPU, and times nothing unless they are right. Then it times
the kernels by themselves over a range of channels, and whole layers beside torch's and peers'. It
writes accuracy.csv, results.csv and bench.png, and with the crossovers the table that paratime
chooses by.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from clock import Clock, EventClock, Work, quartiles
from contestants import METHODS, PARA, Contestant, contestants, preferring
from crossover import Key, crossover, rounded, write_thresholds
from gate import errors, find_device
from matplotlib.axes import Axes
from tqdm import tqdm

from paratime.ops.native import library
from paratime.ops.recurrence import gru, lstm

HERE = Path(__file__).parent
SHAPES = (
    (1, 512, 256),
    (1, 8192, 1024),
    (1, 65536, 128),
    (8, 2048, 1024),
    (32, 512, 512),
    (64, 2048, 1024),
)
"""B, T and D of the layers."""

CELLS = {"gru1": (gru, 3), "lstm1": (lstm, 5)}
"""Operators whose kernels are timed by themselves, and the rows of their weights."""

FORMATS = {name: dtype for dtype, name in library.FORMATS.items()}
CHANNELS = tuple(64 * 2**i for i in range(11))
STEPS = 2048
CELL = "gru1"
"""Whose crossovers go into the package's table."""

MARGIN = 0.05
"""Times closer than this are taken as equal; then the sequential kernel is to be preferred."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Check, time, write and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE, help="where the results go")
    parser.add_argument("--no-thresholds", action="store_true", help="keep the package's table")
    options = parser.parse_args(arguments)
    where, folder = find_device(), options.folder
    folder.mkdir(parents=True, exist_ok=True)
    accuracy = pd.DataFrame(errors(where))
    accuracy.to_csv(folder / "accuracy.csv", index=False, float_format="%.2g")
    clock = EventClock(where)
    kernels, layers = pd.DataFrame(sweep(where, clock)), pd.DataFrame(compete(where, clock))
    name = torch.cuda.get_device_name(where)
    table = pd.concat([kernels, layers]).assign(device=name)
    table.to_csv(folder / "results.csv", index=False, float_format="%.4g")
    draw(kernels, layers, folder / "bench.png")
    found = crossovers(kernels)
    if not options.no_thresholds:
        write_thresholds(thresholds(found), f"measured on {name}")
    for title, part in (
        ("Largest errors against the CPU", accuracy),
        ("Milliseconds of the layers", wide(layers)),
        (f"Channels B C from which the sequential kernel wins, T = {STEPS}", found),
    ):
        print(f"{title}, {name}\n\n{part.to_string(index=False)}\n")


def sweep(
    where: torch.device,
    clock: Clock,
    channels: Sequence[int] = CHANNELS,
    steps: int = STEPS,
    formats: Iterable[str] = FORMATS,
) -> list[dict[str, object]]:
    """Time the kernels of one sequence over its channels, by both methods, forward and backward."""
    rows: list[dict[str, object]] = []
    sizes = [(cell, format, c) for cell in CELLS for format in formats for c in channels]
    for cell, format, width in tqdm(sizes, desc="kernels"):
        for method in METHODS:
            with preferring(method):
                for direction, work in kernel_passes(
                    cell, (1, steps, width), format, where
                ).items():
                    rows.append(
                        {"what": "kernel", "contestant": cell, "method": method, "format": format}
                        | {"B": 1, "T": steps, "D": width, "pass": direction}
                        | quartiles(clock(work))
                    )
    return rows


def kernel_passes(
    cell: str, shape: tuple[int, int, int], format: str, where: torch.device
) -> dict[str, Work]:
    """Return the forward and the backward pass of an operator on random numbers."""
    (op, weights), (batch, steps, channels) = CELLS[cell], shape
    torch.manual_seed(0)
    u = torch.randn(batch, steps, 3, channels, device=where, dtype=FORMATS[format])
    exact = torch.float64 if u.dtype == torch.float64 else torch.float32
    h0 = torch.zeros(batch, op.sizes(1)[0], channels, device=where, dtype=exact)
    weight = 0.1 * torch.randn(weights, channels, device=where, dtype=exact)
    inputs = u, weight, h0, None, None
    y, memory, _, _ = op.forward(*inputs)
    g = torch.randn_like(y)
    return {
        "forward": lambda: op.forward(*inputs),
        "backward": lambda: op.backward(g, None, y, memory, *inputs),
    }


def compete(
    where: torch.device, clock: Clock, shapes: Sequence[tuple[int, int, int]] = SHAPES
) -> list[dict[str, object]]:
    """Time all layers at all shapes, in float32 and bfloat16."""
    rows: list[dict[str, object]] = []
    for shape in tqdm(shapes, desc="layers"):
        for format in ("float32", "bfloat16"):
            torch.manual_seed(0)
            x = torch.randn(shape, device=where, dtype=FORMATS[format])
            for name, contestant in contestants(shape, where, x.dtype).items():
                start = {"what": "layer", "contestant": name, "method": "", "format": format}
                start |= dict(zip("BTD", shape, strict=True))
                rows += [start | found for found in time_layer(name, contestant, x, clock)]
    return rows


def time_layer(
    name: str, contestant: Contestant, x: torch.Tensor, clock: Clock
) -> list[dict[str, object]]:
    """Time the passes of a layer that its memory allows; of others' layers, those that run."""
    rows: list[dict[str, object]] = []
    for direction, work in contestant.passes(x).items():
        try:
            with contestant.prepared():
                rows.append({"pass": direction} | quartiles(clock(work)))
        except Exception as error:
            if contestant.ours and not isinstance(error, torch.OutOfMemoryError):
                raise
            shape = " x ".join(map(str, x.shape))
            print(f"{name}, {direction} at {shape}, {x.dtype} is not timed: {error}")
    return rows


def crossovers(kernels: pd.DataFrame) -> pd.DataFrame:
    """Return where the curves of both methods meet, by cell, pass and format."""
    rows = []
    for (cell, direction, format), part in kernels.groupby(
        ["contestant", "pass", "format"], sort=False
    ):
        times = part.pivot(index="D", columns="method", values="ms").sort_index()
        where = crossover(list(times.index), times[METHODS[0]], times[METHODS[1]], margin=MARGIN)
        rows.append(
            {"cell": cell, "direction": direction, "format": format}
            | {"channels": rounded(where, times.index[-1])}
        )
    return pd.DataFrame(rows)


def thresholds(found: pd.DataFrame) -> dict[Key, int]:
    """Return the channels for the package's table, by direction and format."""
    own = found[found.cell == CELL]
    return {(x.direction, x.format): int(x.channels) for x in own.itertuples()}


def wide(layers: pd.DataFrame) -> pd.DataFrame:
    """Return medians of the layers with one column a shape and pass."""
    shape = layers[["B", "T", "D"]].astype(str).agg(" x ".join, axis=1)
    table = layers.assign(shape=shape).pivot(
        index=["format", "contestant"], columns=["shape", "pass"], values="ms"
    )
    order = layers[["format", "contestant"]].drop_duplicates()
    table = table.loc[pd.MultiIndex.from_frame(order), shape.unique()].round(3)
    table.columns = [" ".join(x) for x in table.columns]
    return table.reset_index()


def draw(kernels: pd.DataFrame, layers: pd.DataFrame, path: Path) -> None:
    """Draw the kernels' times over the channels, and the layers' relative to ours."""
    figure, axes = plt.subplots(1, 3, figsize=(17, 5), width_ratios=(1, 1, 1.1))
    own = kernels[kernels.contestant == CELL]
    for axis, direction in zip(axes, ("forward", "backward"), strict=False):
        _draw_kernels(axis, own[own["pass"] == direction])
        axis.set(title=f"{direction}, {CELL}, T = {own['T'].iloc[0]}")
    both = layers[(layers["pass"] == "both") & (layers.format == "float32")]
    shape = both[["B", "T", "D"]].astype(str).agg(" x ".join, axis=1)
    table = both.assign(shape=shape).pivot(index="contestant", columns="shape", values="ms")
    table = table.loc[both.contestant.unique(), shape.unique()]
    (table / table.loc[next(iter(PARA))]).plot.barh(ax=axes[2], width=0.8)
    axes[2].set(xscale="log", xlabel="forward and backward / ParaGRU, float32", ylabel="")
    axes[2].axvline(1, color="black", linewidth=0.8)
    axes[2].invert_yaxis()
    axes[2].legend(title="B x T x D", fontsize=8, title_fontsize=8, bbox_to_anchor=(1, 1))
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_kernels(axis: Axes, rows: pd.DataFrame) -> None:
    for format, style in (("float32", "-"), ("bfloat16", "--")):
        for colour, method in enumerate(METHODS):
            part = rows[(rows.format == format) & (rows.method == method)].sort_values("D")
            label = f"{method}, {format}"
            axis.loglog(part.D, part.ms, style, marker=".", color=f"C{colour}", label=label)
            axis.fill_between(part.D, part.q1, part.q3, color=f"C{colour}", alpha=0.2)
    axis.set(xlabel="channels B C", ylabel="milliseconds")
    axis.legend(fontsize=8)


if __name__ == "__main__":
    main()
