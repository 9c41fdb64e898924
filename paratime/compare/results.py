"""The results of a comparison: its files, and what they come to by domain and mixer."""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from statistics import stdev
from typing import Any, NamedTuple, Self

from paratime.compare.glossary import by_horizon
from paratime.errors import InputError, one_line
from paratime.io.atomic import replacing

LONGEST = 100
"""Letters of a folder's name."""

Numbers = Callable[["Result"], dict[str, float]]
"""Returns values of a run by name: ``quality``, ``cost``, ``solver`` or ``effort``."""

COSTS = ("units_per_s", "train_seconds", "peak_memory_mib", "ms_per_generated_step")
SOLVER = (
    "solver_iterations_mean",
    "solver_iterations_last",
    "solver_defect_last",
    "solver_loop_share_mean",
)


class Key(NamedTuple):
    """Which run of a grid."""

    domain: str
    mixer: str
    seed: int

    def __str__(self) -> str:
        return f"{self.domain} {self.mixer} seed {self.seed}"

    @property
    def place(self) -> Path:
        """The run's place below each folder that all runs share."""
        return Path(self.domain, _folder(self.mixer), f"seed-{self.seed}")

    def path(self, out: Path) -> Path:
        """Return the file of the run, which exists once the run is finished."""
        return (out / "runs" / self.place).with_suffix(".json")

    def lock(self, out: Path) -> Path:
        """Return the file that is locked during the run."""
        return self.path(out).with_suffix(".lock")

    def log(self, out: Path) -> Path:
        """Return the file that receives the output of the run until it ends."""
        return self.path(out).with_suffix(".log")

    def error(self, out: Path) -> Path:
        """Return the file that keeps the output of a failed run."""
        return self.path(out).with_suffix(".error.txt")


