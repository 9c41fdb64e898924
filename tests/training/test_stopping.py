"""Runs of several processes that a signal ends, and runs that are saved every few minutes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from paratime.io.saved.checkpoint import read_checkpoint
from paratime.training.checkpoints import stopping
from paratime.training.checkpoints.stopping import SaveRegularly

RUN = (
    *("fit", "--model", "LanguageTask", "--model.encoder.width", "8", "--model.encoder.depth", "1"),
    *("--data", "TokenData", "--data.source", "TextFiles", "--data.source.paths", "[text.txt]"),
    *("--data.context_length", "16", "--data.batch_size", "2", "--trainer.max_steps", "100000"),
    *("--trainer.devices", "2", "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"),
    *("--trainer.logger", "false", "--trainer.default_root_dir", "."),
)
SIGNALS = [
    pytest.param("child", signal.SIGTERM, id="child-term"),
    *(
        pytest.param(whom, number, id=f"{whom}-{number.name}", marks=pytest.mark.slow)
        for whom in ("child", "parent", "all")
        for number in (signal.SIGTERM, signal.SIGINT)
    ),
]


def children(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(x) for x in listed.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("whom", "number"), SIGNALS)
def test_a_signal_to_any_process_stops_all_at_one_step(whom, number, tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    command = [sys.executable, "-m", "paratime", *RUN]
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            wait_for("saved every 5 min", tmp_path / "said", run)
            time.sleep(1)
            started = [x for x in children(run.pid) if is_run(x)]
            if whom == "all":
                os.killpg(run.pid, number)
            else:
                os.kill(run.pid if whom == "parent" else started[-1], number)
            status = run.wait(60)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
    text = (tmp_path / "said").read_text()
    assert status == 128 + number, text
    assert text.count("saved; continue with --ckpt_path") == 1 and "Traceback" not in text
    (saved,) = tmp_path.rglob("latest.ckpt")
    step = read_checkpoint(saved)["global_step"]
    assert step > 0 and f"stopped at step {step}, saved" in text
    end = time.monotonic() + 30
    while any(is_run(x) for x in started):
        assert time.monotonic() < end, "a process of the run is left"
        time.sleep(0.1)


def is_run(process: int) -> bool:
    """Return whether a process is one of the run, and lives."""
    try:
        return "max_steps" in Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False


def wait_for(text: str, file: Path, run: subprocess.Popen) -> None:
    """Wait until a run has said something."""
    end = time.monotonic() + 120
    while text not in file.read_text():
        assert run.poll() is None and time.monotonic() < end, file.read_text()
        time.sleep(0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training")
def test_a_run_is_saved_at_an_interval(tmp_path, monkeypatch, capsys):
    clock = iter(range(0, 10**6, 60))
    monkeypatch.setattr(stopping, "monotonic", lambda: next(clock))
    saved = []

    class Saves(SaveRegularly):
        def _save(self, trainer):
            super()._save(trainer)
            saved.append(trainer.global_step)

    trainer = Trainer(
        max_steps=40,
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[Saves()],
    )
    trainer.fit(BoringModel())
    path = tmp_path / "latest.ckpt"
    assert f"saved every 5 min        {path}" in capsys.readouterr().out
    assert len(saved) > 3 and torch.tensor(saved).diff().unique().numel() == 1
    assert read_checkpoint(path)["global_step"] == saved[-1]
    assert len([*tmp_path.rglob("*.ckpt")]) == 2, "and that of the run itself"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_first_process_takes_the_others_along(tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    for wanted in ("Initializing distributed: GLOBAL_RANK: 0", "saved every 5 min"):
        with (tmp_path / "said").open("w") as said:
            run = subprocess.Popen(
                [sys.executable, "-m", "paratime", *RUN],
                cwd=tmp_path,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
            wait_for(wanted, tmp_path / "said", run)
            started = [x for x in children(run.pid) if is_run(x)]
            time.sleep(3)  # a process that has begun to import asks for it
            run.kill()
            run.wait(10)
        end = time.monotonic() + 20
        while any(is_run(x) for x in started):
            assert time.monotonic() < end, f"a process of the run is left, killed at {wanted!r}"
            time.sleep(0.1)
