"""What a rollout is worth: how long it is valid, and whether it has the climate of the system."""

import torch
from torch import Tensor

LIMIT = 0.5
"""nRMSE up to which a rollout is valid, that of Vlachas et al. (2020, arXiv 1910.05266)."""


def valid_steps(errors: Tensor, limit: float = LIMIT) -> Tensor:
    """Return how many steps errors (N, H) stay up to a limit from the first one on, int (N,)."""
    return (errors <= limit).long().cumprod(1).sum(1)


def climate(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Compare what many steps have in common, wherever they are on the attractor.

    Args:
        found: Free-running trajectories, (N, H, O), finite.
        truth: As many of the system, of the same moments or of others.

    Returns:
        Means over the O numbers of: ``mean``, how far their means are apart; ``variance``, the
        ratio of found to true ones; ``histogram``, the Wasserstein distance of their values, which
        like ``mean`` is in standard deviations; ``spectrum``, the Hellinger distance of their power
        spectra, from 0 to 1 (as in Hess et al. 2023, arXiv 2306.04406).
    """
    found, truth = found.double(), truth.double()
    spread = truth.flatten(0, 1).std(0)
    means = (found.mean((0, 1)) - truth.mean((0, 1))).abs() / spread
    ratios = found.flatten(0, 1).var(0) / spread.square()
    figures = {
        "mean": means,
        "variance": ratios,
        "histogram": wasserstein(found, truth) / spread,
        "spectrum": hellinger(found, truth),
    }
    return {name: float(x.mean()) for name, x in figures.items()}


def wasserstein(found: Tensor, truth: Tensor) -> Tensor:
    """Return the distance of two samples (N, H, O) of each number, as many values in each, (O,)."""
    a, b = (x.flatten(0, 1).sort(0).values for x in (found, truth))
    return (a - b).abs().mean(0)


def hellinger(found: Tensor, truth: Tensor) -> Tensor:
    """Return the distance of the mean power spectra of trajectories (N, H, O), (O,)."""
    a, b = (spectrum(x) for x in (found, truth))
    return (1 - (a * b).sqrt().sum(0)).clamp(min=0).sqrt()


def spectrum(x: Tensor) -> Tensor:
    """Return the share of each frequency in the variance of trajectories (N, H, O), (F, O)."""
    power = torch.fft.rfft(x - x.mean((0, 1)), dim=1).abs().square().mean(0)
    return power / power.sum(0)
