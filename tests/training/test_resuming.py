"""Resumed runs follow their own options; schedules of runs without a last step."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from language.runs import make_data, make_task, make_trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateFinder, Timer

from paratime.training.optimizer import ENDLESS, AdamW, Cosine, StableDecay

BEFORE = AdamW(lr=4e-3, weight_decay=0.1)


class Watch(Callback):
    """Keeps the options that each step is done with."""

    def __init__(self) -> None:
        self.steps: list[dict] = []
        self.logged: list[float] = []

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.steps.append({k: v for k, v in optimizer.param_groups[0].items() if k != "params"})

    def on_train_batch_end(self, trainer, *_):
        self.logged.append(float(trainer.callback_metrics["train/lr"]))


def run(folder: Path, steps: int, optimizer: AdamW, *callbacks: Callback, **options) -> Watch:
    watch, resumed = Watch(), options.pop("ckpt_path", None)
    options = {"enable_checkpointing": False, "num_sanity_val_steps": 0} | options
    trainer = make_trainer(folder, max_steps=steps, callbacks=[watch, *callbacks], **options)
    trainer.fit(make_task(optimizer=optimizer), make_data(folder), ckpt_path=resumed)
    trainer.save_checkpoint(folder / f"{steps}.ckpt")
    return watch


CHANGES = {
    "lr": AdamW(lr=1e-5),
    "weight_decay": AdamW(lr=4e-3, weight_decay=0.7),
    "betas": AdamW(lr=4e-3, betas=(0.8, 0.99)),
    "decay": AdamW(lr=4e-3, decay=StableDecay(0.5)),
    "warmup": AdamW(lr=4e-3, warmup=0.9),
    "final": AdamW(lr=4e-3, final=0.5),
}


def test_a_resumed_run_follows_its_options_and_reports_them(tmp_path, caplog):
    run(tmp_path, 3, BEFORE)
    for name, optimizer in CHANGES.items():
        caplog.clear()
        found = run(tmp_path, 8, optimizer, ckpt_path=tmp_path / "3.ckpt").steps
        assert len(found) == 5
        for step, group in enumerate(found, start=3):
            assert group["lr"] == pytest.approx(optimizer.lr * optimizer.rate(step, 8))
            assert group["weight_decay"] == optimizer.weight_decay
            assert tuple(group["betas"]) == optimizer.betas
        lines = [x.getMessage() for x in caplog.records if x.name == "paratime"]
        assert len(lines) == 1 and lines[0].startswith(f"optimizer.{name}: "), lines
    saved = torch.load(tmp_path / "8.ckpt", weights_only=True)
    assert saved["optimizer_options"]["final"] == 0.5


def test_a_resumed_run_keeps_the_rate_that_was_found_for_its_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finder, given = LearningRateFinder(1e-5, 1e-2, num_training_steps=20), AdamW(lr=1e-9)
    found = run(tmp_path, 3, given, finder).steps[-1]["initial_lr"]
    assert found >= 1e-5
    path = tmp_path / "3.ckpt"
    assert run(tmp_path, 5, given, ckpt_path=path).steps[-1]["initial_lr"] == found
    assert run(tmp_path, 5, CHANGES["lr"], ckpt_path=path).steps[-1]["initial_lr"] == 1e-5


def test_callbacks_keep_the_options_of_the_resumed_run(tmp_path):
    def stopping(patience: int) -> EarlyStopping:
        return EarlyStopping("train/loss", patience=patience, check_on_train_epoch_end=True)

    first, later = stopping(3), stopping(7)
    run(tmp_path, 3, BEFORE, first)
    first.wait_count = 2
    run(tmp_path, 5, BEFORE, later, ckpt_path=tmp_path / "3.ckpt")
    assert later.patience == 7


def test_the_rate_that_is_logged_is_the_one_of_the_step(tmp_path):
    watch = run(tmp_path, 6, BEFORE)
    assert watch.logged == pytest.approx([group["lr"] for group in watch.steps])


SCHEDULES = st.builds(
    AdamW,
    warmup=st.floats(0, 1),
    final=st.floats(0, 1),
    decay=st.sampled_from([Cosine(), StableDecay(), StableDecay(1.0)]),
)
TIMES = st.lists(st.floats(0, 1.2), min_size=2, max_size=8).map(sorted)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(SCHEDULES, TIMES)
def test_a_schedule_by_time_rises_and_falls_once(optimizer, times):
    rates = [optimizer.rate(step, math.inf, passed) for step, passed in enumerate(times, start=1)]
    for (early, rate), (late, other) in pairwise(zip(times, rates, strict=True)):
        assert 0 <= rate <= 1
        if early > 0 and late < optimizer.warmup:
            assert other >= rate
        elif early >= optimizer.warmup:
            assert other <= rate + 1e-9
    last = optimizer.rate(9, math.inf, 1.0)
    assert last == pytest.approx(optimizer.final)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(SCHEDULES, st.integers(0, 5000))
def test_without_an_end_the_rate_rises_and_stays(optimizer, step):
    warmup = max(1, round(optimizer.warmup * ENDLESS))
    assert optimizer.rate(step, math.inf) == min(1, (step + 1) / warmup)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(SCHEDULES, st.integers(1, 500), st.floats(0, 1))
def test_of_steps_and_time_the_one_that_ends_first_decides(optimizer, total, passed):
    step = total // 2
    by_steps, by_time = optimizer.rate(step, total), optimizer.rate(step, math.inf, passed)
    either = optimizer.rate(step, total, passed)
    assert either == (by_time if passed > step / total else by_steps)


@pytest.mark.parametrize(
    ("limits", "line"),
    (
        ({"max_time": "00:00:00:04"}, "the learning rate follows the time of the run, 0:00:04"),
        ({"max_epochs": -1, "max_time": "00:00:00:02"}, "the learning rate follows the time"),
        ({"max_epochs": 1, "max_time": "00:01:00:00"}, "or its 14 steps if they end first"),
        ({"max_epochs": -1}, "the run has no end: the learning rate rises for 100 steps and stays"),
    ),
    ids=str,
)
def test_a_run_without_a_last_step(limits, line, tmp_path, caplog):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.should_stop or trainer.global_step >= 20

    ends = [Stop()] if "max_time" not in limits else []
    limits = {"limit_val_batches": 0} | limits
    rates = [group["lr"] for group in run(tmp_path, -1, BEFORE, *ends, **limits).steps]
    lines = [x.getMessage() for x in caplog.records if x.name == "paratime"]
    assert len(lines) == 1 and line in lines[0]
    assert all(0 <= rate <= BEFORE.lr for rate in rates)
    assert limits.get("max_time") is None or rates[-1] < max(rates)


def test_the_time_of_a_resumed_run_continues(tmp_path):
    run(tmp_path, 3, BEFORE, max_time="00:00:01:00")
    path = tmp_path / "3.ckpt"
    saved = torch.load(path, weights_only=True)
    saved["callbacks"]["Timer"] = {"time_elapsed": {"train": 50.0}}
    torch.save(saved, path)
    found = run(tmp_path, 5, BEFORE, Timer("00:00:01:00"), ckpt_path=path).steps
    assert found[0]["lr"] < 0.2 * BEFORE.lr
