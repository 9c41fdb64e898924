"""An episode as it is stored, and as a model reads it.

Stored (as by Minari and Gymnasium), an episode has T actions between T + 1 observations: action t
is taken at observation t, and leads to reward t and observation t + 1. A model reads it as Dreamer
does, in T + 1 rows: each observation with the action and the reward that led to it, which are zero
in the first row.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paratime.errors import InputError
from paratime.world.data.pixels import as_images

Array = NDArray[Any]
VECTOR = "observation"
"""The key of an observation that is not a dict."""
KNOWN = "observed"
"""The key of which observations are known, in the rows of data where some are not."""
ROW = (VECTOR, "prev_action", "prev_reward", "is_first", "is_last", "is_terminal", "mask", KNOWN)
"""Keys of the rows of a batch, next to images."""
WINDOW = ("follows", "place")
"""Keys that describe a window of rows."""
LOST = 0.1
"""Share of a deviation by which rounding to single precision may change a value."""
CHOICES = 2**16
"""Most choices that a discrete action has."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, checked.

    Attributes:
        name: How messages call it.
        observation: Arrays (T + 1, ...) by key, sorted by key: floats as float32, images
            (T + 1, H, W, C) as uint8.
        action: (T, A) float32, or discrete: (T,) int64.
        reward: (T,) float32.
        terminated: Whether its last observation is terminal, so that nothing can follow it.
        info: What its source knows about it, such as a seed.
        complete: Whether its last observation is known. If not, it repeats the one before, and is
            neither read nor learnt; the reward and the end that the last action led to are.
    """

    name: str
    observation: dict[str, Array]
    action: Array
    reward: Array
    terminated: bool
    info: dict[str, Any] = field(default_factory=dict)
    complete: bool = True

    def __len__(self) -> int:
        """Return the number of actions, T."""
        return len(self.action)

    @property
    def discrete(self) -> bool:
        """Whether actions are indices of choices."""
        return self.action.ndim == 1


def make_episode(
    name: str,
    observation: ArrayLike | Mapping[str, ArrayLike],
    action: ArrayLike,
    reward: ArrayLike,
    terminated: bool,
    info: dict[str, Any] | None = None,
    complete: bool = True,
) -> Episode:
    """Make an episode, and check its values and lengths.

    Args:
        name: How messages call it, such as the file and the episode in it.
        observation: T + 1 observations, scalars or vectors or images (as ``pixels`` recognises
            them), alone or by key.
        action: T actions, vectors of floats, or whole numbers from 0.
        reward: T rewards.
        terminated: Whether the last observation is terminal.
        info: What its source knows about it.
        complete: Whether the last observation is known; otherwise there are T observations.

    Raises:
        InputError: One line that names episode and key.
    """
    by_key = observation if isinstance(observation, Mapping) else {VECTOR: observation}
    if not by_key:
        raise InputError(f"observation of {name}", "at least one key", "none", "add it")
    if not len(np.atleast_1d(_array(action, f"action of {name}"))):
        raise InputError(f"action of {name}", "at least one step", "none", "drop the episode")
    actions, rewards = _actions(action, f"action of {name}"), _rewards(reward, f"reward of {name}")
    observations = {k: _observation(by_key[k], f"{k} of {name}") for k in sorted(by_key)}
    steps = len(actions)
    lengths = [(key, x, steps + complete) for key, x in observations.items()]
    for key, rows, length in [*lengths, ("reward", rewards, steps)]:
        if len(rows) != length:
            raise InputError(
                f"{key} of {name}",
                expected=f"{length} rows for {steps} actions",
                got=str(len(rows)),
                remedy="T actions lie between T + 1 observations",
            )
    if not complete:
        observations = {k: np.concatenate([x, x[-1:]]) for k, x in observations.items()}
    ended = bool(terminated)
    return Episode(name, observations, actions, rewards, ended, info or {}, complete)


def complete_part(episode: Episode) -> Episode | None:
    """Return an episode without a last action whose observation is unknown.

    It ends before that action, so that it counts as truncated. None is left of a single step.
    """
    if episode.complete:
        return episode
    if len(episode) < 2:
        return None
    return replace(
        episode,
        observation={key: x[:-1] for key, x in episode.observation.items()},
        action=episode.action[:-1],
        reward=episode.reward[:-1],
        terminated=False,
        complete=True,
    )


def check_complete(episodes: Sequence[Episode]) -> None:
    """Refuse episodes whose last observation is unknown, for layouts that need it."""
    for episode in episodes:
        if not episode.complete:
            raise InputError(
                f"last observation of {episode.name}",
                expected="it, which this layout needs",
                got="none",
                remedy="use complete_part, or paratime world convert",
            )


def _array(values: ArrayLike, what: str) -> Array:
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(
            what, "numbers, as many in each step", "rows of different lengths", "correct them"
        ) from None


def _observation(values: ArrayLike, what: str) -> Array:
    array = _array(values, what)
    images = as_images(array, what)
    if images is not None:
        return images
    floats = _flat(_floats(array, what))
    _warn_of_lost_changes(array, floats, what.partition(" of ")[0])
    return floats


def _warn_of_lost_changes(array: Array, floats: Array, key: str) -> None:
    """Warn of values, such as times since 1970, whose changes single precision cannot hold."""
    if array.dtype.kind not in "fiu" or array.dtype.itemsize < 8:
        return
    exact = _flat(array.astype(np.float64))
    lost = np.abs(floats - exact).max(0, initial=0) > LOST * exact.std(0)
    for column in np.flatnonzero(lost & (exact.std(0) > 0)):
        warnings.warn(
            f"{key}[{column}] changes by less than single precision holds near"
            f" {exact[0, column]:.4g}: subtract its first value in each episode"
            " (relative, of --source Table)",
            stacklevel=2,
        )


def _actions(values: ArrayLike, what: str) -> Array:
    array = _array(values, what)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        return _flat(_floats(array, what))
    choices = array.astype(np.int64)
    if choices.ndim == 2 and choices.shape[1] == 1:
        choices = choices[:, 0]
    if choices.ndim != 1:
        raise InputError(what, "one choice a step", str(array.shape), "number the choices")
    if (choices < 0).any():
        step = int((choices < 0).argmax())
        raise InputError(
            what, "choices from 0", f"{choices[step]} at step {step}", "number the choices"
        )
    return choices


def _rewards(values: ArrayLike, what: str) -> Array:
    rewards = _flat(_floats(values, what))
    if rewards.shape[1:] != (1,):
        raise InputError(what, "one a step", str(rewards.shape), "correct it")
    return rewards[:, 0]


def _floats(values: ArrayLike, what: str) -> NDArray[np.float32]:
    array = _array(values, what)
    try:
        if array.dtype.kind not in "biufO":
            raise TypeError
        with np.errstate(over="ignore"):
            floats = array.astype(np.float32)
    except (TypeError, ValueError):
        raise InputError(what, "numbers", f"{array.dtype}", "correct it") from None
    if floats.ndim < 1:
        raise InputError(what, "a row for each step", "a single number", "correct it")
    bad = ~np.isfinite(floats)
    if bad.any():
        step = int(np.argwhere(bad)[0][0])
        raise InputError(what, "finite numbers", f"{floats[bad][0]} at step {step}", "mend it")
    return floats


def _flat(rows: Array) -> Array:
    return rows.reshape(len(rows), -1)


@dataclass(frozen=True)
class Layout:
    """What all episodes of a data set have in common.

    Attributes:
        observation: Shapes of an observation by key.
        action: Size of an action, or the number of choices if it is discrete.
        discrete: Whether actions are choices.
        complete: Whether the last observations of all of them are known.
    """

    observation: dict[str, tuple[int, ...]]
    action: int
    discrete: bool
    complete: bool = True

    @classmethod
    def of(cls, episodes: Sequence[Episode], actions: int | None = None) -> "Layout":
        """Find the layout of episodes.

        Args:
            episodes: At least one.
            actions: The number of choices, if the source knows it; else as many as occur.

        Raises:
            InputError: There are no episodes, or two of them differ.
        """
        if not episodes:
            raise InputError("episodes", "at least one", "none", "check the source")
        first = episodes[0]
        _check_keys(first)
        for other in episodes[1:]:
            _check_alike(first, other)
        size = _choices(episodes, actions) if first.discrete else first.action.shape[1]
        complete = all(episode.complete for episode in episodes)
        return cls(_shapes(first), size, first.discrete, complete)


def _check_keys(episode: Episode) -> None:
    what, parts = f"observation of {episode.name}", episode.observation
    if not sum(x[0].size for x in parts.values()):
        raise InputError(what, "at least one number", "none", "name what is observed")
    names = {image_key(key) if x.dtype == np.uint8 else key for key, x in parts.items()}
    if len(names) < len(parts):
        raise InputError(what, "distinct keys", ", ".join(parts), "rename one of them")


def _check_alike(first: Episode, other: Episode) -> None:
    pairs = {
        "observation": (_shapes(first), _shapes(other)),
        "action": tuple("discrete" if e.discrete else e.action.shape[1:] for e in (first, other)),
    }
    for key, (ours, its) in pairs.items():
        if ours != its:
            raise InputError(
                f"{key} of {other.name}",
                expected=f"{ours} as in {first.name}",
                got=str(its),
                remedy="give all one shape; matrices in [0, 1] are images unless flattened",
            )


def _choices(episodes: Sequence[Episode], actions: int | None) -> int:
    highest, name = max((int(e.action.max()), e.name) for e in episodes)
    if highest >= CHOICES:
        raise InputError(
            f"action of {name}", f"choices below {CHOICES}", str(highest), "number them from 0"
        )
    if actions is not None and highest >= actions:
        raise InputError(
            "action", f"choices below {actions}", f"{highest} in {name}", "mend the source"
        )
    return highest + 1 if actions is None else actions


def _shapes(episode: Episode) -> dict[str, tuple[int, ...]]:
    return {key: x.shape[1:] for key, x in episode.observation.items()}


def episode_digest(rows: Mapping[str, Array]) -> str:
    """Return the digest by which checkpoints of version 0.1 know an episode's rows."""
    digest = sha256()
    for key in sorted(rows):
        digest.update(np.ascontiguousarray(rows[key]).tobytes())
    return digest.hexdigest()[:16]


