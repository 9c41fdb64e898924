"""What a language model learns on two cores with ParaGRU, and with other mixers in its place.

Every contestant is ``configs/language/small.yaml`` with the same tokens in the same order, and the
feed-forward layers a little wider or narrower, so that all have as many parameters as ParaGRU
within 1 %. One after the other is trained and scored by ``paratime fit`` and ``paratime test``.
A contestant that has its rows in results.csv already is not trained again.

    python experiments/language/mixers.py       # 35 minutes on two cores
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from paratime import Encoder, Mamba2, ParaGRU
from paratime.baselines import Attention, TorchGRU
from paratime.compare import size_for
from paratime.io import replacing

HERE = Path(__file__).parent
CONFIG = HERE.parents[1] / "configs/language/small.yaml"
RESULTS = HERE / "results.csv"
MIXERS = {"ParaGRU": ParaGRU, "TorchGRU": TorchGRU, "Mamba2": Mamba2, "Attention": Attention}
SMALL = yaml.safe_load(CONFIG.read_text())
WIDTH, DEPTH = (SMALL["model"]["init_args"]["encoder"][name] for name in ("width", "depth"))
VOCABULARY = SMALL["data"]["init_args"]["tokenizer"]["init_args"]["vocab_size"]
TOLERANCE = 0.01


def main() -> None:
    """Train who is missing, write the table and the figure, and print the last scores."""
    done = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["mixer"])
    for name in tqdm([n for n in MIXERS if n not in set(done["mixer"])], desc="mixers"):
        rows = pd.DataFrame(train(name))
        done = pd.concat([done, rows], ignore_index=True) if len(done) else rows
        with replacing(RESULTS) as draft:
            done.to_csv(draft, index=False, float_format="%.5g")
    draw(done)
    print(done.groupby("mixer", sort=False).last().round(3).to_string())


def train(name: str) -> list[dict[str, object]]:
    """Train and score one mixer; return a row for each of its validations.

    Minutes are those since the first step, validations included. The row of the last step has the
    scores of the test documents.
    """
    size = mlp_size(name)
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--model.encoder.mixer={name}", f"--model.encoder.mlp_size={size}"]
        options += [f"--trainer.logger.init_args.save_dir={folder}"]
        run("fit", *options)
        trained = Path(folder, "small")
        [checkpoint] = trained.rglob("*.ckpt")
        [events] = trained.rglob("events.out.*")
        run("test", *options, f"--ckpt_path={checkpoint}")
        scored = next(path for path in trained.rglob("events.out.*") if path != events)
        curve = EventAccumulator(str(events)).Reload()
        tests = EventAccumulator(str(scored)).Reload()
    began = curve.Scalars("train/loss")[0].wall_time
    pace = pd.Series([e.value for e in curve.Scalars("train/tokens_per_s")]).median()
    rows = [
        {
            "mixer": name,
            "parameters": parameters(name, size),
            "mlp_size": size,
            "step": event.step + 1,
            "minutes": (event.wall_time - began) / 60,
            "tokens_per_s": pace,
            "val_bits_per_byte": event.value,
        }
        for event in curve.Scalars("val/bits_per_byte")
    ]
    rows[-1]["test_bits_per_byte"] = tests.Scalars("test/bits_per_byte")[-1].value
    return rows


def run(command: str, *options: str) -> None:
    """Run the command line on the config; its bar goes to the terminal."""
    paratime = [sys.executable, "-m", "paratime", command, "-c", str(CONFIG)]
    subprocess.run([*paratime, *options], check=True)


def mlp_size(name: str) -> int:
    """Return the width inside the feed-forward layers that gives ParaGRU's number of parameters."""
    target = parameters("ParaGRU", None)
    size = size_for(target, partial(parameters, name))
    if abs(parameters(name, size) / target - 1) > TOLERANCE:
        raise SystemExit(f"{name} cannot have {target} parameters within {TOLERANCE:.0%}")
    return size


def parameters(name: str, mlp_size: int | None) -> int:
    """Return the number of parameters of the model with a mixer."""
    with torch.device("meta"):
        encoder = Encoder(WIDTH, DEPTH, MIXERS[name], mlp_size=mlp_size)
    return sum(p.numel() for p in encoder.parameters()) + 2 * VOCABULARY * WIDTH


def draw(table: pd.DataFrame) -> None:
    """Draw bits per byte of the validation plays over steps and over minutes."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for name, rows in table.groupby("mixer", sort=False):
        for panel, column in zip(panels, ("step", "minutes"), strict=True):
            panel.plot(rows[column], rows["val_bits_per_byte"], marker="o", ms=3, label=name)
    panels[0].set(xlabel="step", ylabel="bits per byte, held-out plays")
    panels[1].set(xlabel="minutes on two cores")
    for panel in panels:
        panel.grid(alpha=0.3)
    panels[1].legend(frameon=False)
    with replacing(HERE / "mixers.png") as draft:
        figure.savefig(draft, dpi=130)


if __name__ == "__main__":
    main()
