"""Errors of rollouts by how far ahead they look."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from paratime.world.model.base import Prediction

HORIZONS = (1, 5, 10, 20, 50)

LIMIT = 5.0
"""Error of a step, in standard deviations, above which a rollout has diverged."""


class ImaginationError(Metric):
    """nRMSE of imagined observations, and skill against persistence, by horizon.

    The nRMSE of a rollout at a step is the root of the mean square error of the observation, each
    number in units of its standard deviation in the training data. Over rollouts, ``nrmse@h`` is
    the root of the mean square, ``median@h`` the median (the lower one of two), ``persistence@h``
    the former of the last observation seen, and ``skill@h`` 1 minus the ratio of the two, unless
    all stays as it is.

    A rollout has ``diverged`` if at any step it left the range of the training data by a margin,
    its nRMSE is above five, or anything predicted is not finite. What is not finite is left out of
    means, and counts as infinite in medians; ``not_finite`` is its share of the rollouts.

    Args:
        horizon: Steps of a rollout.
        scale: Standard deviations, (O,).
    """

    full_state_update = False
    errors: list[Tensor]
    persistence: list[Tensor]
    diverged: Tensor
    not_finite: Tensor
    rollouts: Tensor

    def __init__(self, horizon: int, scale: Tensor) -> None:
        super().__init__()
        self.scale, self.horizons = (
            scale.detach().clone(),
            horizons_of(horizon) if len(scale) else [],
        )
        for name in ("errors", "persistence"):
            self.add_state(name, [], "cat")
        for name in ("diverged", "not_finite", "rollouts"):
            self.add_state(name, torch.zeros((), dtype=torch.long), "sum")

    def update(self, found: Prediction, truth: Tensor, start: Tensor, there: Tensor) -> None:
        """Add rollouts.

        Args:
            found: Prediction, (B, H, ...).
            truth: Observations, (B, H, O).
            start: The last observation seen, (B, O).
            there: Which steps there are, bool (B, H).
        """
        errors = step_errors(found.observation, truth, self.scale, there)
        stay = step_errors(start.unsqueeze(1), truth, self.scale, there)
        self.errors.append(at(self.horizons, errors))
        self.persistence.append(at(self.horizons, stay))
        broken = errors.isinf() | ~(found.reward.isfinite() & found.proceeds.isfinite())
        away = found.outside | (errors > LIMIT) | broken
        self.diverged = self.diverged + (away & there).any(1).sum()
        self.not_finite = self.not_finite + (broken & there).any(1).sum()
        self.rollouts = self.rollouts + there.any(1).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, of the horizons that there are."""
        count = self.rollouts.clamp(min=1)
        figures = {name: getattr(self, name) / count for name in ("diverged", "not_finite")}
        errors, stay = (joined(x, len(self.horizons)) for x in (self.errors, self.persistence))
        for column, h in enumerate(self.horizons):
            there = ~errors[:, column].isnan()
            if there.any():
                error, still = errors[there, column], stay[there, column]
                finite = error.isfinite()
                figures[f"nrmse@{h}"] = root(error[finite])
                figures[f"median@{h}"] = error.median()
                figures[f"persistence@{h}"] = root(still)
                if root(still[finite]) > 0:
                    figures[f"skill@{h}"] = 1 - root(error[finite]) / root(still[finite])
        return {name: x.float() for name, x in figures.items()}


class Sensitivity(Metric):
    """How many times larger errors are with the actions of other episodes, by horizon.

    Args:
        horizon: Steps of a rollout.
        scale: Standard deviations, (O,).
    """

    full_state_update = False
    true: list[Tensor]
    other: list[Tensor]

    def __init__(self, horizon: int, scale: Tensor) -> None:
        super().__init__()
        self.scale, self.horizons = (
            scale.detach().clone(),
            horizons_of(horizon) if len(scale) else [],
        )
        for name in ("true", "other"):
            self.add_state(name, [], "cat")

    def update(self, true: Tensor, other: Tensor, truth: Tensor, there: Tensor) -> None:
        """Add rollouts.

        Args:
            true: Observations imagined with the true actions, (B, H, O).
            other: Likewise with those of other episodes.
            truth: Observations, (B, H, O).
            there: Which steps both episodes have, bool (B, H).
        """
        for errors, guess in ((self.true, true), (self.other, other)):
            errors.append(at(self.horizons, step_errors(guess, truth, self.scale, there)))

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, of the horizons that there are."""
        figures = {}
        true, other = (joined(x, len(self.horizons)) for x in (self.true, self.other))
        for column, h in enumerate(self.horizons):
            both = true[:, column].isfinite() & other[:, column].isfinite()
            if both.any() and (error := root(true[both, column])) > 0:
                figures[f"sensitivity@{h}"] = (root(other[both, column]) / error).float()
        return figures


def horizons_of(horizon: int) -> list[int]:
    """Return the horizons of a rollout's figures, its last step among them."""
    return sorted({horizon, *(h for h in HORIZONS if h < horizon)})


def step_errors(guess: Tensor, truth: Tensor, scale: Tensor, there: Tensor) -> Tensor:
    """Return the nRMSE of each step, (B, H): nan where none is, infinite where it is not finite."""
    squares = ((guess - truth) / scale.to(truth)).square()
    errors = (squares.sum(-1) / max(1, len(scale))).sqrt()
    return torch.where(errors.isfinite(), errors, torch.inf).masked_fill(~there, torch.nan)


def at(horizons: list[int], errors: Tensor) -> Tensor:
    """Return errors (B, H) at some horizons, nan at those beyond the last step."""
    kept = errors.new_full((len(errors), len(horizons)), torch.nan)
    for column, h in enumerate(horizons):
        if h <= errors.shape[1]:
            kept[:, column] = errors[:, h - 1]
    return kept


def joined(parts: list[Tensor], count: int) -> Tensor:
    """Return what a metric has gathered, of all processes; (0, horizons) of nothing."""
    return dim_zero_cat(parts) if len(parts) else torch.zeros(0, count)


def root(errors: Tensor) -> Tensor:
    """Return the root of the mean square; infinite of nothing."""
    if not len(errors):
        return errors.new_tensor(torch.inf, dtype=torch.float64)
    return errors.double().square().mean().sqrt()
