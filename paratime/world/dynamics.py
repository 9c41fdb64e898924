"""A deterministic world model: what comes of an action, from all that was seen before.

All transitions of a sequence are predicted in one pass; ``step`` goes on from the state, and
``imagine`` feeds its own predictions back. All of them share the encoder, the inputs and the heads.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from paratime.layers.encoder import Encoder

MARGIN = 0.05
"""Share of the range of the training data that a prediction may be beyond it."""


@dataclass(frozen=True)
class Prediction:
    """What comes of actions, in the units of the environment.

    Attributes:
        observation: The next observation, (..., O).
        reward: (...,).
        proceeds: Probability that the episode goes on, (...,).
        outside: Whether the prediction left the range of the training data, and was clamped to it,
            bool (...,).
    """

    observation: Tensor
    reward: Tensor
    proceeds: Tensor
    outside: Tensor


class DynamicsNetwork(nn.Module):
    """Encoder of observation and action, and a head for change, reward and end.

    Args:
        encoder: Encoder; its width is the network's.
        trajectories: What the data says of itself: sizes, and moments of numbers.
        use_action: Whether actions are read; without them it is an ablation.
    """

    observation: Tensor
    change: Tensor
    reward: Tensor
    range: Tensor
    action_range: Tensor

    def __init__(
        self, encoder: Encoder, trajectories: dict[str, Any], use_action: bool = True
    ) -> None:
        super().__init__()
        self.encoder, self.use_action = encoder, use_action
        moments = trajectories["moments"]
        for name in ("observation", "change", "reward"):
            self.register_buffer(name, torch.tensor(moments[name], dtype=torch.float32))
        ends = {"range": ("lowest", "highest"), "action_range": ("action_lowest", "action_highest")}
        for name, (low, high) in ends.items():
            self.register_buffer(name, torch.tensor([moments[low], moments[high]]))
        self.size = self.observation.shape[1]
        self.project = nn.Linear(self.size + self.action_range.shape[1], encoder.width)
        self.head = nn.Linear(encoder.width, self.size + 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, batch: dict[str, Tensor], state: tuple[Any, ...] | None = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Return the head's numbers for all transitions of a batch, and the state behind them.

        Args:
            batch: Rows (B, L + 1, ...): ``observation``, ``prev_action``, ``is_first``.
            state: The encoder's state before the first row.

        Returns:
            (B, L, O + 2), from each row to the next; across the end of an episode they mean
            nothing. The state is the one behind the last transition.
        """
        x = self._of_observation(batch["observation"][:, :-1])
        x = x + self._of_action(batch["prev_action"][:, 1:])
        y, state = self.encoder(x, state, reset=batch["is_first"][:, :-1])
        return self.head(y), state

    def targets(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the head should say: change (B, L, O), reward and going on (B, L)."""
        change = torch.diff(batch["observation"], dim=1)
        change = (change - self.change[0]) / self.change[1]
        reward = (batch["prev_reward"][:, 1:] - self.reward[0]) / self.reward[1]
        return change, reward, (~batch["is_terminal"][:, 1:]).to(change)

    def step(
        self, observation: Tensor, action: Tensor, state: tuple[Any, ...] | None = None
    ) -> tuple[Prediction, tuple[Any, ...]]:
        """Predict what comes of an action (N, A) at an observation (N, O)."""
        found, state = self.imagine(observation, action.unsqueeze(1), state)
        names = ("observation", "reward", "proceeds", "outside")
        return Prediction(*(getattr(found, name)[:, 0] for name in names)), state

    def imagine(
        self, observation: Tensor, actions: Tensor, state: tuple[Any, ...] | None = None
    ) -> tuple[Prediction, tuple[Any, ...]]:
        """Predict what comes of actions (N, H, A), from an observation (N, O) on."""
        bias = self._of_action(actions)
        free, seen, numbers = [], [], []
        for step in range(actions.shape[1]):
            y, state = self.encoder.step(self._of_observation(observation) + bias[:, step], state)
            numbers.append(self.head(y))
            change = numbers[-1][:, : self.size]
            free.append(torch.addcmul(observation + self.change[0], change, self.change[1]))
            observation = free[-1].clamp(self.range[0], self.range[1])
            seen.append(observation)
        assert state is not None
        return self._decoded(*(torch.stack(x, dim=1) for x in (free, seen, numbers))), state

    def _decoded(self, free: Tensor, clamped: Tensor, numbers: Tensor) -> Prediction:
        """Return numbers of the head (..., O + 2) in the units of the environment."""
        margin = MARGIN * (self.range[1] - self.range[0]) + 1e-6
        outside = ((free - clamped).abs() > margin).any(-1)
        reward = numbers[..., self.size] * self.reward[1] + self.reward[0]
        return Prediction(clamped, reward, numbers[..., self.size + 1].sigmoid(), outside)

    def _of_observation(self, observation: Tensor) -> Tensor:
        seen = (observation - self.observation[0]) / self.observation[1]
        return functional.linear(seen, self.project.weight[:, : self.size])

    def _of_action(self, action: Tensor) -> Tensor:
        low, high = self.action_range
        scaled = (2 * action - low - high) / (high - low).clamp(min=1e-6)
        weight = self.project.weight[:, self.size :]
        return functional.linear(scaled * self.use_action, weight, self.project.bias)
