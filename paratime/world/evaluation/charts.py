"""Charts of imagination: true and imagined observations over time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from paratime.io.figures import COLORS, GRID, INK, PALE
from paratime.world.evaluation.scenes import Scenes
from paratime.world.evaluation.video import Frame

TRUE, IMAGINED, BEGIN = INK, COLORS[0], PALE
CURSOR = (213, 94, 0)
ROWS, DPI = 6, 72
AHEAD = "ahead"
"""Group of the artists that show the future."""


def draw_scenes(scenes: Scenes, most: int = ROWS) -> Figure:
    """Draw each component of the observation (a row) of some episodes (a column each).

    Args:
        scenes: What to draw.
        most: Components that are drawn, from the first.
    """
    columns, size = len(scenes.truth), min(most, scenes.truth.shape[-1])
    figure = Figure(figsize=(0.4 + 2.9 * columns, 1.6 * size + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(size, columns, sharex=True, sharey="row", squeeze=False)
    for row in range(size):
        for column in range(columns):
            _panel(axes[row][column], scenes, column, row)
        axes[row][0].set_ylabel(f"number {row}")
    for column in range(columns):
        axes[0][column].set_title(f"episode {column}", loc="left", fontsize=10, weight="bold")
        axes[-1][column].set_xlabel("steps ahead")
    figure.align_ylabels()
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, frameon=False)
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
        axis.fill_between(ahead, low, high, gid=AHEAD, label=scenes.names[1], **look)
    axis.plot(ahead, _after(seen, truth), color=TRUE, lw=1.4, gid=AHEAD)
    look = {"color": IMAGINED, "lw": 1.8, "ls": (0, (3, 1.5))}
    axis.plot(ahead, _after(seen, found), gid=AHEAD, label=scenes.names[0], **look)
    axis.set_xlim(past[0], ahead[-1])
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=GRID, lw=0.7)


def _after(seen: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([seen[-1:], values])
