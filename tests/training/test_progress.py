"""The progress bar."""

import re

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from paratime.training import progress
from paratime.training.progress import TrainingProgress, readable


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training")
@pytest.mark.parametrize("limit", ({"max_steps": 14}, {"max_epochs": 1}), ids=str)
@pytest.mark.parametrize(("seconds", "shown"), ((30.0, range(1, 15)), (0.001, (10, 14))))
def test_slow_steps_are_counted_one_by_one(seconds, shown, limit, monkeypatch, capsys, tmp_path):
    clock = iter(range(10**6))
    monkeypatch.setattr(progress, "in_terminal", lambda: True)
    monkeypatch.setattr(progress, "monotonic", lambda: 100 + seconds * next(clock))
    trainer = Trainer(
        **limit,
        limit_train_batches=14,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[TrainingProgress()],
    )
    trainer.fit(BoringModel())
    out = "".join(capsys.readouterr())
    bars = re.findall(r" (\d+)/14 (\S+)<(\S+)", out)
    first = 2 if seconds < 1 else 1  # the very first update comes at once
    counts = sorted({int(count) for count, _, _ in bars if int(count) >= first})
    assert counts == [*shown]
    assert all(left[0] != "?" for count, _, left in bars if int(count) >= 1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training")
@pytest.mark.parametrize(("seconds", "lines"), ((0.001, 1), (30.0, 10)))
def test_a_log_has_a_line_a_minute(seconds, lines, monkeypatch, capsys, tmp_path):
    clock = iter(range(10**6))
    monkeypatch.setattr(progress, "in_terminal", lambda: False)
    monkeypatch.setattr(progress, "monotonic", lambda: 100 + seconds * next(clock))
    options = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = Trainer(
        **options,
        max_steps=18,
        limit_val_batches=1,
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[TrainingProgress()],
    )
    trainer.fit(BoringModel())
    out, err = capsys.readouterr()
    shown = [line for line in out.splitlines() if " steps" in line]
    assert len(shown) == lines and shown[-1].startswith("18 steps")
    assert "\r" not in out + err and "%" not in out + err


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (1.234, "1.23"),
        (-0.5, "-0.50"),
        (0.0062, "0.0062"),
        (-0.00001234, "-1.2e-05"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (12345.6, "12345.60"),
    ],
)
def test_small_values_are_not_zero(value, text):
    assert readable(value, 2) == text
