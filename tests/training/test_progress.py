"""The progress bar."""

import re

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from paratime.training import progress
from paratime.training.progress import TrainingProgress


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*number of training")
@pytest.mark.parametrize("limit", ({"max_steps": 14}, {"max_epochs": 1}), ids=str)
@pytest.mark.parametrize(("seconds", "shown"), ((30.0, range(1, 15)), (0.001, (10, 14))))
def test_slow_steps_are_counted_one_by_one(seconds, shown, limit, monkeypatch, capsys, tmp_path):
    clock = iter(range(10**6))
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
