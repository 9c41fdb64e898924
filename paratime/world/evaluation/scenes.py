"""A few episodes and what was imagined of them, with a band of plausible outcomes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from paratime.world.data.episode import VECTOR
from paratime.world.model.base import Prediction, WorldModel
from paratime.world.model.images import to_unit
from paratime.world.model.rollout import open_loop, split_context

OUTER = 0.05
"""Share of the samples below a band, and above it."""


@dataclass(frozen=True)
class Scenes:
    """Episodes to draw, in the units of the environment.

    Attributes:
        seen: Values of observations, and the reward, before imagination begins, (N, C, O + 1),
            nan after the end of an episode.
        truth: The same while it lasts, (N, H, O + 1), nan likewise.
        imagined: (N, H, O + 1), nan likewise.
        band: The lowest and the highest plausible values, (N, H, O + 1) each, or None.
        names: Labels of the imagined observations and of the band.
        images: By key, true and imagined images in [0, 1], (N, H, h, w, C) each.
        steps: Steps of each episode, int (N,).
        labels: Names of the values, O + 1.
    """

    seen: Tensor
    truth: Tensor
    imagined: Tensor
    band: tuple[Tensor, Tensor] | None
    names: tuple[str, str]
    images: dict[str, tuple[Tensor, Tensor]]
    steps: Tensor
    labels: Sequence[str]


@torch.no_grad()
def make_scenes(
    networks: Sequence[WorldModel],
    batch: dict[str, Tensor],
    *,
    context: int,
    horizon: int,
    samples: int = 16,
) -> Scenes:
    """Imagine what follows a context.

    For several models, the mean and the range of all of them are drawn. For one stochastic model,
    the rollout of expected latents is drawn, and the middle nine tenths of samples, which are the
    same in each call.

    Args:
        networks: The model, or an ensemble.
        batch: Whole episodes, one a row, padded.
        context: Rows that are seen.
        horizon: Steps of the rollout, at most.
        samples: Rollouts of a single stochastic model.
    """
    lengths = {"context": context, "horizon": horizon}
    rollout = open_loop(networks[0], batch, **lengths)
    middle, valid = _values(rollout.prediction), rollout.valid
    band, names = None, ("imagined", "")
    if len(networks) > 1:
        others = [_values(open_loop(x, batch, **lengths).prediction) for x in networks[1:]]
        members = torch.stack([middle, *others])
        middle, band = members.mean(0), (members.amin(0), members.amax(0))
        names = f"mean of {len(networks)} models", "their range"
    elif networks[0].stochastic and samples > 1:
        members = sample_rollouts(networks[0], batch, samples=samples, **lengths).float()
        band = members.quantile(OUTER, dim=0), members.quantile(1 - OUTER, dim=0)
        names = "imagined", f"{1 - 2 * OUTER:.0%} of {samples} samples"
    seen, rows = split_context(batch, context, horizon)
    images = rollout.prediction.images
    return Scenes(
        seen=_with_reward(seen, seen["mask"]),
        truth=_with_reward(rows, rollout.known),
        imagined=_plottable(middle, valid),
        band=None if band is None else (_plottable(band[0], valid), _plottable(band[1], valid)),
        names=names,
        images={
            key: (_plottable(to_unit(rows[key], x)), _plottable(x)) for key, x in images.items()
        },
        steps=valid.sum(1).cpu(),
        labels=networks[0].labels,
    )


def _values(found: Prediction) -> Tensor:
    """Return observations and rewards side by side, (..., O + 1)."""
    return torch.cat([found.observation, found.reward.unsqueeze(-1)], dim=-1)


def _with_reward(rows: dict[str, Tensor], known: Tensor) -> Tensor:
    """Return the same of rows, nan where they are not known; nothing led to a first row."""
    reward = rows["prev_reward"].masked_fill(~rows["mask"] | rows["is_first"], torch.nan)
    vector = _plottable(rows[VECTOR], known)
    return torch.cat([vector, reward.float().cpu().unsqueeze(-1)], dim=-1)


def _plottable(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return values in single precision on the CPU, nan where they are invalid."""
    if valid is not None:
        values = values.masked_fill(~valid.unsqueeze(-1), torch.nan)
    return values.float().cpu()


def sample_rollouts(
    network: WorldModel, batch: dict[str, Tensor], *, context: int, horizon: int, samples: int
) -> Tensor:
    """Return observations and rewards (samples, N, H, O + 1) of a stochastic model.

    The state of the global random number generators does not change.
    """
    many = {key: x.repeat_interleave(samples, 0) for key, x in batch.items()}
    device = many[VECTOR].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), sampling(network):
        torch.manual_seed(0)
        rollout = open_loop(network, many, context=context, horizon=horizon)
    return _values(rollout.prediction).unflatten(0, (-1, samples)).transpose(0, 1)


@contextmanager
def sampling(network: WorldModel) -> Iterator[None]:
    """Let a model draw samples instead of using expected latents."""
    network.sampling = True
    try:
        yield
    finally:
        network.sampling = False