def image_key(key: str) -> str:
    """Return the key of an image in rows: its own, unless rows use that for something else."""
    return f"{key}_image" if key in (*ROW, *WINDOW) else key


def image_shapes(observation: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the images of a layout's observation, by their keys in rows."""
    return {image_key(key): tuple(shape) for key, shape in observation.items() if len(shape) == 3}


def observation_row(observation: Any) -> dict[str, Array]:
    """Return an observation of an environment in the form of a row of ``align_episode``.

    Returns:
        ``observation`` (O,), all vectors side by side, and each image under its key.
    """
    by_key = observation if isinstance(observation, Mapping) else {VECTOR: observation}
    parts = {key: np.array(by_key[key], order="C") for key in sorted(by_key)}
    found = {key: as_images(x[None], key) for key, x in parts.items()}
    images = {key: x[0] for key, x in found.items() if x is not None}
    vectors = [x.astype(np.float32).reshape(-1) for k, x in parts.items() if k not in images]
    return {VECTOR: np.concatenate([np.zeros(0, np.float32), *vectors])} | {
        image_key(key): x for key, x in images.items()
    }


def align_episode(episode: Episode, layout: Layout) -> dict[str, Array]:
    """Return an episode as a model reads it: T + 1 rows, each with what led to its observation.

    Returns:
        ``observation`` (T + 1, O), all vectors side by side in the order of their keys, and each
        image under its key (``image_key``); ``prev_action`` (T + 1, A), one-hot if discrete;
        ``prev_reward`` (T + 1,); ``is_first``, ``is_last`` and ``is_terminal``, bool (T + 1,);
        ``observed``, bool (T + 1,), if the layout is not complete.
    """
    steps = len(episode)
    vectors = [x for x in episode.observation.values() if x.dtype != np.uint8]
    images = {image_key(key): x for key, x in episode.observation.items() if x.dtype == np.uint8}
    action = episode.action
    if layout.discrete:
        action = np.eye(layout.action, dtype=np.float32)[action]
    flags = np.zeros((3, steps + 1), dtype=bool)
    flags[0, 0] = flags[1, steps] = True
    flags[2, steps] = episode.terminated
    known = np.arange(steps + 1) < steps + episode.complete
    return (
        images
        | ({} if layout.complete else {KNOWN: known})
        | {
            VECTOR: np.concatenate([np.zeros((steps + 1, 0), np.float32), *vectors], axis=1),
            "prev_action": np.concatenate([np.zeros_like(action[:1]), action]),
            "prev_reward": np.concatenate([np.zeros(1, np.float32), episode.reward]),
            "is_first": flags[0],
            "is_last": flags[1],
            "is_terminal": flags[2],
        }
    )
