"""Rollouts as figures, and as videos of these."""

import numpy as np
import torch
from world.networks import network, rows

from paratime.world.data.windows import Whole, padded
from paratime.world.evaluation.charts import CURSOR, chart_frames, draw_scenes
from paratime.world.evaluation.scenes import Scenes, make_scenes


def single() -> dict[str, torch.Tensor]:
    return padded([Whole(rows())[i] for i in range(3)])


def test_a_film_shows_no_more_than_its_step():
    scenes = make_scenes([network().float()], single(), context=4, horizon=5)
    frames = [*chart_frames(scenes)]
    other = Scenes(**vars(scenes) | {"truth": scenes.truth.clone()})
    assert len(frames) == 6 and len(draw_scenes(scenes, 2).axes) == 2 * 3
    other.truth[2, 3:] = scenes.truth[2, 3:].flip(0)
    changed = [*chart_frames(other)]
    same = [np.array_equal(a, b) for a, b in zip(frames, changed, strict=True)]
    assert same[:3] == [True] * 3 and not any(same[4:])
    cursors = [np.argwhere((frame == CURSOR).all(-1))[:, 1].min() for frame in frames]
    assert np.all(np.diff(cursors) > 0)
