"""Rollouts in tables, figures, films and TensorBoard."""

import builtins
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader
from world import test_latent
from world.test_dynamics import LENGTHS, network, rows

from paratime import Encoder
from paratime.world.data.datamodule import Moments
from paratime.world.data.windows import Whole, padded
from paratime.world.evaluation import pictures, report
from paratime.world.evaluation.charts import CURSOR, draw, film
from paratime.world.evaluation.report import names_of, scores_of, tables
from paratime.world.evaluation.scenes import Scenes, drawn, sampling, scenes_of
from paratime.world.evaluation.video import (
    GAP,
    PACE,
    REST,
    TITLE,
    encoded,
    image_film,
    tiles,
    write,
)
from paratime.world.model.dynamics_task import DynamicsTask
from paratime.world.model.rollout import RolloutScores, imagined

ABOUT = {"moments": vars(Moments.of(rows()))}


def task(**options) -> DynamicsTask:
    torch.manual_seed(0)
    return DynamicsTask(Encoder(8, 1, mlp_size=8), ABOUT, context=3, horizon=5, **options).eval()


def single() -> dict[str, torch.Tensor]:
    return padded([Whole(rows())[i] for i in range(3)])


def test_columns_have_different_names_and_dashes_stand_for_nothing():
    tasks = [task(), task(use_action=False), task()]
    names = names_of(tasks)
    assert names == [
        "DynamicsTask ParaGRU (1)",
        "DynamicsTask ParaGRU without actions",
        "DynamicsTask ParaGRU (2)",
    ]
    found = dict(zip(names, scores_of(tasks, rows(), horizon=5, every=3), strict=True))
    lines = tables(found).splitlines()
    places = [lines[0].index(name) for name in names]
    for line in lines[2:4]:
        cells = line.split()
        assert len(cells) == 2 + 3 * 4 and cells[2:6] == cells[10:14] and cells[9] == "1.00"
        assert all(line[place - 1] == " " for place in places)
    alone = tables({"one": scores_of(tasks[:1], rows()[:1], horizon=5, every=3)[0]}).splitlines()
    assert [x.split()[-1] for x in alone[2:4]] == ["-", "-"], "there is no other episode"
    assert alone[6].split()[:1] == ["one"] and alone[6].split()[2] == "-", "nothing ended"


def test_an_ensemble_is_drawn_as_mean_and_range():
    nets = [network().float(), network(use_action=False).float()]
    scenes = scenes_of(nets, single(), 4, 5)
    members = [imagined(net, single(), 4, 5)[0].observation for net in nets]
    there = scenes.imagined[0].isfinite()
    assert torch.equal(scenes.imagined[0][there], (sum(members) / 2)[0][there])
    for band, bound in zip(scenes.band, (torch.minimum, torch.maximum), strict=True):
        assert torch.equal(band[0][there], bound(*members)[0][there])
        assert torch.equal(band.isnan(), scenes.imagined.isnan())
    assert scenes.steps.tolist() == [5, 0, 5] and scenes.truth[1].isnan().all()
    assert scenes.seen.shape[1] == 4 and torch.equal(scenes.seen[2], single()["observation"][2, :4])


def test_samples_make_a_band_and_leave_the_random_numbers_alone():
    net = test_latent.network().float()
    before = torch.get_rng_state()
    scenes = scenes_of([net], single(), 4, 5, samples=40)
    assert torch.equal(before, torch.get_rng_state()) and not net.sampling and not net.training
    again = scenes_of([net], single(), 4, 5, samples=40)
    there = scenes.band[0].isfinite()
    assert torch.equal(scenes.band[0][there], again.band[0][there])
    samples = drawn(net, single(), 4, 5, 40)
    assert samples.shape == (40, 3, 5, 3) and (samples[0] != samples[1]).any()
    within = (samples >= scenes.band[0]) & (samples <= scenes.band[1])
    assert 0.85 <= within[:, there].double().mean() <= 0.95
    expected = imagined(net, single(), 4, 5)[0].observation
    assert torch.equal(scenes.imagined[0], expected[0])
    assert scenes_of([net], single(), 4, 5, samples=1).band is None
    with pytest.raises(RuntimeError), sampling(net):
        raise RuntimeError
    assert not net.sampling


def test_a_film_shows_no_more_than_its_step():
    scenes = scenes_of([network().float()], single(), 4, 5)
    frames = [*film(scenes)]
    other = Scenes(**vars(scenes) | {"truth": scenes.truth.clone()})
    assert len(frames) == 6 and len(draw(scenes, 2).axes) == 2 * 3
    other.truth[2, 3:] = scenes.truth[2, 3:].flip(0)
    changed = [*film(other)]
    same = [np.array_equal(a, b) for a, b in zip(frames, changed, strict=True)]
    assert same[:3] == [True] * 3 and not any(same[4:])
    cursors = [np.argwhere((frame == CURSOR).all(-1))[:, 1].min() for frame in frames]
    assert np.all(np.diff(cursors) > 0)


