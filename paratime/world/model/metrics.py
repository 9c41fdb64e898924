"""Errors of rollouts by how far ahead they look."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error
from torchmetrics.utilities import dim_zero_cat

from paratime.ops.precision import KeepsPrecision, precise
from paratime.world.data.episode import KNOWN
from paratime.world.model.base import Prediction
from paratime.world.model.images import to_unit

HORIZONS = (1, 5, 10, 20, 50)

FEW = 10
"""Rollouts below which a figure says little."""

LIMIT = 5.0
"""Error of a step, in standard deviations, above which a rollout has diverged."""


class ImaginationError(KeepsPrecision, Metric):
    """nRMSE of imagined observations, and skill against persistence, by horizon.

    The nRMSE of a rollout at a step is the root mean square error of the observation, each value in
    units of its standard deviation in the training data. Over rollouts, ``nrmse@h`` is the root of
    the mean square, ``median@h`` the median (the lower one of two), ``persistence@h`` the former of
    the last observation seen, and ``skill@h`` 1 minus the ratio of the two, unless nothing changes.
    ``rollouts@h`` is how many there are.

    A rollout has ``diverged`` if at any step it left the range of the training data by a margin,
    its nRMSE is above five, or a prediction is not finite. Values that are not finite are left out
    of means, and count as infinite in medians; ``not_finite`` is their share of the rollouts.

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
        self.scale, self.horizons = scale.detach().clone(), _vector_horizons(horizon, scale)
        for name in ("errors", "persistence"):
            self.add_state(name, [], "cat")
        for name in ("diverged", "not_finite", "rollouts"):
            self.add_state(name, torch.zeros((), dtype=torch.long), "sum")

    def update(self, found: Prediction, truth: Tensor, start: Tensor, valid: Tensor) -> None:
        """Add rollouts.

        Args:
            found: Prediction, (B, H, ...).
            truth: Observations, (B, H, O).
            start: The last observation seen, (B, O).
            valid: Which steps exist, bool (B, H).
        """
        errors = step_errors(found.observation, truth, self.scale, valid)
        stay = step_errors(start.unsqueeze(1), truth, self.scale, valid)
        self.errors.append(_at(self.horizons, errors))
        self.persistence.append(_at(self.horizons, stay))
        broken = errors.isinf() | ~(found.reward.isfinite() & found.cont.isfinite())
        away = found.outside | (errors > LIMIT) | broken
        self.diverged = self.diverged + (away & valid).any(1).sum()
        self.not_finite = self.not_finite + (broken & valid).any(1).sum()
        self.rollouts = self.rollouts + valid.any(1).sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, for the horizons that were reached."""
        count = self.rollouts.clamp(min=1)
        figures = {name: getattr(self, name) / count for name in ("diverged", "not_finite")}
        errors, stay = (_gathered(x, len(self.horizons)) for x in (self.errors, self.persistence))
        for column, h in enumerate(self.horizons):
            valid = ~errors[:, column].isnan()
            if valid.any():
                error, still = errors[valid, column], stay[valid, column]
                finite = error.isfinite()
                figures[f"rollouts@{h}"] = valid.sum()
                figures[f"nrmse@{h}"] = _rms(error[finite])
                figures[f"median@{h}"] = error.median()
                figures[f"persistence@{h}"] = _rms(still)
                if _rms(still[finite]) > 0:
                    figures[f"skill@{h}"] = 1 - _rms(error[finite]) / _rms(still[finite])
        return {name: x.float() for name, x in figures.items()}


class Sensitivity(KeepsPrecision, Metric):
    """How many times larger errors are with the actions of other episodes, by horizon.

    ``pairs@h`` is how many rollouts have the actions of another one.

    Args:
        horizon: Steps of a rollout.
        scale: Standard deviations, (O,).
    """

    full_state_update = False
    true: list[Tensor]
    other: list[Tensor]

    def __init__(self, horizon: int, scale: Tensor) -> None:
        super().__init__()
        self.scale, self.horizons = scale.detach().clone(), _vector_horizons(horizon, scale)
        for name in ("true", "other"):
            self.add_state(name, [], "cat")

    def update(self, true: Tensor, other: Tensor, truth: Tensor, valid: Tensor) -> None:
        """Add rollouts.

        Args:
            true: Observations imagined with the true actions, (B, H, O).
            other: Likewise with those of other episodes.
            truth: Observations, (B, H, O).
            valid: Which steps both episodes have, bool (B, H).
        """
        for errors, guess in ((self.true, true), (self.other, other)):
            errors.append(_at(self.horizons, step_errors(guess, truth, self.scale, valid)))

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, for the horizons that were reached."""
        figures = {}
        true, other = (_gathered(x, len(self.horizons)) for x in (self.true, self.other))
        for column, h in enumerate(self.horizons):
            both = true[:, column].isfinite() & other[:, column].isfinite()
            if both.any() and (error := _rms(true[both, column])) > 0:
                figures[f"pairs@{h}"] = both.sum().float()
                figures[f"sensitivity@{h}"] = (_rms(other[both, column]) / error).float()
        return figures


