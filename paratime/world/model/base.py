"""What all world models share: what they predict, and how it is put in units."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from paratime.errors import InputError
from paratime.solvers.base import restart
from paratime.world.data.episode import VECTOR, image_shapes
from paratime.world.model.rewards import RewardHead

State = tuple[Any, ...]
Seen = Tensor | Mapping[str, Tensor]
"""An observation: its vector (..., O), or by key as in batches, with images (..., H, W, C)."""

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
        images: Images by key, floats in [0, 1], (..., H, W, C), where the model sees any.
    """

    observation: Tensor
    reward: Tensor
    proceeds: Tensor
    outside: Tensor
    images: Mapping[str, Tensor] = field(default_factory=dict)


class WorldModel(nn.Module, ABC):
    """A model that reads trajectories in one pass, and imagines what comes of actions.

    Args:
        trajectories: What the data says of itself: sizes, and moments of numbers.
        reward_head: How rewards are said.
        use_action: Whether actions are read; without them it is an ablation.

    Raises:
        InputError: There are images, and the model reads none.
    """

    reads_images = False
    """Whether observations may have images, whose shapes by key are ``images``."""

    observation: Tensor
    change: Tensor
    reward: Tensor
    range: Tensor
    action_range: Tensor

    stochastic = False
    """Whether what it imagines is one of several outcomes, of which ``sampling`` draws."""
    sampling = False

    def __init__(
        self, trajectories: dict[str, Any], reward_head: RewardHead, use_action: bool = True
    ) -> None:
        super().__init__()
        self.use_action, self.reward_head = use_action, reward_head
        moments = trajectories["moments"]
        self.images = image_shapes(trajectories.get("observation", {}))
        if self.images and not self.reads_images:
            got, remedy = f"images: {', '.join(self.images)}", "use WorldTask"
            raise InputError("observation", "vectors", got, remedy)
        for name in ("observation", "change", "reward"):
            self.register_buffer(name, torch.tensor(moments[name], dtype=torch.float32))
        ends = {"range": ("lowest", "highest"), "action_range": ("action_lowest", "action_highest")}
        for name, (low, high) in ends.items():
            self.register_buffer(name, torch.tensor([moments[low], moments[high]]))
        self.size, self.actions = self.observation.shape[1], self.action_range.shape[1]

    @abstractmethod
    def forward(self, batch: dict[str, Tensor], state: State | None = None) -> tuple[Any, State]:
        """Read rows (B, L + 1, ...), from a state before them to the state at the last of them.

        Args:
            batch: ``observation``, images by key, ``prev_action``, ``is_first``.
            state: What an earlier call returned, whose last row was the first one here.

        Returns:
            What the loss is about, and the state, from which the last row's action is imagined.
        """

    @abstractmethod
    def imagine(
        self, observation: Seen, actions: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict what comes of actions (N, H, A), from N observations on, or from one."""

    def step(
        self, observation: Seen, action: Tensor, state: State | None = None
    ) -> tuple[Prediction, State]:
        """Predict what comes of an action (N, A) at N observations, or at one."""
        found, state = self.imagine(observation, action.unsqueeze(1), state)
        names = ("observation", "reward", "proceeds", "outside")
        numbers = {name: getattr(found, name)[:, 0] for name in names}
        images = {key: x[:, 0] for key, x in found.images.items()}
        return Prediction(**numbers, images=images), state

    def scaled(self, observation: Tensor) -> Tensor:
        """Return observations in standard deviations from their mean."""
        return (observation - self.observation[0]) / self.observation[1]

    def scaled_action(self, action: Tensor) -> Tensor:
        """Return actions between -1 and 1, zeros where they are not read."""
        low, high = self.action_range
        spread = torch.where(high > low, high - low, 1.0)
        return (2 * action - low - high) / spread * self.use_action

    def scaled_reward(self, reward: Tensor) -> Tensor:
        """Return rewards in standard deviations from their mean."""
        return (reward - self.reward[0]) / self.reward[1]

    def parts(self, numbers: Tensor) -> list[Tensor]:
        """Split a head's numbers: of an observation, of a reward, and the logit of going on."""
        return list(numbers.split([self.size, self.reward_head.size, 1], dim=-1))

    def prediction(
        self,
        free: Tensor,
        reward: Tensor,
        proceeds: Tensor,
        images: Mapping[str, Tensor] | None = None,
    ) -> Prediction:
        """Return a prediction of observations, and a head's numbers, kept in range."""
        low, high = self.range
        clamped = free.clamp(low, high)
        outside = ((free - clamped).abs() > MARGIN * (high - low) + 1e-6).any(-1)
        rewards = self.reward_head.mean(reward) * self.reward[1] + self.reward[0]
        chance = proceeds.squeeze(-1).sigmoid()
        return Prediction(clamped, rewards, chance, outside, images or {})


def by_key(observation: Seen) -> Mapping[str, Tensor]:
    """Return an observation by key, as batches have it."""
    return {VECTOR: observation} if isinstance(observation, Tensor) else observation


def restarted(state: Any, first: Tensor) -> Any:
    """Return a state (B, ...), the initial one where an episode begins, (B,)."""
    if isinstance(state, tuple):
        return tuple(restarted(part, first) for part in state)
    return state if state is None else restart(state, first)
