"""From the measured tables to one line a cell: what makes it converge, and when it fails."""

import pandas as pd
from solves import LIMIT
from sweeps import CHUNK
from zoo import ZOO

BOUNDS = (
    "every step contracts",
    f"every {CHUNK} steps contract",
    "negative exponent",
    "no bound",
    "S iterations only",
)
"""From the strongest to the weakest reason to converge."""

TRAINED = ("tokens", "series", "trajectories")


def bound(run: pd.Series) -> str:
    """Return the strongest reason to converge that is measured, if it does converge.

    Slopes are those along the solution: where all Jacobians have norms below 1, or all products of
    a segment's, corrections shrink from segment to segment; where all Lyapunov exponents are
    negative, iterations grow as log T (arXiv 2508.16817). They say nothing of starts in another
    basin of attraction: what takes an iteration a segment converges by no such bound.
    """
    if run.iterations >= run.segments:
        return BOUNDS[-1]
    below = (run.step_norm < 1, run.segment_norm < 1, run.exponent < 0, True)
    return next(reason for reason, holds in zip(BOUNDS, below, strict=False) if holds)


def verdict(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a cell.

    Args:
        tables: The results by part.
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
        "converges by": bound(now),
        "norm of J": f"{now.step_norm:.2f}",
        f"over {CHUNK} steps": f"{now.segment_norm:.1g}",
        "exponent": f"{now.exponent:+.3f}",
        "chunk 1": shown(at.iterations[1]),
        f"chunk {CHUNK}": shown(now.iterations),
        f"chunk 1 takes > {LIMIT}": slow(runs),
        "Newton() needs the loop": handed_over(runs),
        "in training": f"{weakest(trained)}, {shown(trained.iterations.max())}",
        "loop in training": f"{trained.loop_share.max():.0%}",
    }


def weakest(trained: pd.DataFrame) -> str:
    """Return the weakest reason to converge at any time of any training."""
    return max((bound(row) for _, row in trained.iterrows()), key=BOUNDS.index)


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
    takes = f"would take {shown(first.iterations)}"
    return f"scale {first.scale:g}: {takes}, {first.loop_share:.0%} of steps"


def shown(iterations: float) -> str:
    """Return a count, or that it is more than the limit."""
    return f">{LIMIT}" if iterations > LIMIT else f"{iterations:.0f}"


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [table.columns, ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
