"""Convolutional encoders and decoders of small images.

Both halve, or double, height and width while the smaller one stays at least four, with twice the
channels each time, as in DreamerV3 (arXiv 2301.04104). A kernel of four with stride two takes
height H to H // 2; the decoder restores the last row of an odd H, so that all sizes fit. Images are
bytes (..., H, W, C) in batches, floats in [0, 1] where they are imagined, and floats in
[-0.5, 0.5] inside the encoder. The decoder has no norms, which would take from each place how much
of its channels it shows, and begins at the mean colour of the training data.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.errors import InputError, check_at_least
from paratime.layers.norm import RMSNorm
from paratime.ops.precision import KeepsPrecision
from paratime.world.data.pixels import LEAST, is_channels_first

Shape = tuple[int, int, int]

WORTH = 500.0
"""Loss of images that are predicted as the mean colour, in nats: about what the squared error of
natural images of 64 by 64 pixels sums to in Dreamer. The latent then pays for what it says of them,
however sparse and small they are."""

USUAL = (0.5, 0.2)
"""Mean and deviation of images that a specification of version 0.1 does not have."""


class ImageEncoder(nn.Module):
    """Strided convolutions, each with a norm of its channels and SiLU.

    Args:
        shape: Height, width and channels of an image.
        width: Channels after the first convolution.

    Raises:
        InputError: The image is smaller than 8 by 8, or the width below 1.
    """

    def __init__(self, shape: Sequence[int], width: int = 8) -> None:
        super().__init__()
        sizes = pyramid_sizes(shape, width)
        channels = [size[-1] for size in sizes]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(channels))
        self.norms = nn.ModuleList(RMSNorm(count) for count in channels[1:])
        self.size = sizes[-1][0] * sizes[-1][1] * sizes[-1][2]

    def forward(self, image: Tensor) -> Tensor:
        """Return features (..., size) of images (..., H, W, C), bytes or floats in [0, 1]."""
        like = next(self.parameters())
        x = to_unit(image.reshape(-1, *image.shape[-3:]), like) - 0.5
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.silu(norm(_convolve(convolution, x)))
        return x.reshape(*image.shape[:-3], self.size)


class ImageDecoder(KeepsPrecision):
    """The inverse of the encoder: a projection to its smallest grid, and transposed convolutions.

    Args:
        shape: Height, width and channels of an image.
        inputs: Width of the code to decode.
        width: Channels before the last convolution.
        mean: Of each channel, or of all.

    Raises:
        InputError: As for the encoder.
    """

    mean: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        inputs: int,
        width: int = 8,
        mean: Sequence[float] | float = USUAL[0],
    ) -> None:
        super().__init__()
        sizes = pyramid_sizes(shape, width)[::-1]
        self.grid = sizes[0]
        self.project = nn.Linear(inputs, self.grid[0] * self.grid[1] * self.grid[2])
        self.norms = nn.ModuleList(nn.Identity() for _ in sizes[1:])
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(
                a[2], b[2], 4, 2, 1, output_padding=(b[0] - 2 * a[0], b[1] - 2 * a[1])
            )
            for a, b in pairwise(sizes)
        )
        for parameter in self.convolutions[-1].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_load_state_dict_pre_hook(_expect_norms)

    def forward(self, code: Tensor) -> Tensor:
        """Return images (..., H, W, C) of codes (..., inputs): floats that should be in [0, 1]."""
        x = self.project(code.to(self.project.weight)).view(-1, *self.grid)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            x = _convolve(convolution, functional.silu(norm(x)))
        return x.reshape(*code.shape[:-1], *x.shape[1:]) + self.mean


class Images(nn.Module):
    """Encoders and decoders of all images of an observation.

    Args:
        shapes: Height, width and channels by key.
        inputs: Width of the code to decode.
        width: Channels next to an image.
        moments: By key, the mean of each channel, and the standard deviation around these.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        inputs: int,
        width: int = 8,
        moments: Mapping[str, tuple[Sequence[float] | float, float]] | None = None,
    ) -> None:
        super().__init__()
        self.keys = [*shapes]
        known = [(moments or {}).get(key, USUAL) for key in shapes]
        self.spread = [spread for _, spread in known]
        encoders = [ImageEncoder(x, width) for x in shapes.values()]
        self.size = sum(encoder.size for encoder in encoders)
        self.encoders = nn.ModuleList(encoders)
        self.decoders = nn.ModuleList(
            ImageDecoder(x, inputs, width, mean)
            for x, (mean, _) in zip(shapes.values(), known, strict=True)
        )

    def features(self, rows: Mapping[str, Tensor]) -> list[Tensor]:
        """Return features (..., size of an encoder) of each image."""
        return [encoder(rows[k]) for k, encoder in zip(self.keys, self.encoders, strict=True)]

    def frames(self, code: Tensor) -> "LazyImages":
        """Return the images of codes (..., inputs), each decoded on access."""
        return LazyImages(dict(zip(self.keys, self.decoders, strict=True)), code)

    def errors(self, code: Tensor, rows: Mapping[str, Tensor]) -> Tensor:
        """Return squared errors (...,) of decoded images: ``WORTH`` for the mean colour of each."""
        errors = [
            ((decoder(code) - to_unit(rows[key], code)) / spread).square().mean((-1, -2, -3))
            for key, decoder, spread in zip(self.keys, self.decoders, self.spread, strict=True)
        ]
        return WORTH * torch.stack(errors).sum(0)


class LazyImages(Mapping[str, Tensor]):
    """Images by key, each decoded on access, because planning needs none.

    Args:
        decoders: By key.
        code: Their input, (..., inputs).
    """

    def __init__(self, decoders: Mapping[str, nn.Module], code: Tensor) -> None:
        self._decoders, self._code = decoders, code

    def __getitem__(self, key: str) -> Tensor:
        """Return images (..., H, W, C), floats in [0, 1]."""
        return self._decoders[key](self._code).clamp(0, 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoders)

    def __len__(self) -> int:
        return len(self._decoders)


def to_unit(image: Tensor, like: Tensor) -> Tensor:
    """Return bytes, or such floats, as floats in [0, 1], in the precision of another tensor."""
    scale = 1 if image.is_floating_point() else 255
    return image.to(like.dtype) / scale


def pyramid_sizes(shape: Sequence[int], width: int) -> list[Shape]:
    """Return the sizes (H, W, C) of an image, and of the outputs of all convolutions."""
    height, across, channels = shape
    if min(height, across) < LEAST:
        raise InputError(
            "image",
            expected=f"at least {LEAST} by {LEAST} pixels",
            got=f"{height} by {across}",
            remedy="enlarge it, or leave it out of the data"
            if is_channels_first(tuple(shape)) is None
            else "put its channels last: (H, W, C)",
        )
    check_at_least(1, image_width=width, channels=channels)
    sizes = [(height, across, channels)]
    while min(height, across) >= LEAST:
        height, across = height // 2, across // 2
        sizes.append((height, across, width))
        width *= 2
    return sizes


def _expect_norms(decoder: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Make room for the norms that decoders of version 0.1 have among their weights."""
    for place in range(len(decoder.norms)):
        weight = state.get(f"{prefix}norms.{place}.weight")
        decoder.norms[place] = nn.Identity() if weight is None else RMSNorm(len(weight))


def _convolve(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply one of torch's convolutions to channels-last images; nothing is copied around it."""
    return convolution(x.movedim(-1, 1)).movedim(1, -1)
