"""Training that is killed, resumed, validated or too short."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from forecast.estimators import arrays, make_estimator, waves
from lightning.pytorch.callbacks import Callback

from paratime.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # GluonTS's use of pandas

TRAIN = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import lightning.pytorch as lightning, os, signal
from forecast.estimators import make_estimator, waves

class Killed(lightning.Callback):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)

options = {"default_root_dir": sys.argv[2], "max_steps": 12, "callbacks": [Killed()]}
make_estimator(batch_size=2, trainer_kwargs=options, checkpoint_every=3).train(waves(5))
"""


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    script = [sys.executable, "-c", TRAIN, str(Path(__file__).parents[2]), str(tmp_path)]
    assert subprocess.run(script, env=os.environ).returncode == -9
    make = partial(make_estimator, batch_size=2, trainer_kwargs={"max_steps": 12})
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 6
    resumed = make().train(waves(5), ckpt_path=checkpoint)
    whole = make().train(waves(5))
    for x, y in zip(resumed.task.parameters(), whole.task.parameters(), strict=True):
        assert torch.equal(x, y)


def test_a_resumed_run_with_validation_keeps_the_same_weights(tmp_path):
    class Stop(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

    def train(folder: Path, callbacks: tuple = (), **options) -> np.ndarray:
        kwargs = {"default_root_dir": str(folder), "max_epochs": 4, "callbacks": callbacks}
        estimator = make_estimator(
            batch_size=2, lr=0.1, dropout_rate=0.5, trainer_kwargs=kwargs, checkpoint_every=2
        )
        return arrays(estimator.train(waves(5), waves(2, 46), **options).predict(waves(5)))

    whole = train(tmp_path / "whole")
    with pytest.raises(SystemExit):
        train(tmp_path / "halves", (Stop(),))
    last = tmp_path / "halves" / "checkpoints" / "last.ckpt"
    assert np.array_equal(train(tmp_path / "halves", ckpt_path=last), whole)


def test_runs_on_other_series_are_not_resumed(tmp_path):
    options = {"trainer_kwargs": {"default_root_dir": str(tmp_path)}, "checkpoint_every": 1}
    make_estimator(**options).train(waves(feat_static_real=lambda n, _: [float(n)]))
    last = tmp_path / "checkpoints" / "last.ckpt"
    with pytest.raises(InputError, match=r"a run on these series, got one of others"):
        make_estimator().train(waves(), ckpt_path=last)
    same = waves(feat_static_real=lambda n, _: [float(n)])
    with pytest.raises(InputError, match=r"seed: expected 0, as in .*last.ckpt, got 7; "):
        make_estimator(**options, seed=7).train(same, ckpt_path=last)
    with pytest.raises(InputError, match="existing checkpoint"):
        make_estimator().train(waves(), ckpt_path=tmp_path / "nowhere.ckpt")
    make_estimator(**options | {"checkpoint_every": 9}).train(waves())
    assert not last.exists(), "the checkpoint of an earlier run is left"