def known_rows(batch: Mapping[str, Tensor]) -> Tensor:
    """Return which rows (B, R) have an observation; all, unless the data say otherwise."""
    return batch[KNOWN] if KNOWN in batch else torch.ones_like(batch["mask"])


def describe_few(scores: Mapping[str, Tensor]) -> str | None:
    """Return a line on figures of few rollouts, None if all are of enough."""
    counts = [
        (int(name.partition("@")[2]), int(x))
        for name, x in scores.items()
        if name.startswith(("rollouts@", "pairs@", "image_rollouts@")) and x < FEW
    ]
    if not counts:
        return None
    least = {h: min(count for other, count in counts if other == h) for h, _ in sorted(counts)}
    parts = ", ".join(f"{count} of {h} steps" for h, count in least.items())
    return f"warning: figures of fewer than {FEW} rollouts say little: {parts}"


def horizons_of(horizon: int) -> list[int]:
    """Return the horizons at which a rollout is scored, including its last step."""
    return sorted({horizon, *(h for h in HORIZONS if h < horizon)})


def _vector_horizons(horizon: int, scale: Tensor) -> list[int]:
    return horizons_of(horizon) if len(scale) else []


def step_errors(guess: Tensor, truth: Tensor, scale: Tensor, valid: Tensor) -> Tensor:
    """Return the nRMSE of each step, (B, H): nan where invalid, infinite where not finite."""
    guess, truth = precise(guess), precise(truth)
    squares = ((guess - truth) / scale.to(truth)).square()
    errors = (squares.sum(-1) / max(1, len(scale))).sqrt()
    return torch.where(errors.isfinite(), errors, torch.inf).masked_fill(~valid, torch.nan)


def _at(horizons: list[int], errors: Tensor) -> Tensor:
    """Return errors (B, H) at some horizons, nan at those after the last step."""
    kept = errors.new_full((len(errors), len(horizons)), torch.nan)
    for column, h in enumerate(horizons):
        if h <= errors.shape[1]:
            kept[:, column] = errors[:, h - 1]
    return kept


def _gathered(parts: list[Tensor], count: int) -> Tensor:
    """Return the errors of all processes, (rollouts, horizons)."""
    return dim_zero_cat(parts) if len(parts) else torch.zeros(0, count)


def _rms(errors: Tensor) -> Tensor:
    """Return the root mean square, infinite of no errors."""
    if not len(errors):
        return errors.new_tensor(torch.inf, dtype=torch.float64)
    return errors.double().square().mean().sqrt()


