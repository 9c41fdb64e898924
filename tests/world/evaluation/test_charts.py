"""Rollouts as figures, and as videos of these."""

from dataclasses import replace

import numpy as np
import torch
from world.networks import network, rows

from paratime.world.data.windows import Whole, padded
from paratime.world.evaluation.charts import CURSOR, ROWS, chart_frames, draw_images, draw_scenes
from paratime.world.evaluation.scenes import Scenes, make_scenes


def single() -> dict[str, torch.Tensor]:
    return padded([Whole(rows())[i] for i in range(3)])


def test_a_film_shows_no_more_than_its_step():
    scenes = make_scenes([network().float()], single(), context=4, horizon=5)
    frames = [*chart_frames(scenes)]
    other = Scenes(**vars(scenes) | {"truth": scenes.truth.clone()})
    assert len(frames) == 6 and len(draw_scenes(scenes).axes) == 4 * 3
    other.truth[2, 3:] = scenes.truth[2, 3:].flip(0)
    changed = [*chart_frames(other)]
    same = [np.array_equal(a, b) for a, b in zip(frames, changed, strict=True)]
    assert same[:3] == [True] * 3 and not any(same[4:])
    cursors = [np.argwhere((frame == CURSOR).all(-1))[:, 1].min() for frame in frames]
    assert np.all(np.diff(cursors) > 0)


def labels(figure) -> list[str]:
    return [x.get_ylabel() for x in figure.axes if x.get_ylabel()]


def test_values_have_names_and_all_are_drawn():
    scenes = make_scenes([network().float()], single(), context=4, horizon=5)
    scenes = replace(scenes, labels=["place", "speed of the second joint", "angle", "reward"])
    assert labels(draw_scenes(scenes)) == ["place", "speed of the\nsecond joint", "angle", "reward"]
    figure = draw_scenes(scenes, 3)
    assert labels(figure) == ["place", "speed of the\nsecond joint", "reward"]
    assert any("2 of 3 values are drawn" in x.get_xlabel() for x in figure.axes)
    eleven = torch.randn(1, 5, 12)
    names = [f"v{i}" for i in range(11)] + ["reward"]
    scenes = Scenes(eleven, eleven, eleven, None, ("imagined", ""), {}, torch.tensor([5]), names)
    assert labels(draw_scenes(scenes)) == names and ROWS > 12


def test_images_are_drawn_where_nothing_else_is_seen():
    pair = torch.rand(2, 9, 8, 8, 3), torch.rand(2, 9, 8, 8, 3)
    gray = torch.rand(2, 9, 8, 8, 1), torch.rand(2, 9, 8, 8, 1)
    nothing = torch.zeros(2, 9, 1)
    scenes = Scenes(
        *(nothing, nothing, nothing, None, ("imagined", "")),
        *({"eye": pair, "a_long_name/hand_camera": gray}, torch.tensor([9, 3]), ["reward"]),
    )
    figure = draw_images(scenes)
    hand = "a_long_name/hand_c\namera"
    assert labels(figure) == ["true\neye", "imagined\neye", f"true\n{hand}", f"imagined\n{hand}"]
    assert [x.get_title() for x in figure.axes[:6]] == [f"step {n}" for n in (1, 3, 4, 6, 7, 9)]
