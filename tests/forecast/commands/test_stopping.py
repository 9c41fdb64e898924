"""Runs that a signal ends are saved, and continue as if it had not come."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from forecast.tables import frame_of
from lightning.pytorch import Callback

from paratime.forecast.data.sources.table import read_table
from paratime.forecast.gluonts.estimator import ParaRNNEstimator
from paratime.io.processes import alone_in
from paratime.training.checkpoints.stopping import SaveRegularly, Stopped
from paratime.training.predictions import SavePredictions


class Signal(Callback):
    """Sends the process a signal in a step, the first time or a later one that it comes by."""

    def __init__(self, number, step=3, times=1, training=1):
        self.number, self.step, self.times = number, step, times
        self.before = training

    def on_train_batch_start(self, trainer, *_):
        self.before -= trainer.global_step == self.step
        for _ in range(self.times * (self.before == 0 and trainer.global_step == self.step)):
            os.kill(os.getpid(), self.number)


def test_a_stopped_run_ends_as_if_it_had_not_stopped(tmp_path):
    data = read_table(frame_of(steps=40)[["item_id", "timestamp", "target"]])
    size = {"hidden_size": 8, "num_layers": 1, "max_steps": 7, "batch_size": 2}

    def train(*callbacks, ckpt_path=None):
        kwargs = {"default_root_dir": str(tmp_path), "callbacks": [*callbacks]}
        estimator = ParaRNNEstimator("D", 3, **size, trainer_kwargs=kwargs)
        return estimator.train(data, ckpt_path=ckpt_path).task.state_dict()

    whole, handlers = train(), [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    path = str(tmp_path / "last.ckpt")
    for number, step, training in ((signal.SIGINT, 3, 1), (signal.SIGTERM, 1, 2)):
        with pytest.raises(Stopped, match="saved") as stop:
            train(SaveRegularly(path, "read {path}"), Signal(number, step, training=training))
        assert stop.value.code == 128 + number
        assert str(stop.value) == f"stopped at step {step + 1}, saved; read {path}"
        torch.testing.assert_close(train(ckpt_path=path), whole, rtol=0, atol=0)
    with pytest.raises(SystemExit):  # Lightning ends a run at once that a key interrupts
        train(SaveRegularly(path), Signal(signal.SIGINT, times=2))
    signal.signal(signal.SIGINT, handlers[0])
    assert [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM), ids=("key", "term"))
def test_the_lightning_command_says_how_to_continue(number, paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame_of(steps=60).to_csv("sales.csv", index=False)
    config = [
        *("--model", "ForecastTask", "--model.encoder.width", 8, "--model.encoder.depth", 1),
        *("--data", "SeriesData", "--data.source", "Table", "--data.source.path", "sales.csv"),
        *("--data.prediction_length", 4, "--trainer.max_steps", 6),
        *("--trainer.default_root_dir", tmp_path, "--trainer.logger", "false"),
    ]
    sends = Signal(number).on_train_batch_start
    with monkeypatch.context() as patch:
        patch.setattr(SaveRegularly, "on_train_batch_start", lambda _, *given: sends(*given))
        status, _, err = paratime("fit", *config)
    assert status == 128 + number, err
    (path,) = re.findall(r"paratime: stopped at step 4, saved; continue with (.*)\n", err)
    flag, path = path.split(" ", 1)
    assert flag == "--ckpt_path" and paratime("fit", *config, flag, path)[0] == 0


WHERE = {
    "on_sanity_check_end": "stopped before the first step; nothing was saved",
    "on_validation_batch_start": "stopped at step 4, saved; continue with",
    "on_validation_start": "stopped at step 4, saved; continue with",
}


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM), ids=("key", "term"))
def test_signals_outside_of_steps(number, paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame_of(steps=60).to_csv("sales.csv", index=False)
    config = [
        *("--model", "ForecastTask", "--model.encoder.width", 8, "--model.encoder.depth", 1),
        *("--data", "SeriesData", "--data.source", "Table", "--data.source.path", "sales.csv"),
        *("--data.prediction_length", 4, "--data.batch_size", 1, "--trainer.max_steps", 6),
        *("--trainer.val_check_interval", 4, "--trainer.logger", "false"),
        *("--trainer.enable_progress_bar", "false"),
    ]

    def scores(*options):
        status, out, err = paratime("fit", *config, *options)
        assert status == 0, err
        return re.findall(r"val/\S+ +\S+", out)

    whole = scores()
    for hook, text in WHERE.items():

        def send(_, trainer, *given, hook=hook):
            if trainer.sanity_checking == (hook == "on_sanity_check_end"):
                os.kill(os.getpid(), number)

        with monkeypatch.context() as patch:
            patch.setattr(SavePredictions, hook, send)
            status, _, err = paratime("fit", *config)
        assert status == 128 + number and text in err, err
        if "saved; " in text:
            path = re.findall(r"--ckpt_path (.*)", err)[-1]
            assert scores("--ckpt_path", path) == whole
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(SavePredictions, "on_test_start", lambda *_: os.kill(os.getpid(), number))
        assert paratime("test", *config, "--ckpt_path", path)[0] == 128 + number
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_process_that_is_terminated(tmp_path):
    frame_of(steps=60).to_csv(tmp_path / "sales.csv", index=False)
    fit = ("forecast", "fit", "--data", "sales.csv", "--prediction_length", "3", "--out", "m")
    small = ("--recipe.hidden_size", "8", "--recipe.num_layers", "1", "--max_steps", str(10**6))
    process = subprocess.Popen(
        [sys.executable, "-m", "paratime", *fit, *small],
        **dict.fromkeys(("stdout", "stderr"), subprocess.PIPE),
        text=True,
        cwd=tmp_path,
    )
    last, end = tmp_path / "m" / "checkpoints" / "last.ckpt", time.monotonic() + 120
    while not last.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and "Traceback" not in err
    (step,) = re.findall(r"paratime: stopped at step (\d+), saved; continue with --resume", err)
    assert torch.load(last, weights_only=True)["global_step"] == int(step)


def test_a_folder_that_another_run_writes_is_refused(paratime, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame_of(steps=60).to_csv("sales.csv", index=False)
    fit = ("forecast", "fit", "--data", "sales.csv", "--prediction_length", 3, "--out", "m")
    with alone_in("m"):
        status, _, err = paratime(*fit)
    assert status == 2 and "out m: expected a folder that no other process writes into" in err
    assert [x.name for x in (tmp_path / "m").iterdir()] == [".lock"]


@pytest.mark.slow
def test_of_runs_that_write_into_one_folder_one_wins(tmp_path):
    frame_of(steps=60).to_csv(tmp_path / "sales.csv", index=False)
    fit = ("forecast", "fit", "--data", "sales.csv", "--prediction_length", "3", "--out", "m")
    small = ("--recipe.hidden_size", "8", "--recipe.num_layers", "1", "--max_steps", "5")
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "paratime", *fit, *small],
            **dict.fromkeys(("stdout", "stderr"), subprocess.PIPE),
            text=True,
            cwd=tmp_path,
        )
        for _ in range(3)
    ]
    found = [run.communicate(timeout=300) for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2, 2], found
    for run, (_, err) in zip(runs, found, strict=True):
        others = ("expected a folder that no other process writes into", "a folder without a run")
        assert run.returncode == 0 or any(x in err.splitlines()[-1] for x in others), err
