"""A training step of the quickstart's blocks with several mixers, and of transformers' Mamba-2.

All have the width and depth of ``configs/language/quickstart.yaml``, ids of bytes, float32, and
its batch of 16 or fewer sequences: forward, loss, backward, clipping and AdamW. Ours differ in the
mixer alone; the model of transformers is its own, without feed-forward layers. First each has to
learn a batch by heart for a few steps, and the fast path of ours to give the gradients of the loop;
then steps are timed, in turns.

    python experiments/language/speed.py       # about two minutes on two cores
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from paratime import Encoder, Mamba2, Mixer, ParaGRU, ParaLSTM, Sequential
from paratime.baselines import TorchGRU
from paratime.io import replacing
from paratime.language import LanguageTask, TokenSpec
from paratime.training import AdamW, parameter_groups, peak_flops

RESULTS = Path(__file__).parent / "speed.csv"
WIDTH, DEPTH, LENGTH, VOCABULARY = 192, 2, 256, 257
BATCHES = (1, 4, 16)
ROUNDS, WARM = 7, 3
ERROR = 1e-4

OURS: dict[str, Callable[[int], Mixer]] = {
    "ParaGRU": ParaGRU,
    "ParaLSTM": ParaLSTM,
    "Mamba2": Mamba2,
    "torch.nn.GRU": TorchGRU,
}


class Theirs(nn.Module):
    """transformers' Mamba-2 as a language model, with the loss of ours."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import Mamba2Config, Mamba2ForCausalLM

        heads = 2 * WIDTH // 64
        sizes = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "vocab_size": VOCABULARY}
        config = Mamba2Config(**sizes, num_heads=heads, head_dim=64, n_groups=1, use_cache=False)
        self.model = Mamba2ForCausalLM(config)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, None, None]:
        """Return the loss where ours do."""
        logits = self.model(batch["inputs"]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
        return loss, None, None


def main() -> None:
    """Check, measure in turns, write and print."""
    options = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    options.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(options.parse_args().threads)
    difference = check()
    rows = [row for size in BATCHES for row in measure(size, difference)]
    table = pd.DataFrame(rows)
    with replacing(RESULTS) as draft:
        table.to_csv(draft, index=False, float_format="%.4g")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.4g}"))


def measure(size: int, difference: dict[str, float]) -> list[dict[str, object]]:
    """Return a row a model on the steps of batches of a size."""
    models: dict[str, LanguageTask | Theirs] = {name: make(mixer) for name, mixer in OURS.items()}
    models["transformers Mamba2"] = Theirs()
    steps = {name: stepper(model, make_batch(size)) for name, model in models.items()}
    falls = {name: learn(step) for name, step in tqdm(steps.items(), desc=f"gate, batch {size}")}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in tqdm(range(ROUNDS), desc=f"rounds, batch {size}"):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    peak, rows = peak_flops(torch.device("cpu"), torch.float32) or math.nan, []
    for name, times in seconds.items():
        ratios = [b / a for a, b in zip(seconds["ParaGRU"], times, strict=True)]
        model, pace = models[name], size * LENGTH / statistics.median(times)
        flops = model.flops() if isinstance(model, LanguageTask) else math.nan
        rows.append(
            {
                "batch": size,
                "model": name,
                "threads": torch.get_num_threads(),
                "step_ms": 1e3 * statistics.median(times),
                "tokens_per_s": pace,
                "mfu": pace * flops / peak,
                "paragru_faster": statistics.median(ratios),
                "least": min(ratios),
                "greatest": max(ratios),
                "first_loss": falls[name][0],
                "last_loss": falls[name][1],
                "loop_gap": difference.get(name, math.nan),
            }
        )
    return rows


def make(mixer: Callable[[int], Mixer]) -> LanguageTask:
    """Return a model of ours."""
    torch.manual_seed(0)
    return LanguageTask(Encoder(WIDTH, DEPTH, mixer), TokenSpec(VOCABULARY))


def make_batch(rows: int, length: int = LENGTH) -> dict[str, Tensor]:
    """Return random text."""
    ids = torch.randint(VOCABULARY, (rows, length + 1), generator=torch.Generator().manual_seed(0))
    return {"inputs": ids[:, :-1], "targets": ids[:, 1:], "reset": None}  # type: ignore[dict-item]


def stepper(model: LanguageTask | Theirs, batch: dict[str, Tensor]) -> Callable[[], float]:
    """Return what does one training step on the same batch, and returns its loss."""
    optimizer = AdamW(lr=2e-3).build(model, parameter_groups(model, 0.1))

    def step() -> float:
        optimizer.zero_grad()
        loss = model.losses(batch)[0]
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def learn(step: Callable[[], float]) -> tuple[float, float]:
    """Return the losses of the first and last of some steps; stop if they do not fall."""
    losses = [step() for _ in range(WARM)]
    if not losses[-1] < losses[0]:
        raise SystemExit(f"not timed: the loss went from {losses[0]:.4f} to {losses[-1]:.4f}")
    return losses[0], losses[-1]


def check() -> dict[str, float]:
    """Return how much gradients of the fast path and of the loop differ; stop if it is much."""
    found, batch = {}, make_batch(2, 100)
    for name, layer in (("ParaGRU", ParaGRU), ("ParaLSTM", ParaLSTM)):
        slopes = []
        for mixer in (layer, partial(layer, solver=Sequential())):
            model = make(mixer)
            model.losses(batch)[0].backward()
            slopes.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        found[name] = float((slopes[0] - slopes[1]).abs().max() / slopes[1].abs().max())
        if not found[name] <= ERROR:
            raise SystemExit(f"not timed: {name} differs from the loop by {found[name]:.1e}")
    return found


if __name__ == "__main__":
    main()
