"""``paratime world openloop``: how far ahead a model can be trusted, in numbers and pictures."""

from collections.abc import Sequence

from paratime.errors import InputError, check_at_least
from paratime.io import figures
from paratime.world.data.sources.base import Source
from paratime.world.data.windows import Rows, Whole, padded
from paratime.world.evaluation.loading import chosen, load, load_beside, unseen_episodes
from paratime.world.evaluation.report import names_of, scores_of, tables
from paratime.world.evaluation.scenes import Scenes, scenes_of
from paratime.world.model.task import TrajectoryTask

SHOWN = 4
"""Episodes of a picture."""


def openloop(
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
    """Say how far ahead a model can be trusted, over episodes that it was not trained on.

    Args:
        ckpt_path: Checkpoint of paratime fit.
        data: As for inspect.
        source: As for inspect.
        horizon: Steps of a rollout.
        every: Rows from one rollout's beginning to the next.
        beside: Checkpoints of other models of the same data, FILE or [FILE, FILE], for further
            columns of the tables.
        ensemble: Checkpoints of the same model with other seeds, likewise; pictures show mean and
            range of all of them.
        samples: Of a model with latents; pictures show the middle nine tenths of them.
        out: Figure to write, .png, .svg or .pdf: true against imagined observations.
        gif: Animated GIF to write: the same as time goes on, or images, if they are imagined.
    """
    check_at_least(1, horizon=horizon, every=every, samples=samples)
    check_names(out, gif)
    if ensemble and out is None and gif is None:
        raise InputError("ensemble", "a picture to draw it in", "none", "give --out or --gif")
    task = load(ckpt_path)
    others, members = (
        [load_beside(path, task) for path in paths_of(given)] for given in (beside, ensemble)
    )
    recording = chosen(data, source).read()
    episodes = unseen_episodes(recording, task.trajectories)
    tasks = [task, *others]
    names = names_of(tasks)
    found = scores_of(tasks, episodes, horizon, every)
    known = len(recording.episodes) - len(episodes)
    left_out = f" ({known} that the model was trained on are left out)" if known else ""
    print(f"{len(episodes)} episodes{left_out}\n")
    print(tables(dict(zip(names, found, strict=True))))
    for name, path in zip(names, [ckpt_path, *paths_of(beside)], strict=True):
        if others:
            print(f"{name}: {path}")
    if out is not None or gif is not None:
        write_pictures(pictured([task, *members], episodes, horizon, samples), out, gif)


def paths_of(given: str | list[str] | None) -> list[str]:
    """Return the paths that an option names: one, several or none."""
    return [given] if isinstance(given, str) else given or []


def check_names(out: str | None, gif: str | None) -> None:
    """Refuse names of pictures before anything is computed."""
    if out is not None:
        figures.check_figure(out)
    if gif is not None and not gif.endswith(".gif"):
        raise InputError("gif", "a name in .gif", repr(gif), "rename it")


def pictured(
    tasks: Sequence[TrajectoryTask], episodes: Sequence[Rows], horizon: int, samples: int
) -> Scenes:
    """Return the first episodes that are longer than the context, and what is imagined of them."""
    context = tasks[0].context
    dataset = Whole([x for x in episodes if len(x["is_first"]) > context][:SHOWN] or episodes[:1])
    batch = padded([dataset[i] for i in range(len(dataset))])
    return scenes_of([task.network for task in tasks], batch, context, horizon, samples)


def write_pictures(scenes: Scenes, out: str | None, gif: str | None) -> None:
    """Write what has a name."""
    from paratime.world.evaluation.charts import draw, film
    from paratime.world.evaluation.video import image_film, write

    if out is not None:
        if not scenes.truth.shape[-1]:
            raise InputError("out", "numbers that are observed", "images alone", "give --gif FILE")
        figures.save(draw(scenes), out)
        print(f"{'figure':<20} {out}")
    if gif is not None:
        write([*(image_film(scenes) if scenes.images else film(scenes))], gif)
        print(f"{'film':<20} {gif}")
