"""Errors of imagined rewards and ends of episodes."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error
from torchmetrics.utilities import dim_zero_cat


class RewardError(Metric):
    """nRMSE of the rewards of all steps of rollouts that are finite: ``reward_nrmse``.

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

    def update(self, found: Tensor, truth: Tensor, there: Tensor) -> None:
        """Add rewards (B, H), and which there are."""
        good = there & found.isfinite()
        errors = (found[good].double() - truth[good]) / self.scale
        self.total = self.total + errors.square().sum()
        self.count = self.count + good.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the figure by name, if there are rewards."""
        if not self.count:
            return {}
        return {"reward_nrmse": (self.total / self.count).sqrt().float()}


class Continuation(Metric):
    """How well rollouts know whether the episode goes on, over all steps that are finite.

    ``proceeds_auroc`` is the chance that a step that goes on is ranked above one that does not,
    left out where all go on, or none; ``calibration`` the mean distance of the probability in 15
    equal bins from the share that did go on.
    """

    full_state_update = False
    chance: list[Tensor]
    truth: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("chance", "truth"):
            self.add_state(name, [], "cat")

    def update(self, found: Tensor, truth: Tensor, there: Tensor) -> None:
        """Add probabilities (B, H), whether the episode went on, and which there are."""
        good = there & found.isfinite()
        self.chance.append(found[good])
        self.truth.append(truth[good])

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, if there are steps."""
        if not len(self.chance):
            return {}
        chance, truth = dim_zero_cat(self.chance), dim_zero_cat(self.truth).long()
        figures = {}
        if len(chance):
            figures["calibration"] = binary_calibration_error(chance, truth)
        if 0 < truth.sum() < len(truth):
            figures["proceeds_auroc"] = binary_auroc(chance, truth)
        return figures
