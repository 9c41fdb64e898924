"""What a reader has to know of the numbers of a comparison, in sentences of plain text."""

from paratime.compare import charts
from paratime.compare.summary import Summary, first_seen

SIZES = """\
mlp_size, the width inside the feed-forward layers, differs by mixer: it is chosen so that every \
model has about as many parameters as that of the first mixer."""

COSTS = """\
Times are wall-clock times, beside whatever else the machine was doing. {unit} per second: the \
median over the second half of the training steps. Seconds: the sum over all training steps, \
without validation and testing. Peak memory: what building and training add to the process. \
ms per step: the median time of one step of one sequence through the encoder."""

SOLVER = """\
Newton's method was tried a few times in each run, on the batch of a training step; of several \
layers, the worst counts. Where fused kernels train, as on a CPU, training itself needs \
no iterations, and these figures say what Newton's method would take. Iterations: until the states \
change no more. Defect: how much the last iteration changed the states, relative to 1 + their \
size. Loop share: the part of the steps that were computed one by one because the iterations did \
not converge. mean: over all tries of a run; last: of its last try."""

CURVES = f"""\
Vertical axes cover the last nine tenths of training; what lies outside of them before that is cut \
off. Curves of train/ are smoothed: each point is the mean of one of {charts.SMOOTH} equal parts \
of training. Other curves have {charts.MOST} points at most, means of neighbours. curves.csv has \
all points. A mark shows where a line ends."""

SEEDS = "Lines are means over seeds; bands go from the lowest seed to the highest. "

FORECAST = "Black, or white on a dark screen: the series. In colour, the forecast: "
ROLLOUT = """\
Black, or white on a dark screen: what happened. In colour: what mixers imagined, given the \
actions and no further observations."""


def seeds(summary: Summary) -> str:
    """Return how far differences mean something."""
    count = len(summary.grid.seeds)
    if count == 1:
        return (
            "One seed: the mark shows the least value of a column, and no more;"
            " other seeds may order the mixers differently."
        )
    return (
        f"Mean ± standard deviation over {count} seeds. Level with the least mean is what is no"
        " further from it than the root of the sum of the two squared standard deviations."
    )


def overrides(summary: Summary, domain: str) -> str:
    """Return the options of a domain that differ from its config; nothing where none do."""
    given = summary.grid.domains[domain].get("settings", {}).get("overrides", {})
    listed = ", ".join(f"{key} {value}" for key, value in given.items())
    return f"Changed from the config: {listed}." if listed else ""


def measured(summary: Summary, domain: str) -> str:
    """Return how costs were measured, and on what, as far as the runs say so."""
    facts = summary.grid.domains[domain]
    costs = [run.cost for run in summary.results if run.domain == domain]
    machines = first_seen(str(cost["machine"]) for cost in costs if "machine" in cost)
    loads = [float(cost["load"]) for cost in costs if "load" in cost]
    threads = facts.get("settings", {}).get("threads")
    parts = [*machines, f"{threads} thread{'s' if threads > 1 else ''} a run" if threads else ""]
    if loads:
        parts.append(
            f"{min(loads):.1f} to {max(loads):.1f} processes in need of a core when runs ended"
        )
    where = "; ".join(filter(None, parts))
    said = COSTS.format(unit=facts["unit"].capitalize())
    return f"{said} Measured with: {where}." if where else said
