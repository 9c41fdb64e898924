"""Random orders of many numbers, without memory for each."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

KNOWN = 2**22
"""Most items whose order is kept in memory, 32 MiB."""

ROUNDS, CHUNK = 6, 2**14
"""Of the order of more items, and how many of them are at hand."""


def shuffled(
    count: int, order: Callable[[int], Any], random: np.random.Generator, known: int = KNOWN
) -> Iterator[int]:
    """Yield the numbers below ``count`` once each in random order, in memory that has a bound.

    Up to ``known`` numbers, the order is the given one. Above, it is a Feistel network of
    ``ROUNDS`` rounds (Luby and Rackoff, 1988, doi 10.1137/0217022) on pairs of digits to the base
    of about the root of ``count``, where numbers from ``count`` on are encrypted until they lie
    below (Black and Rogaway, 2002, doi 10.1007/3-540-45760-7_9).

    Args:
        count: How many numbers.
        order: Returns an order of so many numbers as an array or tensor.
        random: Draws the keys of the network.
        known: Most numbers whose order is kept.
    """
    if count <= known:
        whole = order(count)
        for first in range(0, count, CHUNK):
            yield from whole[first : first + CHUNK].tolist()
        return
    base, keys = np.uint64(math.isqrt(count - 1) + 1), random.integers(2**63, size=ROUNDS)
    for first in range(0, count, CHUNK):
        places = np.arange(first, min(first + CHUNK, count), dtype=np.uint64)
        places = _encrypted(places, base, keys)
        while (high := places >= count).any():
            places[high] = _encrypted(places[high], base, keys)
        yield from places.tolist()


def _encrypted(places: NDArray[np.uint64], base: np.uint64, keys: NDArray[Any]) -> NDArray[Any]:
    """Return numbers below the square of ``base`` in the place of others, one to one."""
    left, right = np.divmod(places, base)
    for key in keys.astype(np.uint64):
        left, right = right, (left + _mixed(right ^ key) % base) % base
    return left * base + right


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the finaliser of SplitMix64 (Steele et al., 2014, doi 10.1145/2714064.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
