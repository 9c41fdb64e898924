"""Videos of imagination: frames, and the animated GIF that they make."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from paratime.errors import abridged
from paratime.io.atomic import replacing
from paratime.world.evaluation.scenes import Scenes

Frame = NDArray[np.uint8]
"""Pixels (height, width, 3)."""

TILE, GAP, TITLE, COLORS = 96, 4, 28, 128
PACE, REST = 80, 1500
"""Milliseconds that a frame is shown, and the last one."""


LONGEST = 200
"""Characters of a name that are measured."""


def image_frames(scenes: Scenes) -> Iterator[Frame]:
    """Yield frames of images: episodes as rows; true, imagined and their difference as columns.

    An episode that has ended keeps its last images.
    """
    names = [(kind, key) for key in scenes.images for kind in ("true", "imagined", "error")]
    for step in range(scenes.truth.shape[1]):
        at = torch.minimum(torch.tensor(step), (scenes.steps - 1).clamp(min=0))
        columns = []
        for pair in scenes.images.values():
            true, found = (x[torch.arange(len(at)), at] for x in pair)
            columns += [tiles(x) for x in (true, found, (true - found).abs())]
        yield _titled(np.concatenate(columns, axis=1), names, f"step {step + 1}")


def tiles(images: Tensor) -> Frame:
    """Return images (N, h, w, C) in [0, 1] in a column, enlarged, with gaps."""
    times = max(1, TILE // images.shape[1])
    large = images.clamp(0, 1).repeat_interleave(times, 1).repeat_interleave(times, 2)
    colored = large.expand(*large.shape[:-1], 3) if large.shape[-1] == 1 else large[..., :3]
    framed = torch.nn.functional.pad(colored, (0, 0, 0, GAP, 0, GAP), value=1.0)
    return (255 * framed.flatten(0, 1)).round().byte().numpy()


def _titled(picture: Frame, names: Sequence[tuple[str, str]], below: str) -> Frame:
    """Return a picture with two lines above each of its columns, and a line below it."""
    height, width = picture.shape[:2]
    canvas = Image.new("RGB", (width, height + 2 * TITLE), "white")
    canvas.paste(Image.fromarray(picture), (0, TITLE))
    pen = ImageDraw.Draw(canvas)
    wide = width // len(names)
    for column, lines in enumerate(names):
        for row, text in enumerate(lines):
            pen.text((2 + column * wide, 2 + 12 * row), fitting(pen, text, wide - 4), fill="black")
    pen.text((2, height + TITLE + 2), below, fill="black")
    return np.asarray(canvas)


def fitting(pen: ImageDraw.ImageDraw, text: str, width: float) -> str:
    """Return a text in one line, cut short where it is wider than some pixels."""
    text = abridged(text, LONGEST)
    if pen.textlength(text) <= width:
        return text
    count = len(text)
    while count and pen.textlength(f"{text[:count]}..") > width:
        count -= 1
    return f"{text[:count]}.."


def encode_gif(frames: Sequence[Frame]) -> bytes:
    """Return an animated GIF, whose frames share the colours of the first, middle and last."""
    few = np.concatenate([frames[0], frames[len(frames) // 2], frames[-1]])
    palette = Image.fromarray(few).quantize(COLORS)
    options: dict[str, Any] = {"palette": palette, "dither": Image.Dither.NONE}
    first, *others = (Image.fromarray(x).quantize(**options) for x in frames)
    pace = [PACE] * len(others) + [REST]
    file = BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=pace, loop=0)
    return file.getvalue()


def encode_png(frame: Frame) -> bytes:
    """Return a frame as PNG."""
    file = BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


def write_gif(frames: Sequence[Frame], path: str) -> None:
    """Write an animated GIF, whole or not at all."""
    with replacing(path) as draft:
        draft.write_bytes(encode_gif(frames))
