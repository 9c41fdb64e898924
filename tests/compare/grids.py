"""Comparisons as files, whose runs are made up: what the report is tested and looked at with.

python tests/compare/grids.py FOLDER
"""

import csv
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from paratime.compare.report import write_page
from paratime.compare.results import Grid, Key, Result, key_of

MIXERS = ["ParaGRU", "ParaLSTM", "Mamba", "Mamba2", "Mamba3", "MinGRU", "Attention", "TorchGRU"]
STEPS = np.arange(10, 301, 10)
RUN = {"width": 64, "depth": 2, "steps": 300, "batch_size": 16}

GRID = Grid(
    "Eight mixers on three domains",
    {
        "tokens": {
            "config": "configs/language/quickstart.yaml",
            "headline": "bits_per_byte",
            "unit": "tokens",
            "what": "Bytes of Shakespeare's plays; scored on plays held out.",
        },
        "series": {
            "config": "configs/forecast/quickstart.yaml",
            "headline": "mean_wQL",
            "unit": "observations",
            "what": "Monthly series of a competition; scored on the official last 18 months.",
        },
        "trajectories": {
            "config": "configs/world/pendulum_dynamics.yaml",
            "headline": "nrmse@10",
            "unit": "steps",
            "what": "A pendulum that is pushed at random; scored on imagined rollouts.",
        },
    },
    MIXERS,
    [0, 1, 2],
)


def make(
    out: Path, grid: Grid = GRID, change: Callable[[Result], Result | None] = lambda x: x
) -> Path:
    """Save a grid and a run for each of its cells, as changed; None leaves a run out."""
    grid.save(out / "grid.json")
    for key in grid.runs():
        found = change(result(*key, grid.mixers.index(key.mixer)))
        if found is not None:
            found.save(key.path(out))
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def small(out: Path, seeds: int = 2, **change: object) -> Path:
    """Make a comparison of two mixers, fast."""
    grid = replace(GRID, mixers=MIXERS[:2], seeds=[*range(seeds)])
    return make(out, replace(grid, **change))


def result(domain: str, mixer: str, seed: int, index: int) -> Result:
    """Return what a run might have found, which depends on the mixer's place, and on its seed."""
    kind, place = next((x, i) for i, x in enumerate(DOMAINS) if x in domain)
    random = np.random.default_rng([place, index, seed])
    luck = 1 + 0.05 * np.sin(3 * index + place) + 0.01 * random.normal()
    quality, curves = DOMAINS[kind](luck, random)
    speed = 40_000 * 0.8**index * (1 + 0.05 * random.normal())
    return Result(
        domain,
        mixer,
        seed,
        812_345 + 137 * index,
        RUN | {"mlp_size": 180 - 4 * index, "config": GRID.domains[kind]["config"]},
        quality,
        curves | (solver(random) if mixer.startswith("Para") else {}),
        PICTURES[kind](luck, random),
        {
            "units_per_s": float(speed),
            "train_seconds": float(4e5 / speed),
            "peak_memory_mib": 280 + 20.5 * index + float(random.normal()),
            "ms_per_generated_step": 0.2 * 1.3**index * float(1 + 0.05 * random.normal()),
        },
    )


def tokens(luck: float, random: np.random.Generator) -> tuple[dict, dict]:
    bits = 2.6 * luck
    quality = {"bits_per_byte": bits, "perplexity": 2**bits}
    return quality, learning(1.8 * luck, 5.5, random, "bits_per_byte", bits)


def series(luck: float, random: np.random.Generator) -> tuple[dict, dict]:
    loss = 0.095 * luck
    quality = {"mean_wQL": loss, "MASE": 9.2 * loss, "coverage_error": 0.02 * luck}
    return quality, learning(0.2 * luck, 0.9, random, "mean_wQL", loss)


def trajectories(luck: float, random: np.random.Generator) -> tuple[dict, dict]:
    errors = {f"nrmse@{h}": 0.02 * luck * h**0.7 for h in (1, 5, 10, 20, 50)}
    ordered = {"nrmse@10": errors["nrmse@10"]} | errors | {"reward_nrmse": 0.11 * luck}
    return ordered, learning(0.05 * luck, 1.1, random, "nrmse@10", errors["nrmse@10"])


def learning(
    low: float, high: float, random: np.random.Generator, metric: str, last: float
) -> dict[str, list[list[float]]]:
    """Return curves that fall from about ``high`` to about ``low``, and to ``last``."""
    fall = np.exp(-STEPS / 60)
    loss = low + (high - low) * fall + 0.03 * (high - low) * random.normal(size=len(STEPS))
    scores = last * (1 + 1.2 * fall[4::5])
    return {"train/loss": points(STEPS, loss), f"val/{metric}": points(STEPS[4::5], scores)}


