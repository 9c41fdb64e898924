"""Which action explains what happens next: a check that actions stand in the right rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from paratime.world.data.episode import Array, Episode, Layout

SHIFTS = (-1, 0, 1)
"""Rows from an observation to the action that is tried: before it, at it and after it."""
MOST, PER_FEATURE, PRODUCTS = 20_000, 4, 200
"""About how many rows are read; rows needed for each feature; most products of actions and
observations."""
LEAST = 200
"""Fewer steps tell nothing."""
CLEAR = 0.1
"""Share of a change by which another action must explain more, to be said."""

Floats = NDArray[np.float64]


def explained_changes(episodes: Sequence[Episode], layout: Layout) -> dict[int, float] | None:
    """Return how much of the next change of the observation an action explains, by its shift.

    It is the share of the variance of the change, of the value that depends on the action most,
    which a linear regression on observation, action and their products leaves unexplained without
    the action. Half of the steps are fitted, the other half is judged.

    An action after the change may have been chosen by what is observed then. It counts no more than
    the observation before the change adds to what the one after it tells of that action.

    Args:
        episodes: Of one layout.
        layout: Theirs.

    Returns:
        Shares by shift, or None where there are too few steps.
    """
    every = max(1, sum(map(len, episodes)) // MOST)
    parts = [x for episode in episodes[::every] if (x := _steps(episode, layout)) is not None]
    if not parts:
        return None
    seen, change, *actions = (np.concatenate(x) for x in zip(*parts, strict=True))
    following = _scaled(seen + change)
    seen, change = _scaled(seen), _scaled(change)
    base = np.hstack([np.ones((len(seen), 1)), seen])
    found = {}
    for shift, action in zip(SHIFTS, actions, strict=True):
        features = np.hstack([base, _with_products(_scaled(action), seen)])
        if len(seen) < max(LEAST, PER_FEATURE * features.shape[1]):
            return None
        found[shift] = _gain(base, features, change)
    chosen = np.hstack([base[:, :1], _with_products(following, following)])
    caused = np.hstack([chosen, _with_products(change, seen)])
    found[1] = min(found[1], _gain(chosen, caused, _scaled(actions[-1])))
    return found


def misplaced(episodes: Sequence[Episode], layout: Layout) -> list[str]:
    """Return a warning where another action than that of its step explains what happens next."""
    return describe_dependence(explained_changes(episodes, layout))[1:]


def describe_dependence(found: dict[int, float] | None) -> list[str]:
    """Return lines on which action explains the next observation best."""
    if found is None:
        return ["too few steps to tell which one explains the next observation"]
    before, now, after = (f"{found[shift]:.0%}" for shift in SHIFTS)
    line = f"explains {now} of what changes next; the one before {before}, the one after {after}"
    best = max(SHIFTS, key=lambda shift: found[shift])
    if found[best] <= found[0] + CLEAR:
        return [line]
    where, order = ("before", "taken") if best < 0 else ("after", "led_to")
    return [
        line,
        f"warning: the action {where} explains more: actions stand in other rows"
        f" (the source's order: {order}), or act a step late",
    ]


def _steps(episode: Episode, layout: Layout) -> tuple[Floats, ...] | None:
    """Return observations, what changes next, and actions by shift, of all steps but the ends."""
    steps = len(episode) - (not episode.complete)
    if steps < 3:
        return None
    values = [_values(x) for x in episode.observation.values()]
    seen = np.hstack(values).astype(np.float64)[: steps + 1]
    action = np.eye(layout.action)[episode.action] if layout.discrete else episode.action
    shifted = [action[1 + shift : steps - 1 + shift].astype(np.float64) for shift in SHIFTS]
    return seen[1 : steps - 1], np.diff(seen, axis=0)[1 : steps - 1], *shifted


def _values(observed: Array) -> Array:
    """Return vectors as they are, and of images the mean and the first moments by channel."""
    if observed.ndim < 4:
        return observed
    high, wide = (np.linspace(-1, 1, size) for size in observed.shape[1:3])
    rows = observed.mean(2, dtype=np.float64)
    columns = observed.mean(1, dtype=np.float64)
    moments = [rows.mean(1), np.einsum("thc,h->tc", rows, high)]
    return np.hstack([*moments, np.einsum("twc,w->tc", columns, wide)])


def _with_products(action: Floats, seen: Floats) -> Floats:
    if action.shape[1] * seen.shape[1] > PRODUCTS:
        return action
    products = action[:, :, None] * seen[:, None, :]
    return np.hstack([action, products.reshape(len(action), -1)])


def _scaled(values: Floats) -> Floats:
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 1e-9, spread, 1.0)


def _gain(some: Floats, all_of_them: Floats, change: Floats) -> float:
    """Return how much of what some features leave unexplained all of them explain."""
    before, left = _residual(some, change), _residual(all_of_them, change)
    moves = before > 1e-9
    return float(max(0.0, (1 - left[moves] / before[moves]).max(initial=0.0)))


def _residual(features: Floats, change: Floats) -> Floats:
    """Return the mean square of each change in odd steps, as the even ones predict it."""
    fitted, judged = (slice(start, None, 2) for start in (0, 1))
    inner = features[fitted].T @ features[fitted]
    ridge = 1e-6 * len(features) * np.eye(len(inner))
    weights = np.linalg.solve(inner + ridge, features[fitted].T @ change[fitted])
    residual: Floats = np.square(change[judged] - features[judged] @ weights).mean(0)
    return residual
