"""Which episodes are the same, whatever file or text they were stored in.

Digests of bytes differ after a table was written with five decimals. A fingerprint is a length and
a few projections of all values on fixed weights instead. Values are in units of the error of such
rounding, so that projections of an episode and of a rounded copy differ by about 1, and those of
different episodes by much more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from paratime.world.data.episode import Array
from paratime.world.data.spec import Moments
from paratime.world.data.windows import Rows

PROJECTIONS = 6
DECIMALS, SHARE, COARSE = 1e-5, 0.005, 20
"""Error of rounding a value of 1; share of a range that stands for it where all ranges are smaller
than some such errors."""
LEVELS = 1e-4
"""Error of an image's bytes, which no text rounds."""
LIKE = 1.2
"""Greatest difference of two fingerprints of one episode: six standard deviations."""

DIGITS = range(1, 5)
"""Decimals that make a coarser copy."""

Floats = NDArray[np.float64]


def fingerprints(episodes: Sequence[Rows], moments: Moments) -> Floats:
    """Return fingerprints (N, 1 + projections) of episodes as a model reads them.

    Args:
        episodes: Of one layout.
        moments: Of the data set, which tell the size of rounding errors.
    """
    errors = _rounding_errors(moments)
    found = [[len(x["is_first"]), *_projections(x, errors)] for x in episodes]
    return np.array(found, np.float64).reshape(len(episodes), 1 + PROJECTIONS)


def is_among(fingerprint: Floats, others: Floats, coarse: float = 1.0) -> bool:
    """Return whether an episode (1 + projections,) is one of others (N, 1 + projections).

    Args:
        fingerprint: Of the episode.
        others: Of the others.
        coarse: How many times more its values may have been rounded than fingerprints allow for.
    """
    return bool(_alike(fingerprint, others, coarse).any())


def coarseness(episodes: Sequence[Rows], moments: Moments) -> float:
    """Return how many times more a data set was rounded than fingerprints allow for, at least 1.

    Nothing was rounded if the extremes of the training data have as few decimals.

    Args:
        episodes: Of the data set.
        moments: Of the training data.
    """
    values = np.concatenate([np.hstack(_values(x)).ravel() for x in episodes])
    trained = (moments.lowest, moments.highest, moments.action_lowest, moments.action_highest)
    for digits in DIGITS:
        if _has_decimals(values, digits):
            rounded = not _has_decimals(np.concatenate(trained), digits)
            return max(1.0, 0.1**digits / _rounding_errors(moments).min()) if rounded else 1.0
    return 1.0


def _has_decimals(values: Array, digits: int) -> bool:
    """Return whether no value has more decimals, as far as single precision tells."""
    values = values.astype(np.float64)
    tiny = np.finfo(np.float32).eps * np.abs(values)
    return bool((np.abs(values - values.round(digits)) <= tiny).all())


def same_episodes(prints: Floats) -> list[list[int]]:
    """Return groups of places with the same episode, in the order of their first one."""
    order = np.argsort(prints[:, 1], kind="stable")
    sorted_prints, group = prints[order], np.arange(len(prints))
    for place, row in enumerate(sorted_prints):
        first = int(np.searchsorted(sorted_prints[:, 1], row[1] - LIKE))
        alike = np.flatnonzero(_alike(row, sorted_prints[first:place]))
        if len(alike):
            group[order[place]] = group[order[first + alike[0]]]
    groups: dict[int, list[int]] = {}
    for place, name in enumerate(group.tolist()):
        groups.setdefault(name, []).append(place)
    return [*groups.values()]


def _alike(fingerprint: Floats, others: Floats, coarse: float = 1.0) -> NDArray[np.bool_]:
    close = (np.abs(others[:, 1:] - fingerprint[1:]) <= LIKE * coarse).all(1)
    return np.asarray(close & (others[:, 0] == fingerprint[0]))


def _rounding_errors(moments: Moments) -> Floats:
    """Return the errors of observations, actions and rewards, (O + A + 1,)."""
    low, high = (
        np.array([*observed, *acted])
        for observed, acted in (
            (moments.lowest, moments.action_lowest),
            (moments.highest, moments.action_highest),
        )
    )
    (mean,), (spread,) = moments.reward
    size = np.maximum(np.abs(low), np.abs(high))
    errors = DECIMALS * np.maximum(1, [*size, abs(mean) + 3 * spread])
    span = high - low
    if (span >= COARSE * errors[:-1]).any():
        return errors
    return np.array([*SHARE * np.where(span > 0, span, 1), SHARE * 4 * spread])


def _values(rows: Rows) -> list[Array]:
    return [rows["observation"], rows["prev_action"], rows["prev_reward"][:, None]]


def _projections(rows: Rows, errors: Floats) -> list[float]:
    """Return sums of all values of an episode, each time with other weights of steps and values."""
    parts = [np.hstack(_values(rows)).astype(np.float64) / errors]
    parts += [x.reshape(len(x), -1) / LEVELS for x in rows.values() if x.dtype == np.uint8]
    total = sum(x.size for x in parts)
    sums = np.zeros(PROJECTIONS)
    for x in parts:
        steps, columns = (_weights(PROJECTIONS * size) for size in x.shape)
        sums += np.einsum(
            "kp,pk->k", steps.reshape(PROJECTIONS, -1) @ x, columns.reshape(-1, PROJECTIONS)
        )
    return (sums / np.sqrt(total)).tolist()


def _weights(count: int) -> Array:
    """Return fixed weights in [-1, 1): a hash of their places (splitmix64 of Vigna, 2015)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return (z ^ (z >> np.uint64(31))).astype(np.float64) / 2**63 - 1
