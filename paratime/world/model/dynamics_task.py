"""Training of the deterministic world model."""

from typing import Any

import torch
from torch import Tensor

from paratime.layers.encoder import Encoder
from paratime.training.base import AdamW
from paratime.world.model.base import State
from paratime.world.model.dynamics import DynamicsNetwork, Rollout
from paratime.world.model.rewards import MSE, RewardHead
from paratime.world.model.task import TrajectoryTask, entropy, mean, transitions


class DynamicsTask(TrajectoryTask):
    """A deterministic model of what comes of an action: the next observation, reward and end.

    Args:
        encoder: The encoder over observations and actions.
        trajectories: What the network must know of the data; the command line takes it from there.
        reward: How rewards are said.
        rollout: How rollouts go on: ``step`` feeds predictions back; ``solve`` reads nothing but
            actions, in one pass over time.
        use_action: Whether actions are read; without them it is an ablation.
        overshoot: Steps of the rollouts whose error is part of the loss; 0 for none.
        context: Rows that are seen before a rollout in validation.
        horizon: Steps of that rollout.
        optimizer: Optimiser and schedule.

    Raises:
        InputError: ``trajectories`` is missing.
    """

    network: DynamicsNetwork

    def __init__(
        self,
        encoder: Encoder,
        trajectories: dict[str, Any] | None = None,
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        rollout: Rollout = "step",
        use_action: bool = True,
        overshoot: int = 0,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(trajectories, overshoot, context, horizon, optimizer)
        self.save_plain_hyperparameters()
        self.network = DynamicsNetwork(encoder, self.trajectories, reward, rollout, use_action)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the head's numbers (B, L, O + 2) for all transitions of a batch."""
        return self.network(batch)[0]

    def losses(
        self, batch: dict[str, Tensor], state: State | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Return the sum of the errors of change and reward, and of the entropy of going on."""
        numbers, last = self.network(batch, state)
        change, reward, proceeds = self.network.parts(numbers)
        targets = self.network.targets(batch)
        errors = {
            "change": (change - targets[0]).square().mean(-1),
            "reward": self.network.reward_head.loss(reward, targets[1]),
            "proceeds": entropy(proceeds.squeeze(-1), targets[2]),
        }
        there = transitions(batch)
        parts = {name: mean(x, there) for name, x in errors.items()}
        return torch.stack([*parts.values()]).sum(), parts, last
