"""What generation costs on one core: by batch, by position, and for reading prompts.

A model of bytes with the quickstart's blocks, with random weights and a head that never ends a
document, so that every text has its full length. Tokens are drawn at temperature 0.8, and every
rate is in tokens a second of processor time; the median of some turns. Nothing is timed before the
gate: that reading a prompt in parallel equals stepping, and that native code writes the text of
torch.
"""

import statistics
import time
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from paratime import Encoder, ParaGRU, ParaLSTM
from paratime.baselines import Attention, Mamba2
from paratime.io import replacing
from paratime.language import (
    ByteTokenizer,
    LanguageTask,
    Sampler,
    Sampling,
    TokenSpec,
    TorchStepper,
    complete,
    prefill,
    stepper,
)
from paratime.ops.native import library
from paratime.testing import TOLERANCE

HERE = Path(__file__).parent
BYTES = ByteTokenizer()
MIXERS = {
    "ParaGRU": ParaGRU,
    "ParaLSTM": ParaLSTM,
    "Mamba2": Mamba2,
    "Attention to 256": partial(Attention, window=256),
}
BATCHES = (1, 16, 64)
PROMPTS = (2_000, 30_000)
TURNS = 3


def main() -> None:
    """Run everything, write tables and figure, and print them."""
    torch.set_num_threads(1)
    for name, mixer in MIXERS.items():
        print(f"{name}: prefill against stepping, off by {gate(mixer)}")
    rates = pd.DataFrame(rows_of_batches())
    positions = pd.DataFrame(rows_of_positions())
    prompts = pd.DataFrame(rows_of_prompts())
    for name, table in (("rates", rates), ("positions", positions), ("prompts", prompts)):
        with replacing(HERE / f"generation_{name}.csv") as draft:
            table.to_csv(draft, index=False, float_format="%.4g")
    draw(rates, positions)
    print(rates.round(0).to_string(index=False), "\n")
    print(prompts.round(1).to_string(index=False), "\n")
    print(positions.iloc[[0, 1, -2, -1]].round(2).to_string(index=False))


def model(mixer: type | partial, width: int = 192, depth: int = 2) -> LanguageTask:
    """Return a model that never ends a document."""
    torch.manual_seed(0)
    task = LanguageTask(
        Encoder(width, depth, mixer), TokenSpec(BYTES.vocab_size, BYTES.spec())
    ).eval()
    task.head = nn.Linear(width, BYTES.vocab_size)
    nn.init.zeros_(task.head.bias)
    task.head.bias.data[BYTES.start] = -1e4
    return task


def gate(mixer: type | partial) -> str:
    """Refuse to time what is wrong; return the errors in float64 and float32."""
    errors = []
    for dtype in (torch.float64, torch.float32):
        task = model(mixer, 64).to(dtype)
        prompts = [[BYTES.start, *torch.randint(256, (n,)).tolist()] for n in (0, 50, 300)]
        logits, _ = prefill(task, prompts)
        with torch.inference_mode():
            for row, ids in enumerate(prompts):
                state = None
                for token in ids:
                    expected, state = task.step(torch.tensor([token]), state)
                errors.append(float((logits[row] - expected).abs().max()))
                if errors[-1] > TOLERANCE[dtype].value:
                    raise SystemExit(f"not timed, because prefill is off by {errors[-1]:.1e}")
    task, how = model(mixer), Sampling(50, seed=0)
    fast = list(complete(task, ["a", "bc"], how))
    with library.force_backend(library.REFERENCE):
        if list(complete(task, ["a", "bc"], how)) != fast:
            raise SystemExit("not timed, because native code writes another text than torch")
    return f"{max(errors[:3]):.1e}, {max(errors[3:]):.1e}"


