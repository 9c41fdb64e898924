"""Tables of how far ahead models can be trusted, next to each other."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from paratime.world.data.windows import Rows, Whole, padded
from paratime.world.model.base import MARGIN
from paratime.world.model.metrics import FEW, LIMIT, describe_few
from paratime.world.model.rollout import RolloutScores
from paratime.world.model.task import TrajectoryTask

Figures = dict[str, Tensor]

COLUMNS = {"nRMSE": "nrmse", "median": "median", "skill": "skill", "sensitivity": "sensitivity"}
"""Figures of each model, by title."""

OF_IMAGES = {"PSNR": "image_psnr", "skill": "image_skill"}
"""The same of images; PSNR is in decibels."""

OVERALL = {
    "reward nRMSE": "reward_nrmse",
    "steps": "reward_steps",
    "AUROC": "cont_auroc",
    "ends": "ends",
    "calibration": "calibration",
    "diverged": "diverged",
    "not finite": "not_finite",
}
"""Figures without a horizon, by title."""

COUNTS = ("rollouts", "image_rollouts", "reward_steps", "ends")

INDIFFERENT = 1.02
"""Sensitivity below which a model's predictions do not depend on actions."""

LEGEND = (
    "nRMSE: root mean square error, in standard deviations of each number\n"
    "skill: 1 minus its ratio to that of the last observation seen (persist)\n"
    "sensitivity: how many times larger errors are with the actions of another episode\n"
    "rollouts, steps, ends: how many a figure is made of\n"
    "calibration: mean distance of the probability to continue from the share that does\n"
    f"diverged: more than {MARGIN:.0%} beyond the range of the training data, {LIMIT:g} standard"
    " deviations off,\nor not finite, at any step; what is not finite is left out of means"
)


