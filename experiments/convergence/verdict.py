"""From the measured tables to one line a cell: by what it is bounded, and when it fails."""

import pandas as pd
from solves import LIMIT
from sweeps import CHUNK
from zoo import ZOO

BOUNDS = ("every step contracts", f"every {CHUNK} steps contract", "negative exponent", "none")
"""From the strongest to the weakest."""

TRAINED = ("tokens", "series", "trajectories")


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """Return the largest of the seeds in every column."""
    if "seed" not in table:
        return table
    keys = [key for key in ("cell", "scale", "chunk") if key in table]
    return table.drop(columns="seed").groupby(keys, sort=False, as_index=False).max()


def bound(run: pd.Series) -> str:
    """Return the strongest bound that holds along the solution.

    Where all Jacobians have norms below 1, or all products of a segment's, corrections shrink from
    segment to segment; where all Lyapunov exponents are negative, iterations grow as log T (arXiv
    2508.16817). This is said of starts that are near enough: a bound can hold although starts in
    another basin of attraction cost an iteration a segment.
    """
    below = (run.step_norm < 1, run.segment_norm < 1, run.exponent < 0, True)
    return next(reason for reason, holds in zip(BOUNDS, below, strict=False) if holds)


def verdict(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a cell.

    Args:
        tables: The results by part, each the ``worst`` of the seeds.
    """
    trained = pd.concat([tables[domain] for domain in TRAINED])
    return pd.DataFrame([line(name, tables, trained[trained.cell == name]) for name in ZOO])


def line(name: str, tables: dict[str, pd.DataFrame], trained: pd.DataFrame) -> dict[str, object]:
    """Return the row of a cell."""
    runs = tables["scale"][tables["scale"].cell == name]
    runs = runs.merge(tables["slopes"], on=["cell", "scale"])
    at = runs[runs.scale == 1].set_index("chunk")
    now = at.loc[CHUNK]
    return {
        "cell": name,
        "bound": bound(now),
        "norm of J": f"{now.step_norm:.3g}",
        f"over {CHUNK} steps": f"{now.segment_norm:.3g}",
        "exponent": f"{now.exponent:+.3f}",
        "chunk 1": shown(at.iterations[1]),
        f"chunk {CHUNK}": shown(now.iterations, now.segments),
        f"chunk 1 takes > {LIMIT}": slow(runs),
        "Newton() needs the loop": handed_over(runs),
        "in training": f"{weakest(trained)}, {most(trained)}",
        "loop in training": f"{trained.loop_share.max():.0%}",
    }


def weakest(trained: pd.DataFrame) -> str:
    """Return the weakest bound at any time of any training."""
    return max((bound(row) for _, row in trained.iterrows()), key=BOUNDS.index)


def most(trained: pd.DataFrame) -> str:
    """Return the most iterations at any time of any training."""
    row = trained.iloc[trained.iterations.argmax()]
    return shown(row.iterations, row.segments)


def slow(runs: pd.DataFrame) -> str:
    """Return the least scale at which chunk 1 takes more iterations than were tried."""
    scales = runs[(runs.chunk == 1) & (runs.iterations > LIMIT)].scale
    return "never" if scales.empty else f"scale {scales.min():g}"


def handed_over(runs: pd.DataFrame) -> str:
    """Return the least scale at which ``Newton()`` leaves steps to the loop, and how many."""
    given_up = runs[(runs.chunk == CHUNK) & (runs.loop_share > 0)]
    if given_up.empty:
        return "never"
    first = given_up.loc[given_up.scale.idxmin()]
    takes = f"would take {shown(first.iterations, first.segments)}"
    return f"scale {first.scale:g}: {takes}, {first.loop_share:.0%} of steps"


def shown(iterations: float, segments: float | None = None) -> str:
    """Return a count, that it is more than the limit, or that it is one a segment."""
    count = f">{LIMIT}" if iterations > LIMIT else f"{iterations:.0f}"
    return f"{count} = S" if iterations == segments else count


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [table.columns, ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
