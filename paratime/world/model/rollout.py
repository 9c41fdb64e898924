"""How far ahead a model can be trusted: rollouts that feed themselves, beside what happened."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from paratime.world.data.episode import WINDOW
from paratime.world.model.base import Prediction, WorldModel
from paratime.world.model.image_error import ImageError
from paratime.world.model.metrics import ImaginationError, Sensitivity
from paratime.world.model.outcomes import Continuation, RewardError


def imagined(
    network: WorldModel, batch: dict[str, Tensor], context: int, horizon: int
) -> tuple[Prediction, Tensor, Tensor, Tensor]:
    """Roll out the true actions behind a context.

    Args:
        network: The model.
        batch: Whole episodes, one a row, padded: (B, R, ...).
        context: Rows that are seen; the rollout goes on from the last of them.
        horizon: Steps of the rollout, at most.

    Returns:
        Prediction (B, H, ...), true observations (B, H, O), the last one seen (B, O), and which
        steps there are, bool (B, H), where H is at most ``horizon``.
    """
    seen, rows = split(batch, context, horizon)
    state = None
    if seen["mask"].shape[1] > 1:
        read = ("observation", *network.images, "prev_action", "is_first")
        state = network({key: seen[key] for key in read})[1]
    start = {key: seen[key][:, -1] for key in ("observation", *network.images)}
    found = network.imagine(start, rows["prev_action"], state)[0]
    return found, rows["observation"], start["observation"], rows["mask"]


def split(
    batch: dict[str, Tensor], context: int, horizon: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the rows that are seen, and those that are imagined, at least one of each."""
    context = min(context, batch["mask"].shape[1] - 1)
    rows = {key: x for key, x in batch.items() if key not in WINDOW}
    seen = {key: x[:, :context] for key, x in rows.items()}
    return seen, {key: x[:, context : context + horizon] for key, x in rows.items()}


def with_actions_of_others(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return episodes with the actions of the next one in the batch."""
    return batch | {"prev_action": batch["prev_action"].roll(1, 0)}


class RolloutScores(nn.Module):
    """All figures of rollouts: errors by horizon, of rewards and of ends, and sensitivity.

    Args:
        trajectories: What the training data says of itself, whose moments are the units.
        horizon: Steps of a rollout.
    """

    def __init__(self, trajectories: dict[str, Any], horizon: int) -> None:
        super().__init__()
        moments, self.horizon = trajectories["moments"], horizon
        scale = torch.tensor(moments["observation"][1])
        self.errors = ImaginationError(horizon, scale)
        self.sensitivity = Sensitivity(horizon, scale)
        self.reward = RewardError(moments["reward"][1][0])
        self.proceeds = Continuation()
        self.images = ImageError(horizon)

    def update(self, network: WorldModel, batch: dict[str, Tensor], context: int) -> None:
        """Add rollouts of whole episodes, padded, behind a context."""
        found, truth, start, there = imagined(network, batch, context, self.horizon)
        rows = split(batch, context, self.horizon)[1]
        self.errors.update(found, truth, start, there)
        self.reward.update(found.reward, rows["prev_reward"], there)
        self.proceeds.update(found.proceeds, ~rows["is_terminal"], there)
        self.images.update(found.images, batch, context)
        others = with_actions_of_others(batch)
        other = imagined(network, others, context, self.horizon)[0].observation
        both = there & there.roll(1, 0) & (len(there) > 1)
        self.sensitivity.update(found.observation, other, truth, both)

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name, of what there is."""
        return {name: x for metric in self._metrics() for name, x in metric.compute().items()}

    def reset(self) -> None:
        """Forget all rollouts."""
        for metric in self._metrics():
            metric.reset()

    def _metrics(self) -> tuple[Metric, ...]:
        return self.errors, self.sensitivity, self.reward, self.proceeds, self.images