class ImageError(KeepsPrecision, Metric):
    """Mean square error of imagined images, and skill against persistence, by horizon.

    ``image_mse@h`` is that of pixels in [0, 1]; ``image_psnr@h`` is the same in decibels, 10 log10
    of its inverse; ``image_skill@h`` is 1 minus the ratio of its root to that of the last image
    seen. ``image_rollouts@h`` is how many images there are, of all keys.

    Args:
        horizon: Steps of a rollout.
    """

    full_state_update = False
    total: Tensor
    persistence: Tensor
    count: Tensor

    def __init__(self, horizon: int) -> None:
        super().__init__()
        for name in ("total", "persistence", "count"):
            self.add_state(name, torch.zeros(horizon, dtype=torch.float64), "sum")

    def update(
        self, images: Mapping[str, Tensor], batch: Mapping[str, Tensor], context: int
    ) -> None:
        """Add rollouts.

        Args:
            images: Imagined, by key, (B, H, ...).
            batch: Whole episodes, padded: images by key, bytes (B, R, ...), and ``mask``.
            context: Rows that were seen, as for ``open_loop``.
        """
        for key in images:
            guess, rows = precise(images[key]), batch[key]
            begin = min(context, rows.shape[1] - 1)
            end = begin + guess.shape[1]
            truth, start = (
                to_unit(x, guess) for x in (rows[:, begin:end], rows[:, begin - 1, None])
            )
            valid = (batch["mask"] & known_rows(batch))[:, begin:end]
            for name, frames in (("total", guess), ("persistence", start)):
                square = (frames - truth).square().mean((-3, -2, -1)).double()
                self._add(name, torch.where(valid, square, 0.0).sum(0))
            self._add("count", valid.sum(0))

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, for the horizons that were reached."""
        figures = {}
        for h in horizons_of(len(self.count)):
            if (count := self.count[h - 1]) > 0:
                error, persistence = self.total[h - 1] / count, self.persistence[h - 1] / count
                figures[f"image_rollouts@{h}"] = count.float()
                figures[f"image_mse@{h}"] = error.float()
                figures[f"image_psnr@{h}"] = -10 * error.clamp(min=1e-12).log10().float()
                if persistence > 0:
                    figures[f"image_skill@{h}"] = (1 - (error / persistence).sqrt()).float()
        return figures

    def _add(self, name: str, values: Tensor) -> None:
        state = getattr(self, name).clone()
        state[: len(values)] += values
        setattr(self, name, state)


class RewardError(KeepsPrecision, Metric):
    """nRMSE of all finite rewards of rollouts: ``reward_nrmse``, of ``reward_steps``.

    Args:
        scale: Standard deviation of rewards in the training data.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        for name in ("total", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), "sum")

    def update(self, found: Tensor, truth: Tensor, valid: Tensor) -> None:
        """Add rewards (B, H), and which of them exist."""
        good = valid & found.isfinite()
        errors = (found[good].double() - truth[good]) / self.scale
        self.total = self.total + errors.square().sum()
        self.count = self.count + good.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the figure by name, if there are rewards."""
        if not self.count:
            return {}
        error = (self.total / self.count).sqrt().float()
        return {"reward_nrmse": error, "reward_steps": self.count.float()}


class Continuation(KeepsPrecision, Metric):
    """How well rollouts predict whether the episode continues, over all finite steps.

    ``cont_auroc`` is the chance that a step after which the episode continues is ranked above one
    that ends it, left out where all continue, or none does; ``calibration`` is the mean distance of
    the probability in 15 equal bins from the share that did continue. ``ends`` is how many steps
    end an episode.
    """

    full_state_update = False
    chance: list[Tensor]
    truth: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("chance", "truth"):
            self.add_state(name, [], "cat")

    def update(self, found: Tensor, truth: Tensor, valid: Tensor) -> None:
        """Add probabilities (B, H), whether the episode continued, and which steps exist."""
        good = valid & found.isfinite()
        self.chance.append(precise(found[good]))
        self.truth.append(truth[good])

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, if there are steps."""
        if not len(self.chance):
            return {}
        chance, truth = dim_zero_cat(self.chance), dim_zero_cat(self.truth).long()
        figures = {}
        if len(chance):
            figures["calibration"] = binary_calibration_error(chance, truth)
            figures["ends"] = (1 - truth).sum().float()
        if 0 < truth.sum() < len(truth):
            figures["cont_auroc"] = binary_auroc(chance, truth)
        return figures
