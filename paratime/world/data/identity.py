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


def is_among(fingerprint: Floats, others: Floats) -> bool:
    """Return whether an episode (1 + projections,) is one of others (N, 1 + projections)."""
    return bool(_alike(fingerprint, others).any())


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


def _alike(fingerprint: Floats, others: Floats) -> NDArray[np.bool_]:
    close = (np.abs(others[:, 1:] - fingerprint[1:]) <= LIKE).all(1)
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


def _projections(rows: Rows, errors: Floats) -> list[float]:
    """Return sums of all values of an episode, each time with other weights of steps and values."""
    values = [rows["observation"], rows["prev_action"], rows["prev_reward"][:, None]]
    parts = [np.hstack(values).astype(np.float64) / errors]
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
