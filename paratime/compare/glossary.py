"""The meaning of the names of metrics and curves, by domain."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """The meaning of a name.

    Attributes:
        meaning: Plain text.
        unit: Of its values, as plain text.
        better: Which values are better.
        goal: The value that it should have, if any.
    """

    meaning: str
    unit: str
    better: str = "lower is better"
    goal: float | None = None


SPREAD = "standard deviations of the training data"
SHARE = "share of rollouts"
COUNT = "rollouts"
HIGHER = "higher is better"
MORE = "more say more"

TERMS = {
    "tokens": {
        "bits_per_byte": Term(
            "the loss of all tokens in bits, divided by the bytes of their text", "bits per byte"
        ),
        "perplexity": Term(
            "exp(loss): guessing among so many equally likely tokens is as hard",
            "equally likely tokens",
        ),
        "loss": Term("mean cross-entropy of the next token", "nats per token"),
    },
    "series": {
        "mean_wQL": Term(
            "for each of nine quantiles, twice the summed pinball loss divided by the summed size"
            " of the target; then the mean of the nine",
            "relative to the target",
        ),
        "MASE": Term(
            "mean absolute error of the median, divided by that of repeating the last season,"
            " within the history",
            "ratio",
        ),
        "coverage_error": Term(
            "how far coverage_80, the share of targets between the 0.1 and the 0.9 quantile, is"
            " from 0.80",
            "share of targets",
        ),
        "coverage_80": Term(
            "share of targets between the 0.1 and the 0.9 quantile",
            "share of targets",
            "0.80 is best (dotted line)",
            0.8,
        ),
        "loss": Term(
            "what training minimises, by default twice the mean pinball loss, of values scaled by"
            " their history",
            "of scaled values",
        ),
    },
    "trajectories": {
        "error": Term(
            "nrmse@h divided by that of repeating the last observation; 1 is no better than that",
            "ratio",
        ),
        "nrmse": Term("root mean square error of observations imagined h steps ahead", SPREAD),
        "median": Term("as nrmse@h, but the error of the median rollout", SPREAD),
        "skill": Term("1 - error@h: 1 is perfect, 0 is repeating", "1 - ratio", HIGHER),
        "sensitivity": Term(
            "nrmse@h with the actions of other episodes divided by that with the true ones",
            "ratio",
            "above 1, actions count",
        ),
        "rollouts": Term("how many rollouts reach h steps", COUNT, MORE),
        "pairs": Term("how many of them have the actions of another one", COUNT, MORE),
        "reward_steps": Term("how many imagined rewards are scored", "steps", MORE),
        "ends": Term("how many of the imagined steps end an episode", "steps", MORE),
        "image_rollouts": Term("how many images of rollouts there are after h steps", COUNT, MORE),
        "reward_error": Term("root mean square error of rewards imagined up to @50", SPREAD),
        "reward_nrmse": Term("root mean square error of imagined rewards", SPREAD),
        "loss": Term("sum of its parts, such as change, reward and cont", "sum of parts"),
        "change": Term(
            "mean square error of how observations change from step to step",
            "squared standard deviations",
        ),
        "reward": Term("loss of the reward of a step", "squared standard deviations"),
        "cont": Term("cross-entropy of whether the episode continues", "nats per step"),
        "diverged": Term("rollouts that leave the range of the training data", SHARE),
        "not_finite": Term("rollouts with infinities or NaN", SHARE),
        "calibration": Term(
            "how far the probability that an episode goes on is from how often it does",
            "probability",
        ),
    },
}
"""By domain, and by name without ``train/``, ``val/`` and ``@h``, h being steps ahead."""


def stem(name: str) -> str:
    """Return a name without its split and horizon."""
    return name.removeprefix("train/").removeprefix("val/").partition("@")[0]


def term(domain: str, name: str) -> Term | None:
    """Return the meaning of a name; None for an unknown one, as in a user's own domain.

    Args:
        domain: Name of a domain.
        name: Name of a metric or a curve.
    """
    return TERMS.get(domain, {}).get(stem(name))


def explained(domain: str, names: Iterable[str]) -> dict[str, str]:
    """Return a sentence for each name with a meaning, each stem once.

    Args:
        domain: Name of a domain.
        names: Of metrics and curves.
    """
    found = {}
    for name in names:
        if (known := term(domain, name)) is not None:
            title = stem(name) + ("@h" if "@" in name else "")
            found[title] = f"{known.meaning} ({known.unit}; {known.better})"
    return found


def by_horizon(names: Iterable[str]) -> list[str]:
    """Return names in order, those of one stem together, with the nearest horizon first."""
    given = [*names]
    order = [stem(name) for name in given]

    def place(name: str) -> tuple[int, int]:
        horizon = name.partition("@")[2]
        return order.index(stem(name)), int(horizon) if horizon.isdecimal() else 0

    return sorted(given, key=place)


def axis_text(name: str, unit: str) -> str:
    """Return the label of a cost, or of a solver's effort, in figures and headings."""
    known = {
        "units_per_s": f"{unit} per second, training",
        "train_seconds": "seconds, training",
        "peak_memory_mib": "peak memory, MiB",
        "ms_per_generated_step": "ms per step, generating",
        "solver_iterations_mean": "iterations, mean",
        "solver_iterations_last": "iterations, last",
        "solver_defect_last": "defect, last",
        "solver_loop_share_mean": "loop share, mean",
    }
    return known[name]