def rows_of_batches() -> list[dict[str, object]]:
    """Return tokens a second by mixer, batch and way, and the most that reading weights allows."""
    rows: list[dict[str, object]] = []
    for name, mixer in tqdm(MIXERS.items(), desc="batches"):
        task = model(mixer)
        for batch in BATCHES:
            for way in ("default", "stepped in torch"):
                logits, state = prefill(task, [[BYTES.start]] * batch)
                sampler = sampler_of(batch)
                build = stepper if way == "default" else TorchStepper
                pace = tokens_per_second(build(task, sampler, logits=logits, state=state), batch)
                rows.append({"mixer": name, "batch": batch, "way": way, "tokens_per_s": pace})
        weights = torch.randn(sum(p.numel() for p in task.parameters()))
        bound = 1 / median_time(weights.sum)
        rows.append({"mixer": name, "batch": 1, "way": "weights read", "tokens_per_s": bound})
    return rows


def sampler_of(batch: int) -> Sampler:
    """Return a sampler of sequences without a prompt."""
    vocabulary = BYTES.vocab_size
    return Sampler(Sampling(), seeds=range(batch), prompts=[[]] * batch, vocab_size=vocabulary)


def tokens_per_second(steps: object, batch: int) -> float:
    """Return the median rate over turns of a few thousand tokens in total."""
    most, rates = max(16, 512 // batch), []
    for _ in range(TURNS):
        began, count = time.process_time(), 0
        while count < most:
            count += len(steps.write()[0])
        rates.append(batch * count / (time.process_time() - began))
    return statistics.median(rates)


def median_time(run: object) -> float:
    """Return the median processor time of a call, in seconds."""
    times = []
    for _ in range(201):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return statistics.median(times)


def rows_of_positions() -> list[dict[str, float]]:
    """Return the median time of a token in every thousand of a long text, and the memory then."""
    task, rows = model(ParaGRU, 64, 1), []
    logits, state = prefill(task, [[BYTES.start]])
    steps = stepper(
        task,
        sampler_of(1),
        logits=logits,
        state=state,
    )
    for thousand in tqdm(range(100), desc="positions"):
        times, count = [], 0
        while count < 1000:
            began = time.perf_counter()
            written = len(steps.write()[0])
            times.append((time.perf_counter() - began) / written)
            count += written
        pace = 1e6 * statistics.median(times)
        rows.append({"position": 1000 * thousand, "us_a_token": pace, "memory_MiB": memory()})
    return rows


def rows_of_prompts() -> list[dict[str, object]]:
    """Return prompt tokens read a second, and the memory after it, by mixer and length."""
    rows = []
    for name, mixer in tqdm(MIXERS.items(), desc="prompts"):
        task = model(mixer)
        for length in PROMPTS:
            ids = torch.randint(256, (length,)).tolist()
            began = time.process_time()
            prefill(task, [ids])
            pace = length / (time.process_time() - began)
            rows.append(
                {"mixer": name, "length": length, "tokens_per_s": pace, "memory_MiB": memory()}
            )
    return rows


def memory() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def draw(rates: pd.DataFrame, positions: pd.DataFrame) -> None:
    """Draw rates by batch, and times by position."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for (name, way), rows in rates.groupby(["mixer", "way"], sort=False):
        if way == "weights read":
            continue
        dashed = way != "default"
        color = f"C{list(MIXERS).index(name)}"
        style = {"color": color, "linestyle": "--" if dashed else "-", "marker": "."}
        left.loglog(rows.batch, rows.tokens_per_s, label=None if dashed else name, **style)
    left.set(xlabel="sequences", ylabel="tokens/s on one core", xticks=BATCHES)
    left.set_xticks(BATCHES, map(str, BATCHES))
    left.set_title("dashed: stepped in torch", fontsize="medium")
    left.legend(fontsize="small")
    right.plot(positions.position / 1000, positions.us_a_token)
    right.set(xlabel="position, thousands", ylabel="µs a token", ylim=(0, None))
    right.set_title("ParaGRU of width 64, one block", fontsize="medium")
    with replacing(HERE / "generation.png") as draft:
        figure.savefig(draft, dpi=130)


if __name__ == "__main__":
    main()
