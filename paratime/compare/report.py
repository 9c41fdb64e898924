"""Results as tables."""

import statistics
from pathlib import Path

import pandas as pd

from paratime.atomic import replacing
from paratime.compare.result import Grid, Result


def write(out: Path) -> Path:
    """Write ``results.csv`` and ``costs.csv``; return the path of the first."""
    results = Grid.load(out / "grid.json").results(out)
    keys = [{"domain": r.domain, "mixer": r.mixer, "seed": r.seed} for r in results]
    rows = [
        k | {"parameters": r.parameters} | r.quality | _solver(r) for k, r in _zip(keys, results)
    ]
    costs = [k | r.cost for k, r in _zip(keys, results)]
    for name, table in (("results.csv", rows), ("costs.csv", costs)):
        with replacing(out / name) as draft:
            pd.DataFrame(table).to_csv(draft, index=False)
    return out / "results.csv"


def table(out: Path) -> str:
    """Return an aligned table of the headlines."""
    grid = Grid.load(out / "grid.json")
    results, lines = grid.results(out), []
    for mixer in grid.mixers:
        cells = []
        for domain, about in grid.domains.items():
            found = [r for r in results if (r.domain, r.mixer) == (domain, mixer)]
            mean = statistics.mean([r.quality[about["headline"]] for r in found] or [float("nan")])
            cells.append(f"{found[0].parameters if found else 0:>10,} {mean:>8.4f}")
        lines.append(f"{mixer:<12}" + "".join(cells))
    return "\n".join(lines)


def _zip(keys: list[dict], results: list[Result]) -> list[tuple[dict, Result]]:
    return list(zip(keys, results, strict=True))


def _solver(result: Result) -> dict[str, float]:
    return {
        name: curve[-1][1] for name, curve in result.curves.items() if name.startswith("solver/")
    }
