"""Images in the layouts that environments and files have them in."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paratime.errors import InputError
from paratime.world.data.episode import Layout, align_episode, make_episode, observation_row
from paratime.world.data.pixels import as_images
from paratime.world.model.images import ImageEncoder

few = settings(deadline=None, max_examples=25, derandomize=True)
SIDES = st.integers(16, 40)
CHANNELS = st.sampled_from([1, 2, 3, 4, 6, 8, 9, 12])
AS = {
    "last": lambda x: x,
    "first": lambda x: x.transpose(0, 3, 1, 2),
    "stacked": lambda x: np.stack([x, x[::-1]], axis=1),
    "stacked first": lambda x: np.stack([x, x[::-1]], axis=1).transpose(0, 1, 4, 2, 3),
    "stacked last": lambda x: np.stack([x, x[::-1]], axis=-1),
}


def frames(*shape):
    return np.random.default_rng(0).integers(256, size=(3, *shape)).astype(np.uint8)


def read(rows):
    """Return the images of an episode, if they are read as such, and check a single row."""
    episode = make_episode("e", rows, [[0.0]] * 2, [0.0] * 2, False)
    (found,) = episode.observation.values()
    aligned = align_episode(episode, Layout.of([episode]))
    for t, one in enumerate(rows):
        row = observation_row(one)
        for key, x in row.items():
            assert np.array_equal(x, aligned[key][t]) and torch.from_numpy(x).is_contiguous()
    return found if found.dtype == np.uint8 else None


@pytest.mark.parametrize("layout", AS)
@few
@given(SIDES, SIDES, CHANNELS)
def test_bytes_in_any_layout_are_images_with_channels_last(layout, height, width, channels):
    expected = frames(height, width, channels)
    found = read(AS[layout](expected))
    if layout.startswith("stacked"):
        expected = np.concatenate([expected, expected[::-1]], axis=-1)
    np.testing.assert_array_equal(found, expected)


REPORTED = {
    (12, 32, 32): (32, 32, 12),
    (8, 84, 84): (84, 84, 8),
    (4, 84, 84): (84, 84, 4),
    (3, 32, 32): (32, 32, 3),
    (4, 96, 96, 3): (96, 96, 12),
    (64, 64, 3): (64, 64, 3),
    (84, 84, 8): (84, 84, 8),
    (12, 12, 32): (12, 12, 32),
    (9, 64, 48): (64, 48, 9),
    (32, 32): (32, 32, 1),
    (9, 8, 3): (9, 8, 3),
    (15, 70, 2): (15, 70, 2),
}


@pytest.mark.parametrize("shape", REPORTED, ids=str)
def test_shapes_of_bytes(shape):
    assert read(frames(*shape)).shape[1:] == REPORTED[shape]


@pytest.mark.parametrize("shape", [(7, 7, 3), (5,), (6, 7), (3, 32, 3), ()], ids=str)
def test_small_bytes_are_numbers(shape):
    assert read(frames(*shape)) is None


@few
@given(SIDES, SIDES, st.sampled_from([None, 1, 3, 4]), st.sampled_from(["last", "first"]))
def test_floats_in_unit_range_are_the_same_images(height, width, channels, layout):
    whole = frames(height, width, *([] if channels is None else [channels]))
    rows = whole if channels is None else AS[layout](whole)
    found = read((rows / 255).astype(np.float32))
    np.testing.assert_array_equal(found, whole if channels else whole[..., None])


@pytest.mark.parametrize("shape", [(10, 12), (3,), (4, 5, 6)], ids=str)
def test_small_floats_are_numbers(shape):
    assert read(np.random.default_rng(0).random((3, *shape))) is None


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 255)])
def test_colours_in_another_range_are_asked_for(low, high):
    rows = np.linspace(low, high, 3 * 32 * 32 * 3).reshape(3, 32, 32, 3)
    pattern = r"observation of e: .*floats in \[0, 1\].*got float64 from .*; scale them or store"
    with pytest.raises(InputError, match=pattern):
        read(rows)
    with pytest.raises(InputError, match="int64 from 0 to 2"):
        as_images(np.arange(3)[:, None, None, None] * np.ones((1, 32, 32, 3), int), "x")
    assert as_images(np.arange(3)[:, None, None] * np.ones((1, 32, 32), int), "x") is None


def test_an_imagined_image_is_read_as_the_same_bytes():
    encoder = ImageEncoder((16, 12, 3), 2)
    image = torch.from_numpy(frames(16, 12, 3))
    assert torch.equal(encoder(image), encoder(image.float() / 255))


def test_the_remedy_for_channels_first_is_to_move_them():
    with pytest.raises(InputError, match="got 3 by 32; put its channels last"):
        ImageEncoder((3, 32, 32))
    with pytest.raises(InputError, match="got 7 by 9; enlarge it"):
        ImageEncoder((7, 9, 3))