def images(steps: int = 4) -> Scenes:
    true = torch.rand(2, steps, 12, 16, 3)
    nothing = torch.zeros(2, steps, 0)
    pair = {"eye": (true, (true + 0.5).clamp(max=1))}
    return Scenes(nothing, nothing, nothing, None, ("", ""), pair, torch.tensor([steps, 2]))


def test_images_stand_beside_what_was_imagined_and_the_error():
    scenes = images()
    frames = [*image_film(scenes)]
    true, found = scenes.images["eye"]
    times = 96 // 12
    height, width = 12 * times + GAP, 16 * times + GAP
    assert len(frames) == 4 and frames[0].shape == (2 * height + 2 * TITLE, 3 * width, 3)
    for column, expected in enumerate((true, found, (true - found).abs())):
        for episode, step in ((0, 3), (1, 1)):  # the second one has ended
            top, left = TITLE + episode * height, column * width
            tile = frames[3][top : top + height - GAP, left : left + width - GAP][::times, ::times]
            assert np.abs(tile - 255 * expected[episode, step].numpy()).max() <= 0.51
    gray = tiles(torch.rand(1, 12, 16, 1))
    assert gray.shape == (height, width, 3) and (gray[..., 0] == gray[..., 2]).all()


def test_a_gif_has_all_frames_and_is_whole_or_not_there(tmp_path, monkeypatch):
    frames = [*image_film(images())]
    write(frames, tmp_path / "new" / "f.gif")
    with Image.open(tmp_path / "new" / "f.gif") as gif:
        assert gif.n_frames == 4 and gif.size == frames[0].shape[1::-1]
        pace = []
        for number, frame in enumerate(frames):
            gif.seek(number)
            pace.append(gif.info["duration"])
            assert np.abs(np.asarray(gif.convert("RGB")) - 1.0 * frame).mean() < 12
    assert pace == [PACE] * 3 + [REST]
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(frames, tmp_path / "g.gif")
    assert not (tmp_path / "g.gif").exists()


def validated(tmp_path, **options) -> EventAccumulator:
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
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
    assert {*events.Tags()["images"]} == {"rollouts/film", "rollouts/figure"}
    scalars = {*events.Tags()["scalars"]}
    assert {"val/median@5", "val/sensitivity@5", "val/proceeds_auroc", "val/diverged"} < scalars
    assert {"val/solver/iterations", "val/reward_nrmse"} < scalars
    for name, frames in (("film", 6), ("figure", 1)):
        (event,) = events.Images(f"rollouts/{name}")
        with Image.open(io.BytesIO(event.encoded_image_string)) as image:
            assert getattr(image, "n_frames", 1) == frames
            assert image.size == (event.width, event.height) and len(image.getcolors(4096)) > 4


def test_sanity_checks_draw_nothing(tmp_path):
    options = {"max_steps": 1, "limit_val_batches": 1, "log_every_n_steps": 1}
    events = validated(tmp_path, num_sanity_val_steps=1, check_val_every_n_epoch=2, **options)
    assert events.Tags()["images"] == [] and "train/loss" in events.Tags()["scalars"]


def test_without_matplotlib_there_is_one_warning(tmp_path, monkeypatch):
    pictures.warn_once.cache_clear()
    real = builtins.__import__

    def missing(name: str, *arguments: object, **options: object):
        if name == "paratime.world.evaluation.charts":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.warns(UserWarning, match="no pictures of rollouts") as caught:
        for folder in ("a", "b"):
            assert validated(tmp_path / folder).Tags()["images"] == []
    assert len([x for x in caught if "no pictures" in str(x.message)]) == 1


def test_the_colours_of_a_gif_are_those_of_its_frames():
    frames = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 100, 255)]
    with Image.open(io.BytesIO(encoded(frames))) as gif:
        found = []
        for number in range(3):
            gif.seek(number)
            found.append(gif.convert("RGB").getpixel((0, 0)))
    assert found == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_the_last_row_of_episodes_is_scored(monkeypatch):
    seen = []

    class Scores(RolloutScores):
        def update(self, network, batch, context):
            seen.append((context, min(context + 4, batch["mask"].shape[1])))

        def compute(self):
            return {}

    monkeypatch.setattr(report, "RolloutScores", Scores)
    task = SimpleNamespace(network=network(), trajectories=ABOUT)
    scores_of([task], rows(), horizon=4, every=5)
    longest = max(LENGTHS) + 1
    assert [begin for begin, _ in seen] == [*range(1, longest - 4, 5), longest - 4]
    assert seen[-1][1] == longest
