"""The config of a comparison."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from paratime.compare.domains import DOMAINS
from paratime.compare.results import Grid
from paratime.errors import InputError, check_at_least
from paratime.io.code import code_digest, is_users

Mixer = str | dict[str, Any]
"""A name, or ``class_path`` and ``init_args``."""

VALIDATIONS, POINTS = 4, 50
"""Validations of a run, and points of its curves."""

FIXED = (
    *("trainer.max_steps", "trainer.logger", "data.seed", "seed_everything"),
    *(f"model.encoder.{name}" for name in ("width", "depth", "mlp_size", "mixer")),
)
"""Options of ``paratime fit`` that a comparison sets."""

MOST_SEED = 2**32 - 1
"""The largest seed that all generators take."""


@dataclass(frozen=True)
class DomainConfig:
    """How the models of a domain are trained: a config of ``paratime fit``, and changes to it.

    Args:
        config: Path of the config.
        steps: Optimiser steps.
        width: Width of the encoder.
        depth: Its blocks.
        mlp_size: Width inside their feed-forward layers with the first mixer; with the others, it
            is chosen so that the model has as many parameters.
        overrides: Further options of ``paratime fit``, by their names.

    Raises:
        InputError: A value below 1, a config that does not exist, or an override of an option that
            the comparison sets itself.
    """

    config: str
    steps: int
    width: int
    depth: int
    mlp_size: int
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps, width=self.width, depth=self.depth)
        check_at_least(1, mlp_size=self.mlp_size)
        if not Path(self.config).is_file():
            raise InputError(
                "config",
                expected="an existing file",
                got=repr(self.config),
                remedy=f"relative ones start from {Path.cwd()}",
            )
        for name in self.overrides:
            if name in FIXED:
                raise InputError(
                    "overrides",
                    expected="options that the comparison does not set",
                    got=repr(name),
                    remedy="leave it out",
                )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the config at the first access."""
        return digest(self.config)

    def options(self, mixer: Mixer, mlp_size: int, seed: int) -> list[str]:
        """Return the options of ``paratime fit`` for a run that leaves no files."""
        given = {
            "trainer.max_steps": self.steps,
            "trainer.val_check_interval": max(1, self.steps // VALIDATIONS),
            "trainer.check_val_every_n_epoch": None,
            "trainer.log_every_n_steps": max(1, self.steps // POINTS),
            "trainer.num_sanity_val_steps": 0,
            "trainer.enable_progress_bar": False,
            "trainer.enable_model_summary": False,
            "trainer.enable_checkpointing": False,
            "trainer.callbacks": None,
            "trainer.logger": False,
            **self.overrides,
            "model.encoder.width": self.width,
            "model.encoder.depth": self.depth,
            "model.encoder.mlp_size": mlp_size,
            "model.encoder.mixer": mixer,
            "data.seed": seed,
            "seed_everything": seed,
        }
        options = [x for key, value in given.items() for x in (f"--{key}", _text(value))]
        return ["-c", self.config, *options]


@dataclass(frozen=True)
class Comparison:
    """Mixers side by side, on some domains.

    Args:
        title: Heading of the report.
        out: Folder to write.
        domains: By name: tokens, series, trajectories, or some of them.
        mixers: Names, or a ``class_path`` with ``init_args``; the others have as many parameters
            as the first one.
        seeds: Each is a run of every mixer on every domain.
        threads: Threads of a run.
        processes: Runs at a time, each in a process of its own.

    Raises:
        InputError: An unknown domain, a value that is too small, or nothing to do.
    """

    title: str
    out: str
    domains: dict[str, DomainConfig]
    mixers: list[Mixer]
    seeds: list[int]
    threads: int = 1
    processes: int = 1

    def __post_init__(self) -> None:
        check_at_least(1, threads=self.threads, processes=self.processes)
        for name in self.domains:
            if name not in DOMAINS:
                raise InputError(
                    "domains",
                    expected=", ".join(DOMAINS),
                    got=repr(name),
                    remedy="choose among them",
                )
        labels = [label(mixer) for mixer in self.mixers]
        given: dict[str, list[Any]] = {
            "domains": [*self.domains],
            "mixers": labels,
            "seeds": self.seeds,
        }
        for name, values in given.items():
            if not values or len({*values}) < len(values):
                raise InputError(
                    name,
                    expected="one or more, all different",
                    got=str(values),
                    remedy="correct it",
                )
        check_at_least(0, seeds=min(self.seeds))
        if max(self.seeds) > MOST_SEED:
            raise InputError(
                "seeds",
                expected=f"at most {MOST_SEED}",
                got=str(max(self.seeds)),
                remedy="lower it",
            )

    def grid(self) -> Grid:
        """Return all runs, with everything that decides their results."""
        domains = {name: self._described(name) for name in self.domains}
        return Grid(self.title, domains, [*self.labelled], self.seeds, self._code)

    @property
    def labelled(self) -> dict[str, Mixer]:
        """The mixers, by their names in tables and paths."""
        return {label(mixer): mixer for mixer in self.mixers}

    def _described(self, name: str) -> dict[str, Any]:
        domain, config = DOMAINS[name], self.domains[name]
        return {
            "config": config.config,
            "headline": domain.headline,
            "unit": domain.unit,
            "what": domain.what,
            "settings": asdict(config) | {"threads": self.threads, "sha256": config.digest},
        }

    @property
    def _code(self) -> dict[str, str]:
        """Digests of the code of mixers that are a user's own, by their labels."""
        paths = {x: y if isinstance(y, str) else y["class_path"] for x, y in self.labelled.items()}
        modules = {name: str(path).rpartition(".")[0] for name, path in paths.items()}
        own = {name: x for name, x in modules.items() if not x.startswith("paratime.")}
        return {name: code_digest([x]) for name, x in own.items() if x and is_users(x)}


def label(mixer: Mixer) -> str:
    """Return the name of a mixer, such as ``ParaGRU(block_size=4)``.

    Raises:
        InputError: It is no ``class_path`` with ``init_args``.
    """
    if isinstance(mixer, str):
        return mixer
    path, arguments = mixer.get("class_path"), mixer.get("init_args", {})
    known = not mixer.keys() - {"class_path", "init_args"}
    if not (known and isinstance(path, str) and isinstance(arguments, dict)):
        raise InputError(
            "mixers",
            expected="names, or class_path and init_args",
            got=str(mixer),
            remedy="correct it",
        )
    given = ", ".join(f"{key}={value}" for key, value in arguments.items())
    return " ".join(f"{path}({given})".split())


def digest(path: str) -> str:
    """Return the SHA-256 of a file."""
    return sha256(Path(path).read_bytes()).hexdigest()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