def score_rollouts(
    tasks: Sequence[TrajectoryTask], episodes: Sequence[Rows], *, horizon: int, every: int
) -> list[Figures]:
    """Return the figures of models, in the first one's units, of rollouts all over the episodes.

    Args:
        tasks: With the models.
        episodes: Aligned episodes.
        horizon: Steps of a rollout.
        every: Rows from one rollout's beginning to the next; one more reaches the last row.
    """
    scores = [RolloutScores(tasks[0].spec, horizon) for _ in tasks]
    dataset, pieces = Whole(episodes), -(-len(episodes) // 32)
    for part in tqdm(
        np.array_split(range(len(episodes)), pieces), desc="rollouts", disable=pieces == 1
    ):
        batch = padded([dataset[int(i)] for i in part])
        last = max(1, batch["mask"].shape[1] - horizon)
        for context in sorted({last, *range(1, last, every)}):
            for task, score in zip(tasks, scores, strict=True):
                with torch.inference_mode():
                    score.update(task.network, batch, context)
    return [score.compute() for score in scores]


def known_horizon(lengths: Sequence[int], horizon: int, every: int) -> int:
    """Return the greatest horizon, of some at most, that enough rollouts reach.

    Those are ten, or as many as there are episodes. Where no horizon has them, it is the longest
    that any rollout reaches.

    Args:
        lengths: Rows of the episodes.
        horizon: Steps that are asked for.
        every: As for ``score_rollouts``.
    """
    longest, enough = min(horizon, max(lengths) - 1), min(FEW, len(lengths))
    for h in range(longest, 0, -1):
        last = max(1, max(lengths) - h)
        contexts = {last, *range(1, last, every)}
        if sum(length - context >= h for length in lengths for context in contexts) >= enough:
            return h
    return max(1, longest)


def model_names(tasks: Sequence[TrajectoryTask]) -> list[str]:
    """Return a name for each model, numbered where two are alike."""
    names = [_name(task) for task in tasks]
    alike, met, found = Counter(names), Counter[str](), []
    for name in names:
        met[name] += 1
        found.append(f"{name} ({met[name]})" if alike[name] > 1 else name)
    return found


def _name(task: TrajectoryTask) -> str:
    mixers = {type(block.core).__name__: None for block in task.network.encoder.blocks}  # type: ignore[union-attr]
    solves = " in one solve" if getattr(task.network, "hidden", None) is not None else ""
    action = "" if task.network.use_action else " without actions"
    return f"{type(task).__name__} {'+'.join(mixers)}{solves}{action}"


def score_tables(figures: dict[str, Figures]) -> str:
    """Return aligned tables of the figures by model: by horizon, of images, and overall."""
    vectors = _horizon_table(figures, COLUMNS, "persist")
    images = _horizon_table(figures, OF_IMAGES, "images")
    tables = (vectors, images, _overall_table(figures), [LEGEND], score_warnings(figures))
    return "\n\n".join("\n".join(block) for block in tables if block)


def score_warnings(figures: dict[str, Figures]) -> list[str]:
    """Return lines on figures of few rollouts, and on models that actions do not matter to."""
    few = describe_few(next(iter(figures.values())))
    lines = [few] if few else []
    for name, found in figures.items():
        ratios = [float(x) for key, x in found.items() if key.startswith("sensitivity@")]
        if ratios and max(ratios) < INDIFFERENT and "without actions" not in name:
            lines.append(
                f"warning: {name} is as good with the actions of another episode: they may stand"
                " in other rows than their observations (see each action in paratime world inspect)"
            )
    return lines


def _horizon_table(figures: dict[str, Figures], columns: dict[str, str], first: str) -> list[str]:
    """Return the lines of a table whose rows are horizons, none if there are no figures.

    Args:
        figures: By model; models stand next to each other.
        columns: Names of the figures of each model, by title.
        first: Title of the first column, which is persistence if there is any.
    """
    width = sum(_wide(title) + 1 for title in columns)
    widths = [max(width, len(name) + 2) for name in figures]
    head = "".join(f"  {n:<{w - 1}}" for n, w in zip(figures, widths, strict=True))
    titles = "".join(f" {title:>{_wide(title)}}" for title in columns)
    below = "".join(f"{titles:<{w}} " for w in widths)
    lines = [
        f"{'':>25}{head}".rstrip(),
        f"{'steps':>6} {'rollouts':>8} {first:>8} {below}".rstrip(),
    ]
    counts = "rollouts" if first == "persist" else "image_rollouts"
    split = [name.partition("@") for found in figures.values() for name in found]
    for h in sorted({int(h) for name, _, h in split if name in columns.values()}):
        parts = (
            "".join(f" {_cell(f'{x}@{h}', found):>{_wide(t)}}" for t, x in columns.items())
            for found in figures.values()
        )
        row = "".join(f"{x:<{w}} " for x, w in zip(parts, widths, strict=True))
        stay = _cell(f"persistence@{h}", next(iter(figures.values()))) if first == "persist" else ""
        count = _cell(f"{counts}@{h}", next(iter(figures.values())))
        lines.append(f"{h:>6} {count:>8} {stay:>8} {row}".rstrip())
    return lines if len(lines) > 2 else []


def _overall_table(figures: dict[str, Figures]) -> list[str]:
    """Return the lines of a table whose rows are models."""
    width = max(len(name) for name in figures)
    titles = "".join(f" {title:>{_wide(title)}}" for title in OVERALL)
    lines = [f"{'':<{width}}{titles}"]
    for name, found in figures.items():
        cells = (f" {_cell(x, found):>{_wide(title)}}" for title, x in OVERALL.items())
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return lines


def _wide(title: str) -> int:
    return max(8, len(title))


def _cell(name: str, found: Figures) -> str:
    """Return a figure as text; a dash where there is none."""
    if name not in found:
        return "-"
    if name in ("diverged", "not_finite"):
        return f"{found[name]:.1%}"
    if name.partition("@")[0] in COUNTS:
        return f"{int(found[name]):,}"
    return f"{found[name]:.{2 if name.startswith(('sensitivity', 'image_psnr')) else 4}f}"
