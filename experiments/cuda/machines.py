"""The GPUs of the model, number by number with its source; ``assumptions`` is the whole list."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import pandas as pd

WARP = 32
SCHEDULERS = 4
"""A multiprocessor has four partitions, each with a scheduler and a quarter of all units."""

DATASHEET = "NVIDIA's datasheet"
GUIDE = "CUDA C++ Programming Guide, throughput of native arithmetic instructions"
AMPERE = "measured on an A100 by Abdelkhalik et al., arXiv 2208.11174; the others taken alike"
GUESS = "an assumption of this model"


def _constant(unit: str, source: str, value: Any = MISSING) -> Any:
    return field(default=value, metadata={"unit": unit, "source": source})


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU, and what is assumed of it; every number has its unit and source in its metadata."""

    arch: str
    multiprocessors: int = _constant("", DATASHEET)
    clock: float = _constant("Hz", "boost clock that the datasheet's float32 rate implies")
    bandwidth: float = _constant("byte/s", DATASHEET)
    bandwidth_share: float = _constant("", f"share of it that a copy reaches, {GUESS}", 0.9)
    cache: float = _constant(
        "byte/clock", "L2 to all, NVIDIA's A100 whitepaper; H100 alike, B200 has two such dies"
    )
    cache_share: float = _constant("", f"share of it that is reached, {GUESS}", 0.6)
    sector: int = _constant("byte", "least that L2 hands out, CUDA C++ Best Practices Guide", 32)
    memory_latency: int = _constant("clock", f"HBM, about as in arXiv 2402.13499; B200: {GUESS}")
    cache_latency: int = _constant("clock", f"L2, about as in arXiv 2402.13499; B200: {GUESS}")
    issue: int = _constant("instruction/clock", "one a scheduler, NVIDIA's whitepapers", SCHEDULERS)
    mufu: int = _constant("lane/clock", GUIDE, 16)
    doubles: int = _constant("lane/clock", GUIDE)
    add_latency: int = _constant("clock", f"float32 add or multiply-add, {AMPERE}", 4)
    double_latency: int = _constant("clock", f"float64 multiply-add, {GUESS}", 8)
    mufu_latency: int = _constant("clock", f"exponential or reciprocal, {GUESS}", 20)
    shared_latency: int = _constant("clock", f"shared memory, shuffle or barrier, {GUESS}", 30)
    launch: float = _constant("s", f"from one kernel's end to the next one's start, {GUESS}", 3e-6)
    iterations: int = _constant("", "of Newton, as `iterations.py` counts them", 3)

    @property
    def issue_clocks(self) -> float:
        """Clocks that an instruction of a warp keeps its scheduler busy."""
        return SCHEDULERS / self.issue


MACHINES = {
    "A100": Machine(
        arch="sm_80",
        multiprocessors=108,
        clock=1.41e9,
        bandwidth=2.039e12,
        cache=5120,
        memory_latency=470,
        cache_latency=260,
        doubles=32,
    ),
    "H100": Machine(
        arch="sm_90",
        multiprocessors=132,
        clock=1.98e9,
        bandwidth=3.35e12,
        cache=5120,
        memory_latency=480,
        cache_latency=260,
        doubles=64,
    ),
    "B200": Machine(
        arch="sm_100",
        multiprocessors=148,
        clock=1.98e9,
        bandwidth=8e12,
        cache=10240,
        memory_latency=600,
        cache_latency=300,
        doubles=64,
    ),
}
"""The SXM modules; the A100 is the one with 80 GB."""


def assumptions() -> pd.DataFrame:
    """Return every constant of the model, on each machine, with its unit and source."""
    rows = []
    for constant in fields(Machine)[1:]:
        values = {name: f"{getattr(x, constant.name):g}" for name, x in MACHINES.items()}
        rows.append({"constant": constant.name.replace("_", " ")} | values | constant.metadata)
    return pd.DataFrame(rows)
