"""A few episodes beside what was imagined of them, with a band of what else could have been."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from paratime.world.model.base import WorldModel
from paratime.world.model.rollout import imagined, split

OUTER = 0.05
"""Share of the samples that lie below a band, and above it."""


@dataclass(frozen=True)
class Scenes:
    """Episodes to draw, in the units of the environment.

    Attributes:
        seen: Observations before imagination begins, (N, C, O), nan behind the end of an episode.
        truth: Observations, (N, H, O), nan likewise.
        imagined: Observations, (N, H, O), nan likewise.
        band: The least and the greatest that is plausible, (N, H, O) each, or None.
        names: What the imagined observations are, and the band.
        images: By key, true and imagined images in [0, 1], (N, H, h, w, C) each.
        steps: Steps of each episode, int (N,).
    """

    seen: Tensor
    truth: Tensor
    imagined: Tensor
    band: tuple[Tensor, Tensor] | None
    names: tuple[str, str]
    images: dict[str, tuple[Tensor, Tensor]]
    steps: Tensor


@torch.no_grad()
def scenes_of(
    networks: Sequence[WorldModel],
    batch: dict[str, Tensor],
    context: int,
    horizon: int,
    samples: int = 16,
) -> Scenes:
    """Imagine what comes behind a context.

    Of several models the mean is drawn, and the range of all; of one that is stochastic the
    rollout of expected latents, and the middle nine tenths of samples, always the same ones.

    Args:
        networks: The model, or an ensemble.
        batch: Whole episodes, one a row, padded.
        context: Rows that are seen.
        horizon: Steps of the rollout, at most.
        samples: Of a stochastic model that stands alone.
    """
    found, truth, _, there = imagined(networks[0], batch, context, horizon)
    middle, band, names = found.observation, None, ("imagined", "")
    if len(networks) > 1:
        others = [imagined(x, batch, context, horizon)[0].observation for x in networks[1:]]
        members = torch.stack([middle, *others])
        middle, band = members.mean(0), (members.amin(0), members.amax(0))
        names = f"mean of {len(networks)} models", "their range"
    elif networks[0].stochastic and samples > 1 and middle.shape[-1]:
        members = drawn(networks[0], batch, context, horizon, samples)
        low, high = (members.float().quantile(q, dim=0) for q in (OUTER, 1 - OUTER))
        band, names = (low, high), ("imagined", f"{1 - 2 * OUTER:.0%} of {samples} samples")
    seen, rows = split(batch, context, horizon)
    pairs = {key: (rows[key] / 255, x) for key, x in found.images.items()}
    return Scenes(
        drawable(seen["observation"], seen["mask"]),
        drawable(truth, there),
        drawable(middle, there),
        None if band is None else (drawable(band[0], there), drawable(band[1], there)),
        names,
        {key: (drawable(true), drawable(x)) for key, (true, x) in pairs.items()},
        there.sum(1).cpu(),
    )


def drawable(values: Tensor, there: Tensor | None = None) -> Tensor:
    """Return values as they can be drawn: on the processor, in single precision, else nan."""
    if there is not None:
        values = values.masked_fill(~there.unsqueeze(-1), torch.nan)
    return values.float().cpu()


def drawn(
    network: WorldModel, batch: dict[str, Tensor], context: int, horizon: int, samples: int
) -> Tensor:
    """Return observations (samples, N, H, O) of a stochastic model; random numbers stay theirs."""
    many = {key: x.repeat_interleave(samples, 0) for key, x in batch.items()}
    where = many["observation"].device
    with torch.random.fork_rng([where] if where.type == "cuda" else []), sampling(network):
        torch.manual_seed(0)
        found = imagined(network, many, context, horizon)[0].observation
    return found.unflatten(0, (-1, samples)).transpose(0, 1)


@contextmanager
def sampling(network: WorldModel) -> Iterator[None]:
    """Let a model draw samples instead of going on from expected latents."""
    network.sampling = True
    try:
        yield
    finally:
        network.sampling = False
