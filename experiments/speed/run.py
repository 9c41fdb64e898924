"""How long the torch solvers take on this machine, beside torch.nn.GRU and LSTM.

Every shape first passes a correctness gate: outputs and gradients against the loop in float64 and
float32. All contestants of a shape take turns in one process; medians with the quartiles of their
runs. Newton's own use is a device with idle lanes; on a few cores its gain over the Python loop
comes from fewer and larger torch calls.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from paratime import Newton, ParaGRU, ParaLSTM, Recurrent, Sequential
from paratime.testing import compare

HERE = Path(__file__).parent
SHAPES = ((16, 256, 192), (4, 1024, 256), (1, 4096, 256))
RUNS = 7


def main() -> None:
    """Time every contestant at every shape, write ``results.csv`` and print the table."""
    rows: list[dict[str, object]] = []
    for shape in SHAPES:
        rows += measure(*shape)
    table = pd.DataFrame(rows)
    table.to_csv(HERE / "results.csv", index=False, float_format="%.4g")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, milliseconds")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))


def measure(batch: int, steps: int, width: int) -> list[dict[str, object]]:
    """Time all contestants at one shape, in turns."""
    torch.manual_seed(0)
    x = torch.randn(batch, steps, width)
    gru, lstm = ParaGRU(width), ParaLSTM(width)
    for layer in (gru, lstm):
        gate(layer, x)
    contestants: dict[str, Callable[[Tensor], Tensor]] = {
        "ParaGRU, Newton": lambda x: gru(x)[0],
        "ParaGRU, loop": lambda x: Recurrent(gru.cell, Sequential())(x)[0],
        "torch.nn.GRU": _torch(nn.GRU(width, width, batch_first=True)),
        "ParaLSTM, Newton": lambda x: lstm(x)[0],
        "ParaLSTM, loop": lambda x: Recurrent(lstm.cell, Sequential())(x)[0],
        "torch.nn.LSTM": _torch(nn.LSTM(width, width, batch_first=True)),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in tqdm(range(RUNS + 1), desc=f"{batch} x {steps} x {width}"):
        for name, run in contestants.items():
            times[name].append(clock(run, x))
    return [row(name, (batch, steps, width), runs[1:]) for name, runs in times.items()]


def gate(layer: Recurrent, x: Tensor) -> None:
    """Refuse to time a layer that is not right."""
    for dtype in (torch.float64, torch.float32):
        result = compare(layer.cell, Newton(), x[:1].to(dtype), None, None)
        if not result.passed:
            raise SystemExit(f"not timed, because it is wrong: {result}")


def clock(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, float]:
    """Return the milliseconds of forward, and of forward and backward."""
    x = x.clone().requires_grad_()
    began = time.perf_counter()
    y = run(x)
    forward = time.perf_counter() - began
    y.sum().backward()
    return 1e3 * forward, 1e3 * (time.perf_counter() - began)


def row(name: str, shape: tuple[int, ...], runs: list[tuple[float, float]]) -> dict[str, object]:
    """Summarise the runs of one contestant."""
    result: dict[str, object] = {"shape": " x ".join(map(str, shape)), "layer": name}
    for column, values in zip(("forward", "both"), zip(*runs, strict=True), strict=True):
        low, median, high = torch.tensor(values).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
        result |= {column: median, f"{column}_q1": low, f"{column}_q3": high}
    return result


def _torch(layer: nn.GRU | nn.LSTM) -> Callable[[Tensor], Tensor]:
    return lambda x: layer(x)[0]


if __name__ == "__main__":
    main()
