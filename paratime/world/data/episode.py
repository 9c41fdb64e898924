"""An episode as it is stored, and as a model reads it.

Stored (as by Minari and Gymnasium), an episode has T actions between T + 1 observations: action t
is taken at observation t, and gives reward t and observation t + 1. A model reads it as Dreamer
does, in T + 1 rows: an observation with the action and the reward that led to it; there are none in
the first row, and zeros stand for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from paratime.errors import InputError

Array = NDArray[Any]
VECTOR = "observation"
"""The key of an observation that is no dict."""
ROW = (VECTOR, "prev_action", "prev_reward", "is_first", "is_last", "is_terminal", "mask")
"""What rows of a batch hold beside images."""
WINDOW = ("follows", "place")
"""What is said of a window of rows."""
CHOICES = 2**16
"""That an action has at most."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, checked.

    Attributes:
        name: What messages call it.
        observation: By key, in their order, arrays (T + 1, ...): floats as float32, images
            (T + 1, H, W, C) as uint8.
        action: (T, A) float32, or discrete: (T,) int64.
        reward: (T,) float32.
        terminated: Whether its last observation is terminal: nothing can come after it.
        info: What its source knows of it, such as a seed.
    """

    name: str
    observation: dict[str, Array]
    action: Array
    reward: Array
    terminated: bool
    info: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of actions, T."""
        return len(self.action)

    @property
    def discrete(self) -> bool:
        """Whether actions are numbers of a choice."""
        return self.action.ndim == 1


def make_episode(
    name: str,
    observation: ArrayLike | Mapping[str, ArrayLike],
    action: ArrayLike,
    reward: ArrayLike,
    terminated: bool,
    info: dict[str, Any] | None = None,
) -> Episode:
    """Make an episode of numbers, and check that they are one.

    Args:
        name: What messages call it, such as the file and the episode in it.
        observation: T + 1 observations, numbers or vectors or images, alone or by key.
        action: T actions, vectors of floats, or whole numbers from 0.
        reward: T numbers.
        terminated: Whether the last observation is terminal.
        info: What its source knows of it.

    Raises:
        InputError: One line that names episode and key.
    """
    by_key = observation if isinstance(observation, Mapping) else {VECTOR: observation}
    if not by_key:
        raise InputError(f"observation of {name}", "at least one key", "none", "add it")
    if not len(np.atleast_1d(_array(action, f"action of {name}"))):
        raise InputError(f"action of {name}", "at least one step", "none", "drop the episode")
    actions, rewards = _actions(action, name), _floats(reward, f"reward of {name}")
    rewards = rewards.reshape(len(rewards), -1)
    if rewards.shape[1:] != (1,):
        raise InputError(f"reward of {name}", "one a step", str(rewards.shape), "correct it")
    observations = {k: _observation(by_key[k], f"{k} of {name}") for k in sorted(by_key)}
    steps = len(actions)
    lengths = {f"{key} of {name}": (len(x), steps + 1) for key, x in observations.items()}
    lengths[f"reward of {name}"] = len(rewards), steps
    for what, (got, expected) in lengths.items():
        if got != expected:
            remedy = "T actions lie between T + 1 observations"
            raise InputError(what, f"{expected} rows for {steps} actions", str(got), remedy)
    return Episode(name, observations, actions, rewards[:, 0], bool(terminated), info or {})


def _array(values: ArrayLike, what: str) -> Array:
    try:
        return np.asarray(values)
    except ValueError:
        got, remedy = "rows of different lengths", "correct them"
        raise InputError(what, "numbers, as many in each step", got, remedy) from None


def _observation(values: ArrayLike, what: str) -> Array:
    array = _array(values, what)
    if array.dtype == np.uint8 and array.ndim == 4:
        return array
    numbers = _floats(array, what)
    return numbers.reshape(len(numbers), -1)


def _actions(values: ArrayLike, name: str) -> Array:
    array = _array(values, f"action of {name}")
    if np.issubdtype(array.dtype, np.integer) or array.dtype == bool:
        numbers = array.astype(np.int64)
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = numbers[:, 0]
        if numbers.ndim != 1:
            got = str(array.shape)
            raise InputError(f"action of {name}", "one choice a step", got, "number the choices")
        if (numbers < 0).any():
            step = int((numbers < 0).argmax())
            got = f"{numbers[step]} at step {step}"
            raise InputError(f"action of {name}", "choices from 0", got, "number the choices")
        return numbers
    floats = _floats(array, f"action of {name}")
    return floats.reshape(len(floats), -1)


def _floats(values: ArrayLike, what: str) -> NDArray[np.float32]:
    try:
        array = _array(values, what)
        if array.dtype.kind not in "biufO":
            raise TypeError
        with np.errstate(over="ignore"):
            numbers = array.astype(np.float32)
    except (TypeError, ValueError):
        raise InputError(what, "numbers", f"{array.dtype}", "correct it") from None
    if numbers.ndim < 1:
        raise InputError(what, "a row for each step", "a single number", "correct it")
    bad = ~np.isfinite(numbers)
    if bad.any():
        step = int(np.argwhere(bad)[0][0])
        raise InputError(what, "finite numbers", f"{numbers[bad][0]} at step {step}", "mend it")
    return numbers