def solver(random: np.random.Generator) -> dict[str, list[list[float]]]:
    iterations = 3 + STEPS / 150 + 0.2 * random.normal(size=len(STEPS))
    defect = 1e-6 * np.exp(random.normal(size=len(STEPS)))
    return {
        "solver/iterations": points(STEPS, iterations),
        "solver/defect": points(STEPS, defect),
        "solver/loop_share": points(STEPS, np.zeros(len(STEPS))),
    }


def points(steps: np.ndarray, values: np.ndarray) -> list[list[float]]:
    return [[int(x), float(y)] for x, y in zip(steps, values, strict=True)]


def texts(luck: float, random: np.random.Generator) -> list[dict[str, Any]]:
    words = ["the", "king", "shall", "not", "<weep>", "&", "speak", "my", "sorrow"]
    lines = [" ".join(random.choice(words, 7)).capitalize() for _ in range(9)]
    text = "ROMEO:\n" + "\n".join(lines) + "\n\nJULIET:\nO"
    return [{"kind": "text", "title": "prompt ROMEO:", "text": text}]


def forecasts(luck: float, random: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for number in range(3):
        month = np.arange(54)
        truth = 100 + 8 * number + month / 3 + 9 * np.sin(month * np.pi / 6 + number)
        truth += 2 * np.random.default_rng(number).normal(size=54)
        ahead = np.arange(1, 19)
        middle = truth[36:] + 8 * (luck - 1) * ahead + random.normal(size=18)
        wide = (2.2 + 0.25 * ahead) * luck
        levels = {"0.1": middle - 1.28 * wide, "0.5": middle, "0.9": middle + 1.28 * wide}
        quantiles = {name: [None] * 36 + x.tolist() for name, x in levels.items()}
        time = [f"{2011 + m // 12}-{m % 12 + 1:02}" for m in month]
        picture = {"kind": "forecast", "title": f"T{number + 1}", "time": time}
        found.append(picture | {"target": truth.tolist(), "quantiles": quantiles})
    return found


def rollouts(luck: float, random: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for episode in range(2):
        step = np.arange(50)
        angle = np.cumsum(0.2 + 0.1 * np.sin(step / 5 + episode))
        off = angle + 0.02 * luck**8 * np.cumsum(random.normal(size=50))
        truth, imagined = (
            {"cos": np.cos(x), "sin": np.sin(x), "speed": np.gradient(x), "reward": -((x % 3) ** 2)}
            for x in (angle, off)
        )
        picture = {"kind": "rollout", "title": f"episode {episode}", "steps": step.tolist()}
        picture["truth"] = {name: x.tolist() for name, x in truth.items()}
        picture["imagined"] = {name: x.tolist() for name, x in imagined.items()}
        found.append(picture)
    return found


DOMAINS = {"tokens": tokens, "series": series, "trajectories": trajectories}
PICTURES = {"tokens": texts, "series": forecasts, "trajectories": rollouts}


FAILED, MISSING = Key("series", "Mamba", 1), Key("series", "Attention", 2)
DIVERGED = Key("trajectories", "MinGRU", 0)


def broken(out: Path) -> Path:
    """Make a comparison with what goes wrong: a failed run, one that is missing, and NaN."""

    def change(run: Result) -> Result | None:
        if key_of(run) == DIVERGED:
            run.quality["nrmse@10"] = math.nan
            for point, value in zip(
                run.curves["train/loss"][-3:], (1e300, math.inf, math.nan), strict=True
            ):
                point[1] = value
            run.pictures[0]["imagined"]["cos"][5:] = 45 * [math.nan]
            run.pictures[0]["imagined"]["sin"][5:] = 45 * [-1e300]
        return None if key_of(run) in (FAILED, MISSING) else run

    make(out, change=change)
    error = "Traceback (most recent call last):\n  ...\nRuntimeError: state is not finite\n"
    FAILED.error(out).write_text(99 * "step\r" + error)
    return out


HOSTILE = [
    "<script>stolen = 1</script>",
    "\"><img src=x onerror='stolen = 1'>",
    "a | b, c & d; `e` *f* {title}",
    "mine.module.with.a.very.long.path.AndAVeryLongNameThatHasNoPlaceToBreakAnywhere" * 2,
]


def hostile(out: Path) -> Path:
    """Make a comparison whose names and texts try to be something else."""
    bad = HOSTILE[0]
    domains = {
        f"{bad}{name}": facts | {"what": bad, "unit": bad} for name, facts in GRID.domains.items()
    }
    grid = replace(GRID, title=bad, domains=domains, mixers=HOSTILE)

    def change(run: Result) -> Result:
        for picture in run.pictures:
            picture["title"] += bad
            if picture["kind"] == "text":
                picture["text"] = f"</pre>{bad}\x00\ud800\u202e" + 400 * "x"
        settings = run.settings | {bad: bad}
        curves = {f"{name}{bad}": x for name, x in run.curves.items()}
        return replace(run, settings=settings, curves=curves, quality=run.quality | {bad: 1.0})

    return make(out, grid, change)


if __name__ == "__main__":
    print(write_page(broken(Path(sys.argv[1]))))
