"""One influence at a time: chunk and scale, length, precision, and density of resets.

Inputs are N(0, 1), in float64 but where precision is what is varied.
"""

import copy
from collections.abc import Iterator
from itertools import product

import torch
from solves import Problem, count, default, slopes
from zoo import ZOO

WIDTH, INPUT, BATCH, STEPS = 32, 16, 2, 1024
SEEDS = (0, 1, 2)
SCALES = (0.1, 0.5, 1.0, 1.5, 2.0, 3.0)
CHUNKS = (1, 8, 32, 128, 512)
CHUNK = 32
"""What ``Newton()`` takes for 1024 steps."""
LENGTHS = (64, 256, 1024, 4096)
DENSITIES = (0.0, 0.001, 0.01, 0.1)
PRECISIONS = {
    "float64": (torch.float64, torch.float64),
    "float32": (torch.float32, torch.float32),
    "bfloat16 drive": (torch.bfloat16, torch.float32),
}
"""What drives are rounded to, and in what precision they are solved."""

Row = dict[str, object]


def problem(
    name: str, scale: float, steps: int = STEPS, density: float = 0.0, seed: int = 0
) -> Problem:
    """Return a cell of a scale on random inputs, with restarts of a density."""
    torch.manual_seed(seed)
    cell = ZOO[name].scaled(INPUT, WIDTH, scale).double().requires_grad_(False)
    u = cell.drive(torch.randn(BATCH, steps, INPUT, dtype=torch.float64))
    reset = torch.rand(BATCH, steps) < density if density else None
    return Problem.of(cell, u, reset)


def by_scale(seed: int, name: str, scale: float) -> Iterator[Row]:
    """Yield the iterations of every chunk at a scale."""
    p = problem(name, scale, seed=seed)
    for chunk in CHUNKS:
        row = {"seed": seed, "cell": name, "scale": scale, "chunk": chunk}
        yield row | count(p, chunk) | default(p, chunk)


def by_slopes(seed: int, name: str, scale: float) -> Iterator[Row]:
    """Yield the slopes at a scale."""
    p = problem(name, scale, seed=seed)
    yield {"seed": seed, "cell": name, "scale": scale} | slopes(p, CHUNK)


def by_length(name: str, steps: int) -> Iterator[Row]:
    """Yield the iterations of chunk 1 and of the default at scale 1 over a length."""
    p = problem(name, 1.0, steps)
    for chunk in (1, p.default_chunk):
        yield {"cell": name, "steps": steps, "chunk": chunk} | count(p, chunk) | default(p, chunk)


def by_precision(name: str, scale: float) -> Iterator[Row]:
    """Yield the iterations in every precision, and what the precision itself changes."""
    exact = problem(name, scale)
    for precision, (drive, state) in PRECISIONS.items():
        p = Problem.of(copy.deepcopy(exact.cell).to(state), exact.u.to(drive).to(state))
        for chunk in (1, CHUNK):
            row = {"cell": name, "scale": scale, "precision": precision, "chunk": chunk}
            yield row | count(p, chunk) | {"rounding": exact.error(p.truth.double())}


def by_reset(name: str, density: float) -> Iterator[Row]:
    """Yield the iterations at scale 2 with restarts of a density."""
    p = problem(name, 2.0, density=density)
    for chunk in (1, CHUNK):
        row = {"cell": name, "density": density, "chunk": chunk}
        yield row | count(p, chunk) | default(p, chunk)


SWEEPS = {
    "scale": (by_scale, [*product(SEEDS, ZOO, SCALES)]),
    "slopes": (by_slopes, [*product(SEEDS, ZOO, SCALES)]),
    "length": (by_length, [*product(ZOO, LENGTHS)]),
    "precision": (by_precision, [*product(ZOO, (1.0, 2.0))]),
    "reset": (by_reset, [*product(ZOO, DENSITIES)]),
}
"""By name: what yields rows, and for which arguments."""
