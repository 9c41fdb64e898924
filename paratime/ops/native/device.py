"""The CUDA kernels: which of them runs a problem, and how it is launched.

On tensors of a CPU they run in emulation, where ``library.force_backend("simt")`` asks for that.
"""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from paratime.errors import InputError
from paratime.ops.native import library

METHODS = SEQUENTIAL, PARALLEL = "sequential", "parallel"
DIRECTIONS = ("forward", "backward")
LANES = (32, 8, 4, 1)
WARP, THREADS = 32, 256
SEGMENT = {1: 16, 2: 8, 4: 4}
"""Steps of a thread in a tile of the Newton kernel, by K: ``NewtonTile::chunk``."""

TOLERANCES = {torch.float64: 1e-9}
TOLERANCE = 1e-5
"""Largest relative correction of Newton's method; the states that are written then come from one
more pass over the corrected starts, and are as good as its square."""

TABLE = Path(__file__).parent / "thresholds.csv"


@dataclass(frozen=True)
class Choice:
    """How a problem is run.

    Attributes:
        method: One thread a channel, step after step (``"sequential"``), or ``"parallel"`` in time.
        lanes: Channels a warp in the parallel kernels, one of 32, 8, 4 and 1.
        threads: Threads a block in the parallel forward pass, a multiple of 32, at most 256.
    """

    method: str
    lanes: int = 32
    threads: int = THREADS

    def __post_init__(self) -> None:
        """Refuse what no kernel can do."""
        whole = self.threads in range(WARP, THREADS + 1, WARP)
        for what, right, expected, got in (
            ("method", self.method in METHODS, f"one of {', '.join(METHODS)}", self.method),
            ("lanes", self.lanes in LANES, f"one of {', '.join(map(str, LANES))}", self.lanes),
            ("threads", whole, f"a multiple of {WARP} from {WARP} to {THREADS}", self.threads),
        ):
            if not right:
                raise InputError(f"Choice.{what}", expected, str(got), "name one of these")


_forced: list[Choice] = []


@contextmanager
def force_choice(choice: Choice) -> Iterator[None]:
    """Force how all problems in this process are run, for tests and measurements."""
    _forced.append(choice)
    try:
        yield
    finally:
        _forced.pop()


