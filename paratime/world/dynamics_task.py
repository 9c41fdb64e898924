"""Training of the deterministic world model."""

from typing import Any

import torch
from torch import Tensor

from paratime.layers.encoder import Encoder
from paratime.task import AdamW
from paratime.world.dynamics import DynamicsNetwork
from paratime.world.task import TrajectoryTask, entropy, mean, transitions


class DynamicsTask(TrajectoryTask):
    """A deterministic model of what comes of an action: the next observation, reward and end.

    Args:
        encoder: The encoder over observations and actions.
        trajectories: What the network must know of the data; the command line takes it from there.
        use_action: Whether actions are read; without them it is an ablation.
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
        use_action: bool = True,
        context: int = 10,
        horizon: int = 50,
        optimizer: AdamW = AdamW(lr=1e-3, weight_decay=0.01),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__(trajectories, context, horizon, optimizer)
        self.save_plain_hyperparameters()
        self.network = DynamicsNetwork(encoder, self.trajectories, use_action)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the head's numbers (B, L, O + 2) for all transitions of a batch."""
        return self.network(batch)[0]

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the errors of change and reward, and of the entropy of going on."""
        change, reward, proceeds = self(batch).split([self.network.size, 1, 1], dim=-1)
        targets = self.network.targets(batch)
        errors = {
            "change": (change - targets[0]).square().mean(-1),
            "reward": (reward.squeeze(-1) - targets[1]).square(),
            "proceeds": entropy(proceeds.squeeze(-1), targets[2]),
        }
        there = transitions(batch)
        parts = {name: mean(x, there) for name, x in errors.items()}
        return torch.stack([*parts.values()]).sum(), parts
