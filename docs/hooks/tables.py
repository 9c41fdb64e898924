"""The tables of the site and of the README, made of the files that experiments have written."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from paratime.compare import pipes

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
MIXERS = ("ParaGRU", "Mamba2", "Attention", "TorchGRU")
"""Columns of the first table."""

TRACKERS = (*("ParaGRU", "ParaGRU-4", "ParaGRU-8", "ParaLSTM-8", "TorchGRU"), "MinGRU")
TRACKERS += ("Mamba", "Mamba2", "Mamba3", "Attention")
TASKS = {
    "parity": "parity",
    "mod3": "modulo 3",
    "s3": "S3",
    "a5": "A5",
    "s5": "S5",
    "recall": "recall",
}


def make(name: str) -> str:
    """Return a table in Markdown."""
    return TABLES[name]()


def front() -> str:
    """Return one line a question, with the best of four mixers in bold."""
    tracked, rows = _tracking(256), []
    k8 = {"ParaGRU": "ParaGRU-8"}
    for task, head in (("parity", "Parity"), ("s5", "Permutations of five (S5), blocks of 8")):
        values = [tracked.loc[k8.get(m, m) if task == "s5" else m, task] for m in MIXERS]
        rows.append(_line(f"{head}: accuracy at 256 tokens, %", values, "max", ".1f"))
    recall = _tracking(40)["recall"]
    rows.append(_line("Recall of one of 8 pairs, %", [recall[m] for m in MIXERS], "max", ".1f"))
    text = _language()
    score = [text.test_bits_per_byte[m] for m in MIXERS]
    rows.append(_line("Shakespeare, 4M parameters: bits per byte", score, "min", ".3f"))
    minutes = [text.minutes[m] for m in MIXERS]
    rows.append(_line("the same: minutes of training on two cores", minutes, "min", ".1f"))
    noisy = _read("dynamics").query("data == 'Lorenz-96, noisy'").groupby("model").valid.mean()
    noisy = [noisy[m] for m in MIXERS]
    rows.append(_line("Noisy Lorenz-96: valid time, Lyapunov times", noisy, "max", ".2f"))
    return pipes([["", *MIXERS], *rows])


def state_tracking() -> str:
    """Return the accuracy at 256 tokens after training on 40; recall at 40."""
    table = _tracking(256)
    table["recall"] = _tracking(40)["recall"]
    rows = [[m, *(f"{table.loc[m, t]:.1f}" for t in TASKS)] for m in TRACKERS]
    return pipes([["trained on 40 tokens, tested on 256", *TASKS.values()], *rows])


def forecasts() -> str:
    """Return the scores on official test splits, means over seeds."""
    table = _read("forecast")
    table = table[~table.data.str.contains("before") & ~table.model.str.contains("_k|_lstm")]
    rows = []
    for (data, model), runs in table.groupby(["data", "model"], sort=False):
        means = runs[["MASE", "mean_wQL", "coverage_80"]].mean()
        scores = [f"{means.MASE:.3f}", f"{means.mean_wQL:.4f}", f"{100 * means.coverage_80:.1f}"]
        rows.append([f"{data}: {model}", str(len(runs)), *scores])
    rows.sort(key=lambda row: (row[0].partition(":")[0], float(row[2])))
    return pipes([["data: model", "seeds", "MASE", "mean wQL", "inside 80 % intervals, %"], *rows])


def language() -> str:
    """Return the scores and the costs of four language models of one size."""
    head = ["mixer", "tokens/s", "minutes", "bits per byte, validation", "test"]
    rows = [
        [
            *(m, f"{r.tokens_per_s:,.0f}", f"{r.minutes:.1f}"),
            *(f"{r.val_bits_per_byte:.3f}", f"{r.test_bits_per_byte:.3f}"),
        ]
        for m, r in _language().iterrows()
    ]
    return pipes([head, *rows])


def generation() -> str:
    """Return tokens a second of generation, by mixer and batch."""
    table = pd.read_csv(EXPERIMENTS / "language" / "generation_rates.csv")
    table = table[table.way == "default"]
    wide = table.pivot(index="mixer", columns="batch", values="tokens_per_s")
    head = ["mixer", *(f"{batch} at a time" for batch in wide.columns)]
    return pipes([head, *([str(m), *(f"{x:,.0f}" for x in r)] for m, r in wide.iterrows())])


def dynamics() -> str:
    """Return how long rollouts stay valid, in Lyapunov times, means over seeds."""
    table = _read("dynamics").dropna(subset=["valid"])
    wide = table.pivot_table("valid", "model", "data", sort=False)
    rows = [[str(m), *(f"{x:.2f}" if x == x else "" for x in r)] for m, r in wide.iterrows()]
    return pipes([["model", *map(str, wide.columns)], *rows])


def planning() -> str:
    """Return the returns of planning in trained models."""
    table = pd.read_csv(EXPERIMENTS / "world" / "compare.csv")
    head = ["config: model", "training, s", "return", "random actions", "nRMSE, 10 steps"]
    rows = [
        [
            *(f"{r.config}: {r.model}", f"{r.training_s:.0f}"),
            *(f"{r.planned:.1f}", f"{r.random:.1f}", f"{r['nrmse@10']:.3f}"),
        ]
        for _, r in table.iterrows()
    ]
    return pipes([head, *rows])


def speed() -> str:
    """Return milliseconds of a forward and backward pass, by layer and shape."""
    wide = _read("speed").pivot(index="layer", columns="shape", values="both")
    order = _read("speed").layer.unique()
    rows = [[n, *(f"{x:,.0f}" if x >= 10 else f"{x:.1f}" for x in wide.loc[n])] for n in order]
    return pipes([["layer; B x T x D", *wide.columns], *rows])


def iterations() -> str:
    """Return the bounds and the iterations of ten recurrences at scale 1."""
    columns = ["cell", "bound", "exponent", "chunk 1", "chunk 32", "in training"]
    columns += ["loop in training"]
    table = pd.read_csv(EXPERIMENTS / "convergence" / "verdict.csv", dtype=str)[columns]
    return pipes([columns, *table.to_numpy().tolist()])


def comparison(file: str) -> str:
    """Return the main score of each kind of data, all seeds, by mixer."""
    table = pd.read_csv(EXPERIMENTS / "compare" / file)
    scores = {
        "bits_per_byte": ("text, bits per byte", ".3f"),
        "mean_wQL": ("series, mean wQL", ".4f"),
        "error@10": ("trajectories, error@10", ".4f"),
    }
    rows = [["mixer", *(head for head, _ in scores.values())]]
    for mixer, runs in table.groupby("mixer", sort=False):
        cells = (", ".join(f"{x:{f}}" for x in runs[n].dropna()) for n, (_, f) in scores.items())
        rows.append([str(mixer), *cells])
    return pipes(rows)


def reliability() -> str:
    """Return what was tried to break promises, and how often it did."""
    table = _read("reliability")
    rows = [[r.what, f"{r.tried:,}", f"{r.failed:,}", f"`{r.command}`"] for r in table.itertuples()]
    return pipes([["what happens", "tried", "failed", "command"], *rows])


def _read(experiment: str) -> pd.DataFrame:
    return pd.read_csv(EXPERIMENTS / experiment / "results.csv")


def _tracking(length: int) -> pd.DataFrame:
    """Return accuracies in per cent, a row a mixer, of the run with the lower loss."""
    table = _read("state_tracking").sort_values("loss")
    best = table.groupby(["task", "mixer", "seed"], as_index=False).first()
    return 100 * best.pivot_table(f"accuracy@{length}", "mixer", "task")


def _language() -> pd.DataFrame:
    return _read("language").dropna(subset=["test_bits_per_byte"]).set_index("mixer")


def _line(head: str, values: list[float], best: str, form: str) -> list[str]:
    """Return a row whose best values, as they are written, are bold."""
    written = [f"{value:{form}}" for value in values]
    chosen = f"{(max if best == 'max' else min)(values):{form}}"
    return [head, *(f"**{text}**" if text == chosen else text for text in written)]


TABLES: dict[str, Callable[[], str]] = {
    "front": front,
    "state_tracking": state_tracking,
    "forecasts": forecasts,
    "language": language,
    "generation": generation,
    "dynamics": dynamics,
    "planning": planning,
    "speed": speed,
    "iterations": iterations,
    "comparison": lambda: comparison("full.csv"),
    "reliability": reliability,
    "demo": lambda: comparison("quick.csv"),
}