@cache
def thresholds() -> dict[tuple[str, str], int]:
    """Return, by direction and format, from how many channels B C on to go step after step.

    Fewer channels leave a device idle unless it works on many steps at once. The table
    ``thresholds.csv`` marks each value as estimated or measured, with the device.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        found = {(row["direction"], row["format"]): int(row["channels"]) for row in rows}
        return {(d, f): found[d, f] for d in DIRECTIONS for f in library.FORMATS.values()}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            str(TABLE),
            expected="a number of channels for every direction and format",
            got=f"{type(error).__name__} {error}",
            remedy="restore the file",
        ) from error


def choose(direction: str, u: Tensor) -> Choice:
    """Choose for drives u (B, T, 3 K, C)."""
    if _forced:
        return _forced[-1]
    batch, steps, rows, channels = u.shape
    if batch * channels >= thresholds()[direction, _format(u)]:
        return Choice(SEQUENTIAL)
    lanes = lanes_of(batch, channels, _multiprocessors(u.device))
    segments = max(1, -(-steps // SEGMENT.get(rows // 3, 1)))
    return Choice(PARALLEL, lanes, min(THREADS, WARP * -(-segments * lanes // WARP)))


def lanes_of(batch: int, channels: int, multiprocessors: int) -> int:
    """Return the channels a warp that leave the busiest multiprocessor least to do.

    Of equal ones the fewest, as more blocks hide each other's waiting; but a warp of one channel
    uses an eighth of every sector of memory, and counts twice.
    """

    def busiest(lanes: int) -> int:
        blocks = -(-batch * -(-channels // lanes) // multiprocessors)
        return blocks * lanes * (2 if lanes == 1 else 1)

    return min(reversed(LANES), key=busiest)


def has_kernel(name: str, block_size: int, device: torch.device) -> bool:
    """Return whether a device has the kernels of a recurrence; they are compiled, if need be."""
    symbol = f"{name}{block_size}_forward_sequential_float32"
    return library.device_function(symbol, device) is not None


def launch_forward(
    name: str,
    inputs: tuple[Any, ...],
    y: Tensor,
    memory: Tensor | None,
    last: Tensor,
    report: Tensor,
) -> bool:
    """Run the forward pass; return False without a kernel. The report is zero before."""
    u = inputs[0]
    choice = choose("forward", u)
    arguments = (*_problem(inputs), y, y.stride(0), memory, last)
    newton = _symbol(name, "forward_newton", u) if choice.method == PARALLEL else None
    threads = 0 if newton is None else _fitting(_symbol(name, "shared", u), choice, u.device)
    sequential = _symbol(name, "forward_sequential", u)
    if newton is not None and threads > 0:
        how = TOLERANCES.get(u.dtype, TOLERANCE), report, _log2(choice.lanes), threads
        _launch(newton, u.device, *arguments, *how)
    elif sequential is not None:
        _launch(sequential, u.device, *arguments)
    else:
        return False
    return True


def launch_backward(
    name: str, inputs: tuple[Any, ...], saved: tuple[Tensor | None, ...], gradients: Any
) -> bool:
    """Run the backward pass, from y, memory, g and g_final; return False without a kernel."""
    u, weight, h0 = inputs[:3]
    d_u, d_weight, d_h0 = gradients
    choice = choose("backward", u)
    arguments = *_problem(inputs), *saved, d_u
    scan = _symbol(name, "backward_scan", u) if choice.method == PARALLEL else None
    sequential = _symbol(name, "backward_sequential", u)
    if scan is not None:
        lanes, *work = _chain(_symbol(name, "tile", u), u, h0.shape[1], h0.dtype)
        parts = weight.new_empty(u.shape[0] * work[0], *weight.shape)
        _launch(scan, u.device, *arguments, parts, d_h0, *work, lanes)
    elif sequential is not None:
        parts = weight.new_empty(u.shape[0], *weight.shape)
        _launch(sequential, u.device, *arguments, parts, d_h0)
    else:
        return False
    torch.sum(parts, dim=0, out=d_weight)
    return True


def launch_scan(a: Tensor, b: Tensor, h0: Tensor, h: Tensor, reverse: bool) -> bool:
    """Run h[t] = a[t] h[t-1] + b[t] over b (B, T, K, C); return False without a kernel."""
    batch, steps, size, channels = b.shape
    kernel, tile = (
        library.device_function(f"scan{size}_{part}{_format(b)}", b.device)
        for part in ("", "tile_")
    )
    if kernel is None:
        return False
    lanes, tiles, told, maps = _chain(tile, b, size, b.dtype)
    sizes = batch, steps, channels, int(reverse)
    _launch(kernel, b.device, *sizes, a, b, h0, h, tiles, told, maps, lanes)
    return True


def _fitting(needs: Callable[..., int] | None, choice: Choice, device: torch.device) -> int:
    """Return the threads of a block, halved until a device has the shared memory; 0 for none.

    A scan needs no such question: ``LookBackTile::threads`` fits every device.
    """
    assert needs is not None
    threads = choice.threads
    while threads > 0 and library.query(needs, threads, _log2(choice.lanes)) > _most_shared(device):
        threads = threads // 2 // WARP * WARP
    return threads


def _chain(
    tile: Callable[..., int] | None, u: Tensor, size: int, dtype: torch.dtype
) -> tuple[int, int, Tensor, Tensor]:
    """Return the lanes (their logarithm), tiles and workspaces of a scan over K = ``size``."""
    batch, steps, _, channels = u.shape
    lanes = _forced[-1].lanes if _forced else next(x for x in LANES if x <= max(1, channels))
    assert tile is not None
    tiles = max(1, -(-steps // library.query(tile, _log2(lanes))))
    sequences = batch * -(-channels // lanes)
    told = u.new_zeros(1 + sequences * tiles, dtype=torch.int32)
    maps = u.new_empty(sequences * tiles * (size * size + 2 * size) * WARP, dtype=dtype)
    return _log2(lanes), tiles, told, maps


def _problem(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    u = inputs[0]
    return u.shape[0], u.shape[1], u.shape[3], *inputs


def _symbol(name: str, part: str, u: Tensor) -> Callable[..., int] | None:
    return library.device_function(f"{name}{u.shape[2] // 3}_{part}_{_format(u)}", u.device)


def _launch(kernel: Callable[..., int], device: torch.device, *arguments: Any) -> None:
    """Launch a kernel on the current stream of a device, which becomes the current one."""
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        stream = torch.cuda.current_stream().cuda_stream if device.type == "cuda" else 0
        library.launch(kernel, device, *arguments, stream=stream)


@cache
def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@cache
def _most_shared(device: torch.device) -> int:
    """Return the bytes of shared memory that a block can have."""
    most = library.device_function("most_shared", device)
    assert most is not None
    return library.query(most, device.index or 0)


def _format(u: Tensor) -> str:
    return library.FORMATS[u.dtype]


def _log2(x: int) -> int:
    return x.bit_length() - 1
