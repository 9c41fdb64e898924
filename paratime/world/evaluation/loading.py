"""Checkpoints and recordings as commands name them."""

from typing import Any

import torch

from paratime.cli.parser import check_checkpoint
from paratime.errors import InputError, one_line
from paratime.world.data.episode import Layout, aligned, fingerprint
from paratime.world.data.sources.base import Recording, Source
from paratime.world.data.sources.catalog import source_of
from paratime.world.data.windows import Rows
from paratime.world.model.dynamics_task import DynamicsTask
from paratime.world.model.latent_task import WorldTask
from paratime.world.model.task import TrajectoryTask

TASKS: dict[str, type[TrajectoryTask]] = {"DynamicsTask": DynamicsTask, "WorldTask": WorldTask}


def load(ckpt_path: str) -> TrajectoryTask:
    """Return the task of a checkpoint of ``paratime fit``."""
    check_checkpoint(ckpt_path)
    remedy = "name what paratime fit has printed at its end"
    try:
        saved = torch.load(ckpt_path, map_location="cpu", weights_only=True)["hyper_parameters"]
    except Exception as error:
        got = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(ckpt_path, "a checkpoint of paratime fit", got, remedy) from None
    name = str(saved.get("_class_path", "no class")).rpartition(".")[2]
    if name not in TASKS:
        raise InputError(ckpt_path, f"a checkpoint of {' or '.join(TASKS)}", name, remedy)
    return TASKS[name].load_from_checkpoint(ckpt_path, map_location="cpu").eval()


def load_beside(ckpt_path: str, task: TrajectoryTask) -> TrajectoryTask:
    """Return the task of another checkpoint; refuse one whose data is laid out otherwise."""
    other = load(ckpt_path)
    expected, got = (_layout(x.trajectories) for x in (task, other))
    if got != expected:
        remedy = "name a checkpoint of the same data"
        raise InputError(ckpt_path, f"(observation, action, discrete) {expected}", str(got), remedy)
    return other


def unseen_episodes(recording: Recording, trajectories: dict[str, Any]) -> list[Rows]:
    """Return episodes as the model reads them, but for those that it was trained on.

    Raises:
        InputError: They are laid out otherwise, or the model was trained on all of them.
    """
    layout = Layout.of(recording.episodes, recording.actions or trajectories["action"])
    found = {key: list(shape) for key, shape in layout.observation.items()}
    got = found, layout.action, layout.discrete
    expected = _layout(trajectories)
    if got != expected:
        remedy = "give data like that of the training"
        raise InputError("data", f"(observation, action, discrete) {expected}", str(got), remedy)
    known = set(trajectories["trained_on"])
    episodes = (aligned(episode, layout) for episode in recording.episodes)
    unseen = [rows for rows in episodes if fingerprint(rows) not in known]
    if not unseen:
        remedy = "give others, such as --source Gym with another --source.seed"
        raise InputError("data", "episodes that the model was not trained on", "none", remedy)
    return unseen


def chosen(data: str | None, source: Source | None) -> Source:
    """Return the source that was given, one way or the other."""
    if (data is None) == (source is None):
        got = "neither" if data is None else "both"
        raise InputError("data", "a path, or a source instead", got, "give --data PATH")
    return source if data is None else source_of(data)  # type: ignore[return-value]


def _layout(trajectories: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(trajectories[key] for key in ("observation", "action", "discrete"))
