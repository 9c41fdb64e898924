"""What a recurrent layer costs on this machine, beside the least that it could cost.

Every contestant of a shape first passes a correctness gate; then all take turns in one process.
A turn is one untimed and one timed call: the first brings memory and caches into the contestant's
own state, whoever came before. Forward is inference, both is forward and backward.
"""

import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import peers
import torch
from torch import Tensor, nn
from tqdm import tqdm

from paratime import Newton, ParaGRU, ParaLSTM, Recurrent, Sequential
from paratime.io import replacing
from paratime.ops.native import targets
from paratime.testing import compare_solvers

HERE = Path(__file__).parent
SHAPES = ((1, 1024, 256), (8, 512, 256), (4, 2048, 512), (1, 16384, 128))
LENGTHS = tuple(2**k for k in range(10, 18))
PROJECTION = "projection alone"
PARA = {"ParaGRU": ParaGRU, "ParaLSTM": ParaLSTM}
TORCH = {"torch.nn.GRU": nn.GRU, "torch.nn.LSTM": nn.LSTM}

Contestant = Callable[[Tensor], Tensor]


def main() -> None:
    """Time all shapes and lengths, write tables and figure, and print how they compare."""
    keep_pages()
    lengths = scaling()
    with replacing(HERE / "lengths.csv") as draft:
        lengths.to_csv(draft, index=False, float_format="%.4g")
    table = pd.DataFrame([row for shape in SHAPES for row in measure(shape)])
    with replacing(HERE / "results.csv") as draft:
        table.to_csv(draft, index=False, float_format="%.4g")
    draw(table, lengths)
    print(machine(), "\n")
    print(summary(table).to_string(), "\n")
    print(table.drop(columns=[c for c in table if "_q" in c]).round(2).to_string(index=False), "\n")
    for name, column in lengths.set_index("steps").items():
        slope = np.polyfit(np.log(column.index), np.log(column.values), 1)[0]
        print(f"{name}: forward and backward grow as T to the power {slope:.3f}")


def keep_pages() -> None:
    """Let glibc keep what is freed, instead of handing large pieces back to the system.

    Otherwise a contestant pays for fresh pages or not as the sizes before it happened to fall,
    which on a virtual machine moves a figure by a third.
    """
    for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).mallopt(option, 2**30)


def contestants(shape: tuple[int, int, int]) -> dict[str, Contestant]:
    """Return what runs at a shape: x (B, T, D) to an output."""
    width = shape[-1]
    chosen: dict[str, Contestant] = {PROJECTION: nn.Linear(width, 3 * width), "copy of u": _copy}
    for name, layer in PARA.items():
        own = layer(width)
        chosen[name] = _first(own)
        chosen[f"{name}, Newton"] = _first(Recurrent(own.cell, Newton()))
        chosen[f"{name}, loop"] = _first(Recurrent(own.cell, Sequential()))
    for name, layer in TORCH.items():
        chosen[name] = _first(layer(width, width, batch_first=True))
    chosen |= {name: _first(layer) for name, layer in peers.baselines(width).items()}
    return chosen | _pararnn_torch(width)


def _pararnn_torch(width: int) -> dict[str, Contestant]:
    """Return the layers of pararnn-torch where it is installed; it needs triton even on a CPU."""
    if find_spec("pararnn") is None or find_spec("triton") is None:
        return {}
    import pararnn

    cells = {"ParaGRU": pararnn.ParaGRU, "ParaLSTM": pararnn.ParaLSTM}
    return {
        f"pararnn-torch {name}": pararnn.ParaRNN(cell(width, width), solver="newton")
        for name, cell in cells.items()
    }


def gate(shape: tuple[int, int, int]) -> None:
    """Refuse to time layers that are not right at this shape."""
    batch, steps, width = shape
    x = torch.randn(batch, min(steps, 512), width)
    for layer in PARA.values():
        for solver in (None, Newton()):
            for dtype in (torch.float64, torch.float32):
                result = compare_solvers(layer(width).cell, solver, x[:1].to(dtype), None, None)
                if not result.passed:
                    raise SystemExit(f"not timed, because it is wrong: {result}")
    peers.check(peers.baselines(width), width)


def measure(shape: tuple[int, int, int]) -> list[dict[str, object]]:
    """Time all contestants at one shape, in turns, and weigh the memory of the layers."""
    torch.manual_seed(0)
    gate(shape)
    x, running = torch.randn(shape), contestants(shape)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
    rounds = dict.fromkeys(running, 9)
    for turn in tqdm(range(9), desc=" x ".join(map(str, shape))):
        for name, run in running.items():
            if turn >= rounds[name]:
                continue
            times[name].append((clock(run, x, backward=False), clock(run, x, backward=True)))
            if turn == 0 and sum(times[name][0]) > 1e3:  # spread is small beside such times
                rounds[name] = 2 if sum(times[name][0]) < 1e4 else 1
    rows = [row(name, shape, runs) for name, runs in times.items()]
    for entry in rows:
        if entry["layer"] in PARA | TORCH:
            entry["memory_mb"] = peak_memory(str(entry["layer"]), shape)
    return rows