@dataclass(frozen=True)
class Stored:
    """A dataclass in a JSON file."""

    def save(self, path: str | Path) -> None:
        """Write it, whole or not at all."""
        with replacing(path) as draft:
            draft.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            InputError: The file is cut off, or another one.
        """
        try:
            return cls(**json.loads(Path(path).read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            raise InputError(
                str(path),
                expected="a file that paratime compare wrote",
                got=f"another: {one_line(error)}",
                remedy="remove it, and the same command makes it anew",
            ) from error


@dataclass(frozen=True)
class Result(Stored):
    """What one finished run found.

    Attributes:
        domain: Name of the domain.
        mixer: Name of the mixer.
        seed: Seed of the run.
        parameters: Number of parameters of the whole model.
        settings: What the run was given, by name.
        quality: Metrics of held-out test data; the first is the headline; lower is better.
        curves: By name, pairs of a step and a value.
        pictures: Forecasts, rollouts and texts, as plain data.
        cost: Measured costs by name, and on which machine, at which load; they alone differ when
            a run is repeated.
    """

    domain: str
    mixer: str
    seed: int
    parameters: int
    settings: dict[str, Any]
    quality: dict[str, float]
    curves: dict[str, list[list[float]]]
    pictures: list[dict[str, Any]]
    cost: dict[str, Any]


@dataclass(frozen=True)
class Grid(Stored):
    """What a comparison was asked for.

    Attributes:
        title: Heading.
        domains: By name, its ``config``, ``headline`` metric, ``unit`` of time, ``what`` it is, and
            the ``settings`` of its runs.
        mixers: Names in order.
        seeds: Seeds in order.
        code: Digests of the code of mixers that are a user's own, by name.
    """

    title: str
    domains: dict[str, dict[str, Any]]
    mixers: list[str]
    seeds: list[int]
    code: dict[str, str] = field(default_factory=dict)

    def runs(self) -> list[Key]:
        """Return all runs in order."""
        return [Key(d, m, s) for d in self.domains for m in self.mixers for s in self.seeds]

    def results(self, out: Path) -> list[Result]:
        """Return the finished runs of a folder, in the order of the grid."""
        return [Result.load(p) for p in (key.path(out) for key in self.runs()) if p.exists()]


def _folder(mixer: str) -> str:
    """Return a mixer's name; where a folder cannot have it, its beginning and a digest.

    Names contain the values of options, such as paths.
    """
    plain = re.sub(r"^\.|[^\w.,()= -]", "_", mixer, flags=re.ASCII)[:LONGEST]
    return plain if plain == mixer else f"{plain}-{sha256(mixer.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Standing:
    """One value of a mixer on a domain, over seeds.

    Attributes:
        values: One for each finished run that has it.
        failed: Number of failed runs.
        missing: Number of runs that have not ended.
    """

    values: tuple[float, ...]
    failed: int = 0
    missing: int = 0

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN if one of them is NaN, or without any."""
        return mean(self.values) if self.values else math.nan

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None for fewer than two, or if one is not finite."""
        if len(self.values) < 2 or not all(map(math.isfinite, self.values)):
            return None
        return stdev(self.values)

    @property
    def whole(self) -> bool:
        """Whether every seed has a finite value."""
        return math.isfinite(self.mean) and not self.failed and not self.missing


def standings(cells: Sequence[Standing]) -> list[str]:
    """Return a mark for each cell of a column whose lowest value is best.

    ``best`` marks the lowest mean, ``level`` those that are no further from it than the root of the
    sum of the two squared spreads. A cell without all its seeds is neither.
    """
    whole = [cell for cell in cells if cell.whole]
    if len(whole) < 2:
        return ["" for _ in cells]
    best = min(whole, key=lambda cell: cell.mean)

    def mark(cell: Standing) -> str:
        if not cell.whole:
            return ""
        if cell.mean == best.mean:
            return "best"
        near = math.hypot(cell.spread or 0, best.spread or 0)
        return "level" if cell.mean - best.mean <= near else ""

    return [mark(cell) for cell in cells]


@dataclass(frozen=True)
class Summary:
    """A grid, and the state of its runs.

    Attributes:
        grid: What was asked for.
        results: The finished runs, in the order of the grid.
        failures: The output of the failed runs.
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
        """Return the size of every mixer's model on a domain; None without a run."""
        runs = [self.runs(domain, mixer) for mixer in self.grid.mixers]
        return [some[0].parameters if some else None for some in runs]

    def column(self, domain: str, numbers: Numbers, name: str) -> list[Standing]:
        """Return a value of every mixer on a domain.

        Args:
            domain: Name of a domain.
            numbers: Returns the values of a run.
            name: Which of them.
        """
        return [self._cell(domain, mixer, numbers, name) for mixer in self.grid.mixers]

    def _cell(self, domain: str, mixer: str, numbers: Numbers, name: str) -> Standing:
        found = [numbers(run) for run in self.runs(domain, mixer)]
        place = (domain, mixer)
        return Standing(
            tuple(x[name] for x in found if name in x),
            failed=sum(key[:2] == place for key in self.failures),
            missing=sum(key[:2] == place for key in self.missing),
        )

    def names(self, domain: str, numbers: Numbers) -> list[str]:
        """Return the names of the values that runs on a domain have, in order of appearance."""
        return first_seen(
            name for run in self.results if run.domain == domain for name in numbers(run)
        )

    def metrics(self, domain: str) -> list[str]:
        """Return the names of the metrics of a domain, the headline and its horizons first."""
        headline = self.grid.domains[domain]["headline"]
        return by_horizon(first_seen([headline, *self.names(domain, quality)]))


def read(out: Path) -> Summary:
    """Return the state of the comparison in a folder."""
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
    """Return the key of a result's run."""
    return Key(run.domain, run.mixer, run.seed)


def quality(run: Result) -> dict[str, float]:
    """Return the metrics of a run."""
    return {name: number(x) for name, x in run.quality.items()}


def cost(run: Result) -> dict[str, float]:
    """Return the costs of a run."""
    return {name: number(run.cost[name]) for name in COSTS if name in run.cost}


def solver(run: Result) -> dict[str, float]:
    """Return what the solver did in a run; nothing for a mixer without one."""
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
    """Return the costs of a run, and the effort of its solver."""
    return cost(run) | solver(run)


def mean(values: Sequence[float]) -> float:
    """Return the mean of values; for infinities of both signs it is NaN."""
    return sum(values) / len(values)


def number(value: Any) -> float:
    """Return a value from a file; NaN for null, as some writers of JSON spell it."""
    return math.nan if value is None else float(value)


def first_seen(names: Iterable[str]) -> list[str]:
    """Return names without repetition, in order of appearance."""
    return list(dict.fromkeys(names))
