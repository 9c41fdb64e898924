"""Rollouts of images, as videos."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from paratime.world.evaluation.scenes import Scenes
from paratime.world.evaluation.video import (
    GAP,
    PACE,
    REST,
    TITLE,
    encode_gif,
    fitting,
    image_frames,
    tiles,
    write_gif,
)


def images(steps: int = 4, key: str = "eye") -> Scenes:
    true = torch.rand(2, steps, 12, 16, 3)
    nothing = torch.zeros(2, steps, 1)
    pair = {key: (true, (true + 0.5).clamp(max=1))}
    steps = torch.tensor([steps, 2])
    return Scenes(nothing, nothing, nothing, None, ("", ""), pair, steps, ["reward"])


def test_images_stand_beside_what_was_imagined_and_the_error():
    scenes = images()
    frames = [*image_frames(scenes)]
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
    frames = [*image_frames(images())]
    write_gif(frames, tmp_path / "new" / "f.gif")
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
        write_gif(frames, tmp_path / "g.gif")
    assert not (tmp_path / "g.gif").exists()


def test_the_colours_of_a_gif_are_those_of_its_frames():
    frames = [np.full((8, 8, 3), shade, np.uint8) for shade in (0, 100, 255)]
    with Image.open(io.BytesIO(encode_gif(frames))) as gif:
        found = []
        for number in range(3):
            gif.seek(number)
            found.append(gif.convert("RGB").getpixel((0, 0)))
    assert found == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]


def test_titles_do_not_overlap():
    pen = ImageDraw.Draw(Image.new("RGB", (9, 9)))
    for text in ("eye", "observation_image", "a_camera_on_the_left_wrist/rgb"):
        found = fitting(pen, text, 92)
        assert pen.textlength(found) <= 92 and found.rstrip(".") == text[: len(found.rstrip("."))]
    long, short = (np.stack([*image_frames(images(key=key))]) for key in ("x" * 60, "x"))
    assert long.shape == short.shape
    wide = long.shape[2] // 3
    for column in range(1, 3):
        edge = long[:, :TITLE, column * wide - 1 : column * wide + 1]
        assert (edge == 255).all(), "a title reaches the next column"
