"""What a comparison found, by domain and mixer: the one source of all its tables and pages."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import stdev
from typing import Any

from paratime.compare.glossary import by_horizon
from paratime.compare.result import Grid, Key, Result

Numbers = Callable[[Result], dict[str, float]]
"""What returns numbers of a run by name: ``quality``, ``cost``, ``solver`` or ``effort``."""

COSTS = ("units_per_s", "train_seconds", "peak_memory_mib", "ms_per_generated_step")
SOLVER = (
    "solver_iterations_mean",
    "solver_iterations_last",
    "solver_defect_last",
    "solver_loop_share_mean",
)


@dataclass(frozen=True)
class Cell:
    """One number of a mixer on a domain, over seeds.

    Attributes:
        values: Of the finished runs that have it.
        failed: Number of failed runs.
        missing: Number of runs that have not ended.
    """

    values: tuple[float, ...]
    failed: int = 0
    missing: int = 0

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN where one is NaN, or where there is none."""
        return mean(self.values) if self.values else math.nan

    @property
    def spread(self) -> float | None:
        """The standard deviation of seeds; None of fewer than two, or where one is not finite."""
        if len(self.values) < 2 or not all(map(math.isfinite, self.values)):
            return None
        return stdev(self.values)

    @property
    def whole(self) -> bool:
        """Whether every seed has a finite number."""
        return math.isfinite(self.mean) and not self.failed and not self.missing


def standings(cells: Sequence[Cell]) -> list[str]:
    """Return a mark for each cell of a column, of which the lowest is best.

    ``best`` marks the lowest mean, ``level`` those that are no further from it than the root of the
    sum of the two squared spreads. A cell without all its seeds is neither.
    """
    whole = [cell for cell in cells if cell.whole]
    if len(whole) < 2:
        return ["" for _ in cells]
    best = min(whole, key=lambda cell: cell.mean)

    def mark(cell: Cell) -> str:
        if not cell.whole:
            return ""
        if cell.mean == best.mean:
            return "best"
        near = math.hypot(cell.spread or 0, best.spread or 0)
        return "level" if cell.mean - best.mean <= near else ""

    return [mark(cell) for cell in cells]


@dataclass(frozen=True)
class Summary:
    """A grid with what there is of its runs.

    Attributes:
        grid: What was asked for.
        results: The finished runs, in the order of the grid.
        failures: What those printed that failed.
    """

    grid: Grid
    results: list[Result]
    failures: dict[Key, str]

    @cached_property
    def missing(self) -> list[Key]:
        """Runs that have not ended."""
        ended = {*map(key_of, self.results), *self.failures}
        return [key for key in self.grid.runs() if key not in ended]

    def runs(self, domain: str, mixer: str) -> list[Result]:
        """Return the finished runs of a mixer on a domain."""
        return [run for run in self.results if (run.domain, run.mixer) == (domain, mixer)]

    def parameters(self, domain: str) -> list[int | None]:
        """Return the size of every mixer's model on a domain; None where no run tells."""
        runs = [self.runs(domain, mixer) for mixer in self.grid.mixers]
        return [some[0].parameters if some else None for some in runs]

    def column(self, domain: str, numbers: Numbers, name: str) -> list[Cell]:
        """Return a number of every mixer on a domain.

        Args:
            domain: Name of a domain.
            numbers: What returns numbers of a run.
            name: Which of them.
        """
        return [self._cell(domain, mixer, numbers, name) for mixer in self.grid.mixers]

    def _cell(self, domain: str, mixer: str, numbers: Numbers, name: str) -> Cell:
        found = [numbers(run) for run in self.runs(domain, mixer)]
        place = (domain, mixer)
        return Cell(
            tuple(x[name] for x in found if name in x),
            failed=sum(key[:2] == place for key in self.failures),
            missing=sum(key[:2] == place for key in self.missing),
        )

    def names(self, domain: str, numbers: Numbers) -> list[str]:
        """Return the names of the numbers that runs on a domain have, in the order they come."""
        return first_seen(
            name for run in self.results if run.domain == domain for name in numbers(run)
        )

    def metrics(self, domain: str) -> list[str]:
        """Return the names of the metrics of a domain, the headline and its horizons first."""
        headline = self.grid.domains[domain]["headline"]
        return by_horizon(first_seen([headline, *self.names(domain, quality)]))


def read(out: Path) -> Summary:
    """Return what there is in the folder of a comparison."""
    grid = Grid.load(out / "grid.json")
    results = grid.results(out)
    done = {*map(key_of, results)}
    failures = {
        key: key.error(out).read_text(encoding="utf-8", errors="replace")
        for key in grid.runs()
        if key not in done and key.error(out).exists()
    }
    return Summary(grid, results, failures)


def key_of(run: Result) -> Key:
    """Return which run of the grid a result is of."""
    return Key(run.domain, run.mixer, run.seed)


def quality(run: Result) -> dict[str, float]:
    """Return the metrics of a run."""
    return {name: number(x) for name, x in run.quality.items()}


def cost(run: Result) -> dict[str, float]:
    """Return the costs of a run."""
    return {name: number(run.cost[name]) for name in COSTS if name in run.cost}


def solver(run: Result) -> dict[str, float]:
    """Return what the solver did in a run; nothing where the mixer has none."""
    iterations, defect, share = (
        [number(value) for _, value in run.curves.get(f"solver/{name}", [])]
        for name in ("iterations", "defect", "loop_share")
    )
    values = (
        mean(iterations) if iterations else None,
        iterations[-1] if iterations else None,
        defect[-1] if defect else None,
        mean(share) if share else None,
    )
    return {name: x for name, x in zip(SOLVER, values, strict=True) if x is not None}


def effort(run: Result) -> dict[str, float]:
    """Return the costs of a run, and what its solver took."""
    return cost(run) | solver(run)


def mean(values: Sequence[float]) -> float:
    """Return the mean of some numbers; that of infinities of both signs is NaN."""
    return sum(values) / len(values)


def number(value: Any) -> float:
    """Return a number of a file; NaN for null, which some writers of JSON make of it."""
    return math.nan if value is None else float(value)


def first_seen(names: Iterable[str]) -> list[str]:
    """Return names without repetition, in the order they come."""
    return list(dict.fromkeys(names))
