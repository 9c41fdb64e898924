"""Commands that use a trained model import nothing that only training needs."""

import subprocess
import sys

import pandas as pd
import torch

from paratime import Encoder
from paratime.forecast import ParaRNNPredictor, Recipe, SeriesData, Table, load_forecaster
from paratime.forecast.gluonts.loading import load_network
from paratime.language import LanguageTask, TokenSpec, export_task, load_task
from paratime.language.export.safetensors import load_model
from paratime.language.tokenizers.characters import ByteTokenizer

TRAINING = ("lightning", "torchmetrics", "gluonts.torch", "transformers", "torch._dynamo", "scipy")
SECONDS = 8
"""Of CPU time, with torch's import; without Lightning a command takes 2 to 3."""


def run_command(*words: str) -> None:
    """Run a command in a process of its own; check its imports and its time."""
    code = (
        "import sys, time; from paratime.__main__ import main\n"
        f"sys.argv = ['paratime', *{words!r}]; main()\n"
        f"print(time.process_time(), [x for x in {TRAINING!r} if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr
    seconds, _, heavy = done.stdout.decode(errors="replace").splitlines()[-1].partition(" ")
    assert heavy == "[]" and float(seconds) < SECONDS


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_generate(tmp_path):
    task = LanguageTask(Encoder(16, 1, mlp_size=16), TokenSpec(257, ByteTokenizer().spec()))
    folder = str(tmp_path / "model")
    export_task(task, folder, {"width": 16, "depth": 1, "mlp_size": 16})
    assert same_weights(load_model(folder), load_task(folder))
    run_command("language", "generate", "--ckpt_path", folder, "--max_new_tokens", "4")


def test_forecast_predict(tmp_path):
    times = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame({"item_id": "a", "timestamp": times, "target": range(60)})
    frame.to_csv(tmp_path / "a.csv", index=False)
    data = SeriesData(Table(str(tmp_path / "a.csv")), prediction_length=3)
    folder = tmp_path / "model"
    recipe = Recipe(hidden_size=16, num_layers=1)
    ParaRNNPredictor(recipe, data.spec.plain()).serialize(folder)
    assert same_weights(load_network(str(folder)), load_forecaster(str(folder)))
    out = str(tmp_path / "b.csv")
    options = ("--model", str(folder), "--data", str(tmp_path / "a.csv"), "--out", out)
    run_command("forecast", "predict", *options)
    assert len(pd.read_csv(out)) == 3
