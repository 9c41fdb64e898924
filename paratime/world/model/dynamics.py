"""A deterministic world model: what comes of an action, from all that was seen before.

All transitions of a sequence are predicted in one pass over time. A rollout goes on from the state,
in one of two ways:

- ``step``: each predicted observation is what the next step reads;
- ``solve``: nothing is read but actions. Observations of the rollout are the first one plus a sum
  of changes, so that all steps of all rollouts are one pass over time, too. Such a model learns
  from sequences in which observations are hidden for spans of steps.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.layers.encoder import Encoder
from paratime.world.model.base import Prediction, Seen, State, WorldModel, by_key, restarted
from paratime.world.model.rewards import MSE, RewardHead

Rollout = Literal["step", "solve"]

HIDE, SHOW = 0.3, 0.04
"""Chance that an observation after a seen one is hidden, and that one after a hidden one is seen:
spans of 25 hidden steps on average, longer than a planner's horizon."""


class DynamicsNetwork(WorldModel):
    """Encoder of observation and action, and a head for change, reward and end.

    Args:
        encoder: Encoder; its width is the network's.
        trajectories: What the data says of itself: sizes, and moments of numbers.
        reward: How the head says a reward.
        rollout: How a rollout goes on.
        use_action: Whether actions are read; without them it is an ablation.
    """

    def __init__(
        self,
        encoder: Encoder,
        trajectories: dict[str, Any],
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        rollout: Rollout = "step",
        use_action: bool = True,
    ) -> None:
        super().__init__(trajectories, reward, use_action)
        self.encoder = encoder
        self.project = nn.Linear(self.size + self.actions, encoder.width)
        self.head = nn.Linear(encoder.width, self.size + reward.size + 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.hidden = nn.Parameter(torch.zeros(encoder.width)) if rollout == "solve" else None

    def forward(self, batch: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Read rows; the head's numbers (B, L, ...) are of transitions from one to the next.

        Across the end of an episode they mean nothing.
        """
        x, first = self._of_observation(batch["observation"][:, :-1]), batch["is_first"][:, :-1]
        if self.hidden is not None and self.training:
            x = torch.where(shown(first).unsqueeze(-1), x, self.hidden)
        x = x + self._of_action(batch["prev_action"][:, 1:])
        y, state = self.encoder(x, state, reset=first)
        return self.head(y), restarted(state, batch["is_first"][:, -1])

    def targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the head should say: change (B, L, O), reward and going on (B, L)."""
        change = (torch.diff(batch["observation"], dim=1) - self.change[0]) / self.change[1]
        reward = self.scaled_reward(batch["prev_reward"][:, 1:])
        return change, reward, (~batch["is_terminal"][:, 1:]).to(change)

    def imagine(
        self, observation: Seen, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict what comes of actions (N, H, A), from N observations on, or from one."""
        seen = by_key(observation)["observation"]
        roll = self._one_by_one if self.hidden is None else self._at_once
        free, numbers, state = roll(seen, self._of_action(actions), state)
        _, reward, proceeds = self.parts(numbers)
        return self.prediction(free, reward, proceeds), state

    def _one_by_one(
        self, observation: Tensor, of_actions: Tensor, state: State | None
    ) -> tuple[Tensor, Tensor, State]:
        """Return observations before they are kept in range, the head's numbers, and the state."""
        free, numbers = [], []
        (low, high), (shift, scale) = self.range, self.change
        for of_action in of_actions.unbind(1):
            y, state = self.encoder.step(self._of_observation(observation) + of_action, state)
            numbers.append(self.head(y))
            change = numbers[-1][:, : self.size]
            free.append(torch.addcmul(observation + shift, change, scale))
            observation = free[-1].clamp(low, high)
        assert state is not None
        return torch.stack(free, dim=1), torch.stack(numbers, dim=1), state

    def _at_once(
        self, observation: Tensor, of_actions: Tensor, state: State | None
    ) -> tuple[Tensor, Tensor, State]:
        """Do likewise in one pass over time."""
        assert self.hidden is not None
        seen = self._of_observation(observation).unsqueeze(1)
        x = torch.cat([of_actions[:, :1] + seen, of_actions[:, 1:] + self.hidden], dim=1)
        y, state = self.encoder(x, state)
        numbers = self.head(y)
        change = numbers[..., : self.size] * self.change[1] + self.change[0]
        return observation.unsqueeze(1) + change.cumsum(1), numbers, state

    def _of_observation(self, observation: Tensor) -> Tensor:
        return functional.linear(self.scaled(observation), self.project.weight[:, : self.size])

    def _of_action(self, action: Tensor) -> Tensor:
        weight = self.project.weight[:, self.size :]
        return functional.linear(self.scaled_action(action), weight, self.project.bias)


def shown(first: Tensor) -> Tensor:
    """Draw which rows (B, L) show their observation: spans, from the first row of an episode on."""
    batch, rows = first.shape
    draws = torch.rand(rows, batch, device=first.device)
    now, spans = first.new_ones(batch), []
    for draw, begins in zip(draws, first.unbind(1), strict=True):
        now = (draw >= torch.where(now, HIDE, 1 - SHOW)) | begins
        spans.append(now)
    spans[0] = torch.ones_like(now)
    return torch.stack(spans, dim=1)
