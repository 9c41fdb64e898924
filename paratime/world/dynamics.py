"""A deterministic world model: what comes of an action, from all that was seen before.

All transitions of a sequence are predicted in one pass; ``imagine`` goes on from the state, and
feeds its own predictions back. Both share the encoder, the inputs and the head.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.layers.encoder import Encoder
from paratime.world.model import Prediction, State, WorldModel


class DynamicsNetwork(WorldModel):
    """Encoder of observation and action, and a head for change, reward and end.

    Args:
        encoder: Encoder; its width is the network's.
        trajectories: What the data says of itself: sizes, and moments of numbers.
        use_action: Whether actions are read; without them it is an ablation.
    """

    def __init__(
        self, encoder: Encoder, trajectories: dict[str, Any], use_action: bool = True
    ) -> None:
        super().__init__(trajectories, use_action)
        self.encoder = encoder
        self.project = nn.Linear(self.size + self.actions, encoder.width)
        self.head = nn.Linear(encoder.width, self.size + 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Read rows; the head's numbers (B, L, O + 2) are of transitions from one to the next.

        Across the end of an episode they mean nothing.
        """
        x = self._of_observation(batch["observation"][:, :-1])
        x = x + self._of_action(batch["prev_action"][:, 1:])
        y, state = self.encoder(x, state, reset=batch["is_first"][:, :-1])
        return self.head(y), state

    def targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the head should say: change (B, L, O), reward and going on (B, L)."""
        change = (torch.diff(batch["observation"], dim=1) - self.change[0]) / self.change[1]
        reward = self.scaled_reward(batch["prev_reward"][:, 1:])
        return change, reward, (~batch["is_terminal"][:, 1:]).to(change)

    def imagine(
        self, observation: Tensor, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict what comes of actions (N, H, A), from an observation (N, O) on."""
        of_actions = self._of_action(actions)
        free, numbers = [], []
        for of_action in of_actions.unbind(1):
            y, state = self.encoder.step(self._of_observation(observation) + of_action, state)
            numbers.append(self.head(y))
            change = numbers[-1][:, : self.size]
            free.append(torch.addcmul(observation + self.change[0], change, self.change[1]))
            observation = free[-1].clamp(self.range[0], self.range[1])
        assert state is not None
        reward, proceeds = torch.stack(numbers, dim=1)[..., self.size :].unbind(-1)
        return self.prediction(torch.stack(free, dim=1), reward, proceeds), state

    def _of_observation(self, observation: Tensor) -> Tensor:
        return functional.linear(self.scaled(observation), self.project.weight[:, : self.size])

    def _of_action(self, action: Tensor) -> Tensor:
        weight = self.project.weight[:, self.size :]
        return functional.linear(self.scaled_action(action), weight, self.project.bias)
