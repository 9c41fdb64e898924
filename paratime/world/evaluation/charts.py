"""Charts of imagination: true and imagined observations over time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from paratime.io.figures import COLORS, GRID, INK, PALE, in_figure, without_glyphs
from paratime.world.evaluation.scenes import Scenes
from paratime.world.evaluation.video import Frame

TRUE, IMAGINED, BEGIN = INK, COLORS[0], PALE
CURSOR = (213, 94, 0)
ROWS, STEPS, DPI = 24, 6, 72
"""Values, and images of an episode, that are drawn at most; pixels an inch of films."""
WIDE = 18
"""Characters of a label."""
AHEAD = "ahead"
"""Group of the artists that show the future."""


def draw_scenes(scenes: Scenes, most: int = ROWS) -> Figure:
    """Draw each value of the observation, and the reward (a row), of some episodes (a column each).

    Args:
        scenes: What to draw.
        most: Rows that are drawn: the first values, and the reward.
    """
    every = range(scenes.truth.shape[-1])
    shown = [*every[: most - 1], every[-1]] if len(every) > most else [*every]
    columns, size = len(scenes.truth), len(shown)
    figure = Figure(figsize=(0.4 + 2.9 * columns, 1.6 * size + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(size, columns, sharex=True, sharey="row", squeeze=False)
    for row in range(size):
        for column in range(columns):
            _panel(axes[row][column], scenes, column, shown[row])
        axes[row][0].set_ylabel(in_figure(scenes.labels[shown[row]], WIDE))
    for column in range(columns):
        axes[0][column].set_title(f"episode {column}", loc="left", fontsize=10, weight="bold")
        axes[-1][column].set_xlabel("steps ahead")
    figure.align_ylabels()
    if len(every) > size:
        axes[-1][0].set_xlabel(f"steps ahead ({size - 1} of {len(every) - 1} values are drawn)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, frameon=False)
    return figure


def draw_images(scenes: Scenes) -> Figure:
    """Draw true and imagined images (rows) of the first episode at some steps (columns)."""
    last = max(1, int(scenes.steps[0]))
    steps = sorted({*np.linspace(0, last - 1, STEPS).round().astype(int).tolist()})
    rows = [
        (f"{kind}\n{in_figure(key, WIDE)}", x)
        for key, pair in scenes.images.items()
        for kind, x in zip(("true", "imagined"), pair, strict=True)
    ]
    size = (0.8 + 1.6 * len(steps), 0.4 + 1.7 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(steps), squeeze=False)
    for row, (name, images) in enumerate(rows):
        for column, step in enumerate(steps):
            axis, image = axes[row][column], images[0, step].clamp(0, 1).numpy()
            axis.imshow(image[..., :3] if image.shape[-1] >= 3 else image[..., 0], "gray")
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(f"step {step + 1}", fontsize=10)
        axes[row][0].set_ylabel(name)
    return figure


def chart_frames(scenes: Scenes, most: int = ROWS) -> Iterator[Frame]:
    """Yield the frames of a video of the same figure, one per step.

    The figure is drawn twice, with and without the future, and each frame shows the former up to a
    cursor.

    Args:
        scenes: What to draw.
        most: As for ``draw_scenes``.
    """
    figure = draw_scenes(scenes, most)
    figure.set_dpi(DPI)
    whole = _pixels(figure)
    figure.set_layout_engine("none")
    for artist in figure.findobj(lambda x: x.get_gid() == AHEAD):
        artist.set_visible(False)
    hidden = _pixels(figure)
    for step in range(scenes.truth.shape[1] + 1):
        frame = whole.copy()
        for axis in figure.axes:
            box = axis.get_window_extent()
            cursor = round(axis.transData.transform((step, 0))[0])
            rows = slice(len(frame) - round(box.y1), len(frame) - round(box.y0))
            ahead = slice(cursor, round(box.x1) + 1)
            frame[rows, ahead] = hidden[rows, ahead]
            frame[rows, cursor : cursor + 2] = CURSOR
        yield frame


def _pixels(figure: Figure) -> Frame:
    with without_glyphs():
        figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]


def _panel(axis: Axes, scenes: Scenes, episode: int, component: int) -> None:
    seen, truth, found = (
        x[episode, :, component].numpy() for x in (scenes.seen, scenes.truth, scenes.imagined)
    )
    past = np.arange(1 - len(seen), 1)
    ahead = np.arange(len(truth) + 1)
    axis.axvline(0, color=BEGIN, lw=1)
    axis.plot(past, seen, color=TRUE, lw=1.4, label="true")
    if scenes.band is not None:
        low, high = (_after(seen, x[episode, :, component].numpy()) for x in scenes.band)
        look: dict[str, Any] = {"color": IMAGINED, "alpha": 0.25, "lw": 0}
        axis.fill_between(ahead, low, high, gid=AHEAD, label=in_figure(scenes.names[1]), **look)
    axis.plot(ahead, _after(seen, truth), color=TRUE, lw=1.4, gid=AHEAD)
    look = {"color": IMAGINED, "lw": 1.8, "ls": (0, (3, 1.5))}
    axis.plot(ahead, _after(seen, found), gid=AHEAD, label=in_figure(scenes.names[0]), **look)
    axis.set_xlim(past[0], ahead[-1])
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=GRID, lw=0.7)


def _after(seen: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([seen[-1:], values])
