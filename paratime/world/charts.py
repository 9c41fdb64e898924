"""Charts of imagination: true against imagined observations."""

from collections.abc import Sequence

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from paratime.world.model import WorldModel
from paratime.world.openloop import imagined
from paratime.world.windows import Rows, Whole, padded

TRUE, IMAGINED, PALE = "#222222", "#1b62a5", "#bdbdbd"
CONTEXT, NUMBERS = 10, 6


@torch.inference_mode()
def draw(network: WorldModel, episodes: Sequence[Rows], horizon: int) -> Figure:
    """Draw each observed number (a row) of some episodes (a column each), true and imagined.

    Args:
        network: The model.
        episodes: Aligned episodes.
        horizon: Steps of the rollout, behind ten rows that are seen.
    """
    dataset = Whole(episodes)
    batch = padded([dataset[i] for i in range(len(episodes))])
    found, truth, _, there = imagined(network, batch, CONTEXT, horizon)
    size = min(NUMBERS, truth.shape[-1])
    figure = Figure(figsize=(3.2 * len(episodes), 1.7 * size + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(size, len(episodes), sharex=True, sharey="row", squeeze=False)
    for column in range(len(episodes)):
        steps = int(there[column].sum())
        for number in range(size):
            axis = axes[number][column]
            ahead = range(1, steps + 1)
            axis.plot(ahead, truth[column, :steps, number], color=TRUE, lw=1.2, label="true")
            values = found.observation[column, :steps, number]
            axis.plot(ahead, values, color=IMAGINED, lw=1.6, ls="--", label="imagined")
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(color="#e4e4e4", lw=0.7)
        axes[0][column].set_title(f"episode {column}", loc="left", fontsize=10, weight="bold")
        axes[-1][column].set_xlabel("steps ahead")
    for number in range(size):
        axes[number][0].set_ylabel(f"number {number}")
    axes[0][0].legend(frameon=False, fontsize=8)
    return figure