@dataclass(frozen=True)
class Layout:
    """What all episodes of a data set have in common.

    Attributes:
        observation: By key, the shape of an observation.
        action: How many numbers an action has, or, if discrete, how many choices there are.
        discrete: Whether actions are choices.
    """

    observation: dict[str, tuple[int, ...]]
    action: int
    discrete: bool

    @classmethod
    def of(cls, episodes: Sequence[Episode], actions: int | None = None) -> "Layout":
        """Find the layout of episodes.

        Args:
            episodes: At least one.
            actions: How many choices there are, if the source knows; else as many as occur.

        Raises:
            InputError: There are no episodes, or two of them differ.
        """
        if not episodes:
            raise InputError("episodes", "at least one", "none", "check the source")
        first = episodes[0]
        if not sum(x[0].size for x in first.observation.values()):
            remedy = "name what is observed"
            raise InputError(f"observation of {first.name}", "at least one number", "none", remedy)
        names = [image_key(k) if x.dtype == np.uint8 else k for k, x in first.observation.items()]
        if len({*names}) < len(names):
            got, remedy = ", ".join(first.observation), "rename one of them"
            raise InputError(f"observation of {first.name}", "distinct keys", got, remedy)
        for other in episodes[1:]:
            for what, mine, its in _differences(first, other):
                raise InputError(
                    f"{what} of {other.name}", f"{mine} as in {first.name}", its, "mend the source"
                )
        if not first.discrete:
            return cls(_shapes(first), first.action.shape[1], False)
        highest, where = max((int(e.action.max()), e.name) for e in episodes)
        if highest >= CHOICES:
            remedy = "number the choices from 0 on"
            raise InputError(f"action of {where}", f"choices below {CHOICES}", str(highest), remedy)
        if actions is not None and highest >= actions:
            expected, got = f"choices below {actions}", f"{highest} in {where}"
            raise InputError("action", expected, got, "mend the source")
        return cls(_shapes(first), highest + 1 if actions is None else actions, True)


def _shapes(episode: Episode) -> dict[str, tuple[int, ...]]:
    return {key: x.shape[1:] for key, x in episode.observation.items()}


def _differences(a: Episode, b: Episode) -> list[tuple[str, str, str]]:
    pairs = {
        "observation": (_shapes(a), _shapes(b)),
        "action": tuple("discrete" if e.discrete else e.action.shape[1:] for e in (a, b)),
    }
    return [(what, str(x), str(y)) for what, (x, y) in pairs.items() if x != y]


def fingerprint(rows: Mapping[str, Array]) -> str:
    """Return what tells an episode, as a model reads it, from others."""
    digest = sha256()
    for key in sorted(rows):
        digest.update(np.ascontiguousarray(rows[key]).tobytes())
    return digest.hexdigest()[:16]


def image_key(key: str) -> str:
    """Return what rows call an image: its key, unless something else in them has that name."""
    return f"{key}_image" if key in (*ROW, *WINDOW) else key


def image_shapes(observation: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the images of a layout's observation, by their keys in rows."""
    return {image_key(key): tuple(shape) for key, shape in observation.items() if len(shape) == 3}


def as_row(observation: Any) -> dict[str, Array]:
    """Return an observation of an environment as a row of ``aligned`` has it.

    Returns:
        ``observation`` (O,), all vectors side by side, and each image under its key.
    """
    by_key = observation if isinstance(observation, Mapping) else {VECTOR: observation}
    parts = {key: np.array(by_key[key], order="C") for key in sorted(by_key)}
    images = {key: x for key, x in parts.items() if x.dtype == np.uint8 and x.ndim == 3}
    vectors = [x.astype(np.float32).reshape(-1) for k, x in parts.items() if k not in images]
    return {VECTOR: np.concatenate([np.zeros(0, np.float32), *vectors])} | {
        image_key(key): x for key, x in images.items()
    }


def aligned(episode: Episode, layout: Layout) -> dict[str, Array]:
    """Return an episode as a model reads it: T + 1 rows of what led to an observation, and it.

    Returns:
        ``observation`` (T + 1, O), all vectors side by side in the order of their keys, and each
        image under its key (``image_key``); ``prev_action`` (T + 1, A), one-hot if discrete;
        ``prev_reward`` (T + 1,); ``is_first``, ``is_last`` and ``is_terminal``, bool (T + 1,).
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
    return images | {
        "observation": np.concatenate([np.zeros((steps + 1, 0), np.float32), *vectors], axis=1),
        "prev_action": np.concatenate([np.zeros_like(action[:1]), action]),
        "prev_reward": np.concatenate([np.zeros(1, np.float32), episode.reward]),
        "is_first": flags[0],
        "is_last": flags[1],
        "is_terminal": flags[2],
    }
