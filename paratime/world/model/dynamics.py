"""A deterministic world model: predicts the consequences of an action from all that was seen.

All transitions of a sequence are predicted in one pass over time. A rollout continues from the
state in one of two ways:

- ``step``: each predicted observation is the input of the next step;
- ``solve``: only actions are read. Observations of the rollout are the first one plus a sum of
  changes, so that all steps of all rollouts are one pass over time, too. Such a model learns from
  sequences in which observations are hidden for spans of steps.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.layers.encoder import Encoder
from paratime.layers.state import restart_state
from paratime.ops.precision import precise
from paratime.world.data.episode import VECTOR
from paratime.world.data.spec import TrajectorySpec
from paratime.world.model.base import (
    Observation,
    Prediction,
    State,
    WorldModel,
    by_key,
)
from paratime.world.model.rewards import MSE, RewardHead

RolloutMode = Literal["step", "solve"]

HIDE, SHOW = 0.3, 0.04
"""Chance that an observation after a visible one is hidden, and that one after a hidden one is
visible: spans of 25 hidden steps on average, longer than a planner's horizon."""


class DynamicsNetwork(WorldModel):
    """Encoder of observation and action, and a head for change, reward and end.

    Args:
        encoder: Encoder; its width is the network's.
        spec: Sizes and statistics of the data.
        reward: How the head represents a reward.
        rollout: How a rollout continues.
        use_action: Whether actions are read; without them it is an ablation.
    """

    def __init__(
        self,
        encoder: Encoder,
        spec: TrajectorySpec,
        reward: RewardHead = MSE(),  # noqa: B008 (frozen)
        rollout: RolloutMode = "step",
        use_action: bool = True,
    ) -> None:
        super().__init__(spec, reward, use_action)
        self.encoder = encoder
        self.project = nn.Linear(self.size + self.actions, encoder.width)
        self.head = nn.Linear(encoder.width, self.size + reward.size + 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.hidden = nn.Parameter(torch.zeros(encoder.width)) if rollout == "solve" else None

    def forward(self, batch: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Read rows; the head's outputs (B, L, ...) are of the transitions between them.

        Across the end of an episode they mean nothing.
        """
        x, first = self._of_observation(batch[VECTOR][:, :-1]), batch["is_first"][:, :-1]
        if self.hidden is not None and self.training:
            x = torch.where(visible_spans(first).unsqueeze(-1), x, self.hidden)
        x = x + self._of_action(batch["prev_action"][:, 1:])
        y, state = self.encoder(x, state, reset=first)
        return self.head(y), restart_state(state, batch["is_first"][:, -1])

    def targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the targets of the head: change (B, L, O), reward and continuing (B, L)."""
        change = (torch.diff(batch[VECTOR], dim=1) - self.change[0]) / self.change[1]
        reward = self.scaled_reward(batch["prev_reward"][:, 1:])
        return change, reward, (~batch["is_terminal"][:, 1:]).to(change)

    def imagine(
        self, observation: Observation, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict the consequences of actions (N, H, A), from N observations, or from one."""
        roll = self._one_by_one if self.hidden is None else self._at_once
        free, outputs, state = roll(by_key(observation)[VECTOR], self._of_action(actions), state)
        _, reward, cont = self.parts(outputs)
        return self.prediction(free, reward=reward, cont=cont), state

    def _one_by_one(
        self, observation: Tensor, of_actions: Tensor, state: State | None
    ) -> tuple[Tensor, Tensor, State]:
        """Return observations before they are clamped, the head's outputs, and the state."""
        free, outputs = [], []
        (low, high), (shift, scale) = self.range, self.change
        for of_action in of_actions.unbind(1):
            y, state = self.encoder.step(self._of_observation(observation) + of_action, state)
            outputs.append(precise(self.head(y)))
            change = outputs[-1][:, : self.size]
            free.append(torch.addcmul(observation + shift, change, scale))
            observation = free[-1].clamp(low, high)
        assert state is not None
        return torch.stack(free, dim=1), torch.stack(outputs, dim=1), state

    def _at_once(
        self, observation: Tensor, of_actions: Tensor, state: State | None
    ) -> tuple[Tensor, Tensor, State]:
        """Return the same of a rollout in one pass over time."""
        assert self.hidden is not None
        seen = self._of_observation(observation).unsqueeze(1)
        x = torch.cat([of_actions[:, :1] + seen, of_actions[:, 1:] + self.hidden], dim=1)
        y, state = self.encoder(x, state)
        outputs = precise(self.head(y))
        change = outputs[..., : self.size] * self.change[1] + self.change[0]
        return observation.unsqueeze(1) + change.cumsum(1), outputs, state

    def _of_observation(self, observation: Tensor) -> Tensor:
        weight = self.project.weight[:, : self.size]
        return functional.linear(self.scaled(observation).to(weight), weight)

    def _of_action(self, action: Tensor) -> Tensor:
        weight = self.project.weight[:, self.size :]
        return functional.linear(self.scaled_action(action).to(weight), weight, self.project.bias)


def visible_spans(first: Tensor) -> Tensor:
    """Draw the rows (B, L) with a visible observation: spans, beginning with an episode."""
    batch, rows = first.shape
    draws = torch.rand(rows, batch, device=first.device)
    now, spans = first.new_ones(batch), []
    for draw, begins in zip(draws, first.unbind(1), strict=True):
        now = (draw >= torch.where(now, HIDE, 1 - SHOW)) | begins
        spans.append(now)
    spans[0] = torch.ones_like(now)
    return torch.stack(spans, dim=1)
