"""Images among observations: recognised by their shape, and stored as bytes with channels last.

An image has sides of at least eight pixels. Its channels are the axis, first or last, that leaves
such sides, or square ones, or else the smaller axis. Stacked frames become channels, the oldest
first. Bytes are images in all such shapes, also without an axis of channels. Floats in [0, 1] are
images if their sides have 16 pixels, or if they have one, three or four channels; of an environment
only if its space has these bounds, or such channels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from paratime.errors import InputError

Array = NDArray[Any]

LEAST = 8
"""Least height and width of an image, in pixels."""
LEAST_FLOATS = 16
"""The same of floats, which may be a table of measurements."""
COLORS = (1, 3, 4)
"""Channels of common images: gray, red-green-blue, and that with transparency."""
CLOSE = 1e-3
"""How far floats may be outside [0, 1], as after interpolation."""


def as_images(rows: Array, what: str) -> Array | None:
    """Return images (T, H, W, C), uint8, or None if an array (T, ...) has no shape of images.

    Args:
        rows: Bytes, or numbers of any other kind.
        what: How messages call them.

    Raises:
        InputError: They have the shape of colour images, and values that are none.
    """
    shape = rows.shape[1:]
    if rows.dtype == np.uint8:
        return _channels_last(rows)
    if rows.dtype.kind not in "fiu" or not may_be_image(shape) or not rows.size:
        return None
    low, high = float(rows.min()), float(rows.max())
    if rows.dtype.kind == "f" and low >= -CLOSE and high <= 1 + CLOSE:
        return _channels_last(np.rint(255 * rows.clip(0, 1)).astype(np.uint8))
    if channels_of(shape) not in (1, 3):
        return None
    raise InputError(
        what,
        expected=f"bytes, or floats in [0, 1], for images {shape}",
        got=f"{rows.dtype} from {low:g} to {high:g}",
        remedy="scale them or store them as uint8; flatten them if they are no images",
    )


def may_be_image(shape: tuple[int, ...]) -> bool:
    """Return whether floats in [0, 1] of a shape are images."""
    sides = _sides(shape)
    if sides is None:
        return False
    return min(sides) >= LEAST_FLOATS or channels_of(shape) in COLORS


def _sides(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return height and width, None of what is no image."""
    if len(shape) == 2:
        return shape if min(shape) >= LEAST else None
    if len(shape) == 4:
        return _sides(_frame(shape))
    first = is_channels_first(shape) if len(shape) == 3 else None
    if first is None:
        return None
    return (shape[1], shape[2]) if first else (shape[0], shape[1])


def _frame(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one of stacked images, which lie along the first axis or the last."""
    first, last = shape[1:], shape[:-1]
    if _sides(first) is None or _sides(last) is None:
        return last if _sides(first) is None else first
    return first if shape[-1] in (1, 3) or shape[0] <= shape[-1] else last


def channels_of(shape: tuple[int, ...]) -> int | None:
    """Return the channels of an array with three axes."""
    if len(shape) != 3:
        return None
    return shape[0] if is_channels_first(shape) else shape[-1]


def is_channels_first(shape: tuple[int, ...]) -> bool | None:
    """Return whether the first of three axes holds channels, None if the shape is no image's."""
    first, middle, last = shape
    if middle < LEAST or max(first, last) < LEAST:
        return None
    if min(first, last) < LEAST or first == last:
        return last >= LEAST > first
    if (first == middle) != (middle == last):
        return middle == last
    return first < last


def _channels_last(rows: Array) -> Array | None:
    shape = rows.shape[1:]
    if _sides(shape) is None:
        return None
    if len(shape) == 2:
        return rows[..., None]
    if len(shape) == 4:
        return _merged(rows)
    return rows.transpose(0, 2, 3, 1).copy() if is_channels_first(shape) else rows


def _merged(rows: Array) -> Array:
    """Return stacked images (T, K, ...), or (T, ..., K), with all channels side by side."""
    shape = rows.shape[1:]
    stacked = rows if _frame(shape) == shape[1:] else np.moveaxis(rows, -1, 1)
    frames = [_channels_last(stacked[:, k]) for k in range(stacked.shape[1])]
    return np.concatenate([x for x in frames if x is not None], axis=-1)
