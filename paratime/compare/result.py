"""What a comparison was asked for, and what its runs found, as files."""

import json
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

from paratime.errors import InputError, one_line
from paratime.io.atomic import replacing

LONGEST = 100
"""Letters of a folder's name."""


class Key(NamedTuple):
    """Which run of a grid."""

    domain: str
    mixer: str
    seed: int

    def __str__(self) -> str:
        return f"{self.domain} {self.mixer} seed {self.seed}"

    @property
    def place(self) -> Path:
        """Where what is of the run lies, below a folder of that of all runs."""
        return Path(self.domain, _folder(self.mixer), f"seed-{self.seed}")

    def path(self, out: Path) -> Path:
        """Return the file of the run, which is there as soon as the run is finished."""
        return (out / "runs" / self.place).with_suffix(".json")

    def lock(self, out: Path) -> Path:
        """Return the file that is locked while the run goes on."""
        return self.path(out).with_suffix(".lock")

    def log(self, out: Path) -> Path:
        """Return the file of what the run prints while it goes on."""
        return self.path(out).with_suffix(".log")

    def error(self, out: Path) -> Path:
        """Return the file of what a run printed that has failed."""
        return self.path(out).with_suffix(".error.txt")


@dataclass(frozen=True)
class Stored:
    """What is kept in a file of JSON."""

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
            expected, got = "a file that paratime compare wrote", f"another: {one_line(error)}"
            remedy = "remove it, and the same command makes it anew"
            raise InputError(str(path), expected, got, remedy) from error


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
    """

    title: str
    domains: dict[str, dict[str, Any]]
    mixers: list[str]
    seeds: list[int]

    def runs(self) -> list[Key]:
        """Return all runs in order."""
        return [Key(d, m, s) for d in self.domains for m in self.mixers for s in self.seeds]

    def results(self, out: Path) -> list[Result]:
        """Return the finished runs of a folder, in the order of the grid."""
        return [Result.load(p) for p in (key.path(out) for key in self.runs()) if p.exists()]


def _folder(mixer: str) -> str:
    """Return a mixer's name, or where that is no good name of a folder, its beginning and a digest.

    Names have the values of options in them, such as paths.
    """
    plain = re.sub(r"^\.|[^\w.,()= -]", "_", mixer, flags=re.ASCII)[:LONGEST]
    return plain if plain == mixer else f"{plain}-{sha256(mixer.encode()).hexdigest()[:8]}"
