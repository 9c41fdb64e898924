"""``paratime world openloop``: how far ahead a model can be trusted, in tables and pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paratime.cli.arguments import chosen
from paratime.cli.lists import listed
from paratime.errors import InputError, check_at_least
from paratime.io import figures
from paratime.world.data.dependence import misplaced
from paratime.world.data.episode import Layout
from paratime.world.data.sources.base import Source
from paratime.world.data.sources.catalog import trajectory_source
from paratime.world.data.windows import Rows, Whole, padded

if TYPE_CHECKING:
    from paratime.world.evaluation.scenes import Scenes
    from paratime.world.model.task import TrajectoryTask

SHOWN = 4
"""Episodes of a picture."""


def run(
    ckpt_path: str,
    data: str | None = None,
    source: Source | None = None,
    horizon: int = 50,
    every: int = 25,
    beside: str | list[str] | None = None,
    ensemble: str | list[str] | None = None,
    samples: int = 16,
    out: str | None = None,
    gif: str | None = None,
) -> None:
    """Report how far ahead a model can be trusted, on episodes that it was not trained on.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        data: As for paratime world inspect; also a table like those of the training, whose
            columns the checkpoint knows.
        source: A source with options, instead of a path.
        horizon: Steps of a rollout.
        every: Rows from one rollout's beginning to the next.
        beside: Checkpoints of other models of the same data, FILE or FILE,FILE, for further
            columns of the tables.
        ensemble: Checkpoints of the same model with other seeds, likewise; pictures show mean and
            range of all of them.
        samples: Of a model with latents; pictures show the middle nine tenths of them.
        out: Figure to write, .png, .svg or .pdf: true and imagined observations and rewards, or
            images, if nothing else is observed.
        gif: Animated GIF to write: the same step by step, or images, if they are imagined.
    """
    from paratime.world.evaluation.loading import load, load_compatible, unseen_episodes

    check_at_least(1, horizon=horizon, every=every, samples=samples)
    _check_names(out, gif)
    if ensemble and out is None and gif is None:
        raise InputError("ensemble", "a picture to draw it in", "none", "give --out or --gif")
    task = load(ckpt_path)
    others, members = (
        [load_compatible(path, task) for path in listed(given)] for given in (beside, ensemble)
    )
    recording = chosen(data, source, lambda x: trajectory_source(x, task.spec.source)).read()
    episodes = unseen_episodes(recording, task.spec)
    _print_scores(
        [task, *others],
        episodes,
        paths=[ckpt_path, *listed(beside)],
        trained_on=len(recording.episodes) - len(episodes),
        horizon=horizon,
        every=every,
    )
    layout = Layout.of(recording.episodes, recording.actions)
    for line in (*recording.reading, *misplaced(recording.episodes, layout)):
        print(line)
    if out is not None or gif is not None:
        scenes = _scenes([task, *members], episodes, horizon=horizon, samples=samples)
        _write_pictures(scenes, out, gif)


def _check_names(out: str | None, gif: str | None) -> None:
    """Refuse names of pictures before anything is computed."""
    if out is not None:
        figures.check_figure(out)
    if gif is not None and not gif.endswith(".gif"):
        raise InputError("gif", "a name in .gif", repr(gif), "rename it")


def _print_scores(
    tasks: Sequence["TrajectoryTask"],
    episodes: Sequence[Rows],
    *,
    paths: Sequence[str],
    trained_on: int,
    horizon: int,
    every: int,
) -> None:
    """Print tables of the scores of models, and the paths of their checkpoints."""
    from paratime.world.evaluation.report import (
        known_horizon,
        model_names,
        score_rollouts,
        score_tables,
    )

    names = model_names(tasks)
    reached = known_horizon([len(x["is_first"]) for x in episodes], horizon, every)
    found = score_rollouts(tasks, episodes, horizon=reached, every=every)
    left_out = f" ({trained_on} that the model was trained on are left out)" if trained_on else ""
    print(f"{len(episodes)} episodes{left_out}")
    if reached < horizon:
        print(f"few or no rollouts have {horizon} steps: those of {reached} are the longest scored")
    print()
    print(score_tables(dict(zip(names, found, strict=True))))
    for name, path in zip(names, paths, strict=True):
        if len(tasks) > 1:
            print(f"{name}: {path}")


def _scenes(
    tasks: Sequence["TrajectoryTask"], episodes: Sequence[Rows], *, horizon: int, samples: int
) -> "Scenes":
    """Return the first episodes that are longer than the context, as models imagine them."""
    from paratime.world.evaluation.scenes import make_scenes

    context = tasks[0].context
    dataset = Whole([x for x in episodes if len(x["is_first"]) > context][:SHOWN] or episodes[:1])
    batch = padded([dataset[i] for i in range(len(dataset))])
    networks = [task.network for task in tasks]
    return make_scenes(networks, batch, context=context, horizon=horizon, samples=samples)


def _write_pictures(scenes: "Scenes", out: str | None, gif: str | None) -> None:
    """Write the pictures that have a name."""
    from paratime.world.evaluation.charts import chart_frames, draw_images, draw_scenes
    from paratime.world.evaluation.video import image_frames, write_gif

    if out is not None:
        of_images = scenes.images and len(scenes.labels) == 1  # that of the reward
        figures.save_figure(draw_images(scenes) if of_images else draw_scenes(scenes), out)
        print(f"{'figure':<20} {out}")
    if gif is not None:
        write_gif([*(image_frames(scenes) if scenes.images else chart_frames(scenes))], gif)
        print(f"{'video':<20} {gif}")
