"""A training step of the latent model, in one pass over time and step by step.

The posterior that reads the recurrent state feeds a sample back, so that a sequence has to be read
step by step; the one that reads the observation alone leaves the recurrence to one pass. Both
models have the same encoder and heads but for the posterior's inputs. First the pass is compared
with the loop over the same weights, in float64; then a loss with its gradients is timed, in turns.

    python experiments/world/speed.py       # about a minute on two cores
"""

import statistics
import time
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from paratime import Encoder
from paratime.io import replacing
from paratime.world import Categorical, Moments, TrajectorySpec, WorldTask

RESULTS = Path(__file__).parent / "results.csv"
BATCH, LENGTHS, OBSERVATION, ACTION, WIDTH = 16, (64, 512), 8, 2, 128
REPEATS = 7
ERROR = 1e-10


def main() -> None:
    """Compare, measure, write and print."""
    rows = []
    for length in tqdm(LENGTHS, desc="lengths"):
        batch = make_batch(length)
        difference = check(batch)
        models = {recurrent: task(recurrent) for recurrent in (False, True)}
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(REPEATS):
            for recurrent, model in models.items():
                seconds[recurrent].append(measure(model, batch))
        ratios = [b / a for a, b in zip(seconds[False], seconds[True], strict=True)]
        rows.append(
            {
                "batch": BATCH,
                "length": length,
                "one_pass_ms": 1e3 * statistics.median(seconds[False]),
                "step_by_step_ms": 1e3 * statistics.median(seconds[True]),
                "ratio": statistics.median(ratios),
                "least_ratio": min(ratios),
                "greatest_ratio": max(ratios),
                "difference": difference,
            }
        )
    table = pd.DataFrame(rows)
    with replacing(RESULTS) as draft:
        table.to_csv(draft, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))


def task(recurrent: bool) -> WorldTask:
    """Return the model of one kind or the other."""
    torch.manual_seed(0)
    names = ("observation", "change")
    moments = {name: ([0.0] * OBSERVATION, [1.0] * OBSERVATION) for name in names}
    ends = {"lowest": [-5.0] * OBSERVATION, "highest": [5.0] * OBSERVATION}
    ends |= {"action_lowest": [-1.0] * ACTION, "action_highest": [1.0] * ACTION}
    spec = TrajectorySpec(Moments(**moments, **ends, reward=([0.0], [1.0])))
    encoder = Encoder(WIDTH, 1, mlp_size=2 * WIDTH)
    return WorldTask(encoder, spec, Categorical(), recurrent_posterior=recurrent)


def make_batch(length: int) -> dict[str, torch.Tensor]:
    """Return rows of random episodes, ``length`` transitions."""
    rows = BATCH, length + 1
    first = torch.rand(rows) < 0.02
    first[:, 0] = True
    return {
        "observation": torch.randn(*rows, OBSERVATION),
        "prev_action": torch.rand(*rows, ACTION) * 2 - 1,
        "prev_reward": torch.randn(rows),
        "is_first": first,
        "is_last": first.roll(-1, 1),
        "is_terminal": torch.zeros(rows, dtype=torch.bool),
        "mask": torch.ones(rows, dtype=torch.bool),
    }


def check(batch: dict[str, torch.Tensor]) -> float:
    """Return how much the pass and the loop differ on the same weights; stop if it is too much."""
    network = task(False).double().eval().network
    exact = {k: x.double() if x.is_floating_point() else x for k, x in batch.items()}
    with torch.no_grad():
        at_once, one_by_one = network._at_once(exact, None)[0], network._one_by_one(exact, None)[0]
    difference = float((at_once - one_by_one).abs().max())
    if difference > ERROR:
        raise SystemExit(f"the pass and the loop differ by {difference:.1e}, more than {ERROR:.0e}")
    return difference


def measure(model: WorldTask, batch: dict[str, torch.Tensor]) -> float:
    """Return the seconds of a loss with its gradients."""
    began = time.perf_counter()
    model.losses(batch)[0].backward()
    seconds = time.perf_counter() - began
    model.zero_grad()
    return seconds


if __name__ == "__main__":
    main()