def clock(run: Contestant, x: Tensor, *, backward: bool) -> float:
    """Return the milliseconds of the second of two calls, of the first if it takes a second."""
    x = x.clone().requires_grad_(backward)
    with torch.set_grad_enabled(backward):
        for _ in range(2):
            x.grad, began = None, time.perf_counter()
            y = run(x)
            if backward:
                y.backward(torch.ones(()).expand_as(y))
            passed = 1e3 * (time.perf_counter() - began)
            del y
            if passed > 1e3:
                break
    return passed


def row(name: str, shape: tuple[int, ...], runs: list[tuple[float, float]]) -> dict[str, object]:
    """Summarise the runs of one contestant: medians and quartiles, in milliseconds."""
    result: dict[str, object] = {"shape": " x ".join(map(str, shape)), "layer": name}
    for column, values in zip(("forward", "both"), zip(*runs, strict=True), strict=True):
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        result |= {column: median, f"{column}_q1": low, f"{column}_q3": high}
    return result


def peak_memory(name: str, shape: tuple[int, ...]) -> float:
    """Return the megabytes that one training step adds to a fresh process at its peak."""
    command = [sys.executable, __file__, "--memory", name, *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def weigh(name: str, shape: tuple[int, int, int]) -> float:
    """Run one training step in this process, and return its peak above what was there before."""
    run = contestants(shape)[name]
    clock(run, torch.randn(1, 8, shape[-1]), backward=True)
    x, gradient = torch.randn(shape).requires_grad_(), torch.randn(shape)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    run(x).backward(gradient)
    return (_status("VmHWM") - before) / 1e3


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(field)).split()[1]) * 1.024


def scaling() -> pd.DataFrame:
    """Return milliseconds of forward and backward over the number of steps, at width 256."""
    torch.manual_seed(0)
    layers: dict[str, Contestant] = {PROJECTION: nn.Linear(256, 768)}
    layers |= {name: _first(layer(256)) for name, layer in PARA.items()}
    rows = []
    for steps in tqdm(LENGTHS, desc="lengths"):
        x, runs = torch.randn(1, steps, 256), {name: [] for name in layers}
        for _ in range(5):
            for name, layer in layers.items():
                runs[name].append(clock(layer, x, backward=True))
        rows.append({"steps": steps} | {n: statistics.median(v) for n, v in runs.items()})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return ratios: to the projection, of torch.nn's to ours, to u, h and their gradients."""
    rows = {}
    for shape, times in table.set_index("layer").groupby("shape", sort=False):
        size = 8 * 4e-6 * np.prod([int(n) for n in str(shape).split(" x ")])
        for ours, theirs in zip(PARA, TORCH, strict=True):
            projection, own, other = times.loc[PROJECTION], times.loc[ours], times.loc[theirs]
            rows[shape, ours] = {
                "forward / projection": own.forward / projection.forward,
                "both / projection": own.both / projection.both,
                "torch.nn / ours, forward": other.forward / own.forward,
                "torch.nn / ours, both": other.both / own.both,
                "memory / (u, h, gradients)": own.memory_mb / size,
                "memory / torch.nn's": own.memory_mb / other.memory_mb,
            }
    return pd.DataFrame(rows).T.round(2)


def draw(table: pd.DataFrame, lengths: pd.DataFrame) -> None:
    """Draw the times of all contestants, relative to the projection, and time against length."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), width_ratios=(2, 1))
    wide = table.pivot(index="layer", columns="shape", values="both")
    wide = wide.loc[table.layer.unique(), table["shape"].unique()]
    (wide / wide.loc[PROJECTION]).plot.barh(ax=left, width=0.8)
    left.set(xscale="log", xlabel="forward and backward / projection alone", ylabel="")
    left.axvline(1, color="black", linewidth=0.8)
    left.invert_yaxis()
    left.grid(axis="x", alpha=0.3)
    left.legend(title="B x T x D", fontsize=8, title_fontsize=8)
    for name, column in lengths.set_index("steps").items():
        right.loglog(column.index, column.values, "o-", label=name)
    right.set(xlabel="steps, B = 1, D = 256", ylabel="forward and backward, ms")
    right.grid(alpha=0.3)
    right.legend()
    figure.tight_layout()
    with replacing(HERE / "figure.png") as draft:
        figure.savefig(draft, dpi=120)


def machine() -> str:
    """Describe where the figures come from."""
    model = next(
        (x.split(":")[1].strip() for x in _lines("/proc/cpuinfo") if x.startswith("model name")),
        platform.processor(),
    )
    kernels = targets.capabilities()[0]
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, kernels for {kernels}; times in milliseconds"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _copy(x: Tensor) -> Tensor:
    """Copy something of the size of u."""
    return x.repeat(1, 1, 3)


def _first(layer: nn.Module) -> Contestant:
    return lambda x: peers.output(layer(x))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(json.dumps(weigh(sys.argv[2], tuple(map(int, sys.argv[3:])))))  # type: ignore[arg-type]
    else:
        main()
