"""Checkpoints, and the episodes that their models were not trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from paratime.errors import InputError
from paratime.training.checkpoints.restoring import restore_task
from paratime.world.data.episode import Layout, align_episode, episode_digest
from paratime.world.data.identity import PROJECTIONS, coarseness, fingerprints, is_among
from paratime.world.data.sources.base import Recording
from paratime.world.data.spec import TrajectorySpec
from paratime.world.data.windows import Rows
from paratime.world.model.task import DynamicsTask, TrajectoryTask, WorldTask

TASKS = (DynamicsTask, WorldTask)


def load(ckpt_path: str) -> TrajectoryTask:
    """Return the task of a checkpoint of ``paratime fit``."""
    return restore_task(ckpt_path, TASKS)


def load_compatible(ckpt_path: str, task: TrajectoryTask) -> TrajectoryTask:
    """Return the task of another checkpoint; refuse one whose data has another layout."""
    other = load(ckpt_path)
    _check_layout(
        ckpt_path,
        expected=_layout(task.spec),
        got=_layout(other.spec),
        remedy="name a checkpoint of the same data",
    )
    return other


def unseen_episodes(recording: Recording, spec: TrajectorySpec) -> list[Rows]:
    """Return episodes as the model reads them, except those that it was trained on.

    Raises:
        InputError: They have another layout, or the model was trained on all of them.
    """
    layout = Layout.of(recording.episodes, recording.actions or spec.action)
    shapes = {key: list(shape) for key, shape in layout.observation.items()}
    got = shapes, layout.action, layout.discrete
    remedy = "give data like that of the training"
    _check_layout("data", expected=_layout(spec), got=got, remedy=remedy)
    _check_order("observations", spec.names, recording.names)
    _check_order("actions", spec.action_names, recording.action_names)
    rows = [align_episode(episode, layout) for episode in recording.episodes]
    unseen = [x for x, known in zip(rows, _trained_on(rows, spec), strict=True) if not known]
    if not unseen:
        raise InputError(
            "data",
            expected="episodes that the model was not trained on",
            got="none",
            remedy="give others, such as --source Gym with another --source.seed",
        )
    return unseen


def _trained_on(rows: list[Rows], spec: TrajectorySpec) -> list[bool]:
    """Return which episodes are among those of the training, though they may be rounded."""
    digests = {x for x in spec.trained_on if isinstance(x, str)}
    if digests:
        return [episode_digest(x) in digests for x in rows]
    known = np.array(spec.trained_on).reshape(-1, 1 + PROJECTIONS)
    coarse = coarseness(rows, spec.moments)
    return [is_among(x, known, coarse) for x in fingerprints(rows, spec.moments)]


def _layout(spec: TrajectorySpec) -> tuple[Any, ...]:
    return spec.observation, spec.action, spec.discrete


def _check_layout(what: str, expected: tuple[Any, ...], got: tuple[Any, ...], remedy: str) -> None:
    if got != expected:
        raise InputError(what, f"(observation, action, discrete) {expected}", str(got), remedy)


def _check_order(what: str, expected: Sequence[str], got: Sequence[str]) -> None:
    """Refuse the names of the training in another order."""
    if [*expected] != [*got] and sorted(expected) == sorted(got):
        raise InputError(
            f"{what} of the data", ", ".join(expected), ", ".join(got), "name them in this order"
        )
