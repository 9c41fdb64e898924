"""How far ahead a model can be trusted: open-loop rollouts, compared with the true episodes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from paratime.world.data.episode import VECTOR, WINDOW
from paratime.world.data.spec import TrajectorySpec
from paratime.world.model.base import Prediction, WorldModel
from paratime.world.model.metrics import (
    Continuation,
    ImageError,
    ImaginationError,
    RewardError,
    Sensitivity,
    known_rows,
)


@dataclass(frozen=True)
class OpenLoop:
    """A rollout of true actions that reads no observation after its context.

    Attributes:
        prediction: (B, H, ...).
        truth: True observations, (B, H, O).
        start: The last observation of the context, (B, O).
        valid: Which steps the episodes have, bool (B, H).
        known: Those whose observation is known, bool (B, H).
    """

    prediction: Prediction
    truth: Tensor
    start: Tensor
    valid: Tensor
    known: Tensor


def open_loop(
    network: WorldModel, batch: dict[str, Tensor], *, context: int, horizon: int
) -> OpenLoop:
    """Roll out the true actions after a context.

    Args:
        network: The model.
        batch: Whole episodes, one a row, padded: (B, R, ...).
        context: Rows that are seen; the rollout starts from the last of them.
        horizon: Steps of the rollout, at most.
    """
    seen, rows = split_context(batch, context, horizon)
    keys = (VECTOR, *network.images)
    state = None
    if seen["mask"].shape[1] > 1:
        state = network({key: seen[key] for key in (*keys, "prev_action", "is_first")})[1]
    start = {key: seen[key][:, -1] for key in keys}
    found = network.imagine(start, rows["prev_action"], state)[0]
    about = {"valid": rows["mask"], "known": rows["mask"] & known_rows(rows)}
    return OpenLoop(found, truth=rows[VECTOR], start=start[VECTOR], **about)


def split_context(
    batch: dict[str, Tensor], context: int, horizon: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the rows that are seen, and those that are imagined, at least one of each."""
    context = min(context, batch["mask"].shape[1] - 1)
    rows = {key: x for key, x in batch.items() if key not in WINDOW}
    seen = {key: x[:, :context] for key, x in rows.items()}
    return seen, {key: x[:, context : context + horizon] for key, x in rows.items()}


def swap_actions(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return episodes with the actions of the next one in the batch."""
    return batch | {"prev_action": batch["prev_action"].roll(1, 0)}


class RolloutScores(nn.Module):
    """All scores of rollouts: errors by horizon, of rewards and of ends, and sensitivity.

    Args:
        spec: The training data, whose moments are the units.
        horizon: Steps of a rollout.
    """

    def __init__(self, spec: TrajectorySpec, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon
        scale = torch.tensor(spec.moments.observation[1])
        self.errors = ImaginationError(horizon, scale)
        self.sensitivity = Sensitivity(horizon, scale)
        self.reward = RewardError(spec.moments.reward[1][0])
        self.cont = Continuation()
        self.images = ImageError(horizon)

    def update(self, network: WorldModel, batch: dict[str, Tensor], context: int) -> None:
        """Add rollouts of whole episodes, padded, after a context."""
        lengths = {"context": context, "horizon": self.horizon}
        rollout = open_loop(network, batch, **lengths)
        found, truth, valid = rollout.prediction, rollout.truth, rollout.valid
        rows = split_context(batch, **lengths)[1]
        self.errors.update(found, truth, start=rollout.start, valid=rollout.known)
        self.reward.update(found.reward, rows["prev_reward"], valid)
        self.cont.update(found.cont, ~rows["is_terminal"], valid)
        self.images.update(found.images, batch, context)
        other = open_loop(network, swap_actions(batch), **lengths).prediction.observation
        both = rollout.known & valid.roll(1, 0) & (len(valid) > 1)
        self.sensitivity.update(found.observation, other, truth=truth, valid=both)

    def compute(self) -> dict[str, Tensor]:
        """Return the figures by name."""
        return {name: x for metric in self._metrics() for name, x in metric.compute().items()}

    def reset(self) -> None:
        """Forget all rollouts."""
        for metric in self._metrics():
            metric.reset()

    def _metrics(self) -> tuple[Metric, ...]:
        return self.errors, self.sensitivity, self.reward, self.cont, self.images
