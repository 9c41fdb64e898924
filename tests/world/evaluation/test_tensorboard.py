"""Rollouts in TensorBoard."""

import builtins
import io

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader
from world.networks import SPEC, rows

from paratime import Encoder
from paratime.world.data.windows import Whole, padded
from paratime.world.evaluation import tensorboard
from paratime.world.model.task import DynamicsTask


def task(**options) -> DynamicsTask:
    torch.manual_seed(0)
    return DynamicsTask(Encoder(8, 1, mlp_size=8), SPEC, context=3, horizon=5, **options).eval()


def validated(tmp_path, **options) -> EventAccumulator:
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    quiet["callbacks"] = [tensorboard.RolloutVideos()]
    trainer = Trainer(logger=logger, **quiet, enable_checkpointing=False, **options)
    loader = DataLoader(Whole(rows()), batch_size=3, collate_fn=padded)
    if options:
        trainer.fit(task().train(), loader, loader)
    else:
        trainer.validate(task(), loader, verbose=False)
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    return events


def test_tensorboard_has_a_film_and_its_end(tmp_path):
    events = validated(tmp_path)
    assert {*events.Tags()["images"]} == {"rollouts/video", "rollouts/figure"}
    scalars = {*events.Tags()["scalars"]}
    assert {"val/median@5", "val/sensitivity@5", "val/cont_auroc", "val/diverged"} < scalars
    assert "val/reward_nrmse" in scalars
    assert not {x for x in scalars if "solver" in x}  # one pass, which has no iterations
    for name, frames in (("video", 6), ("figure", 1)):
        (event,) = events.Images(f"rollouts/{name}")
        with Image.open(io.BytesIO(event.encoded_image_string)) as image:
            assert getattr(image, "n_frames", 1) == frames
            assert image.size == (event.width, event.height) and len(image.getcolors(4096)) > 4


def test_sanity_checks_draw_nothing(tmp_path):
    options = {"max_steps": 1, "limit_val_batches": 1, "log_every_n_steps": 1}
    events = validated(tmp_path, num_sanity_val_steps=1, check_val_every_n_epoch=2, **options)
    assert events.Tags()["images"] == [] and "train/loss" in events.Tags()["scalars"]


def test_without_matplotlib_there_is_one_warning(tmp_path, monkeypatch):
    tensorboard._warn_once.cache_clear()
    real = builtins.__import__

    def missing(name: str, *arguments: object, **options: object):
        if name == "paratime.world.evaluation.charts":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.warns(UserWarning, match="no videos of rollouts") as caught:
        for folder in ("a", "b"):
            assert validated(tmp_path / folder).Tags()["images"] == []
    assert len([x for x in caught if "no videos" in str(x.message)]) == 1
